"""What stands among lyrics and is not sung: headings of sections, directions, credits, comments."""

from __future__ import annotations

import re
from typing import Final

_SOLO: Final = r"(?:guitar|piano|sax(?:ophone)?|drum|bass|synth|violin|trumpet|flute)[ -]"
_PLAIN: Final = (
    r"intro|outro|verse|(?:pre|post)[- ]?chorus|chorus|interlude|instrumental|refrain"
    r"|couplet|strophe|estribillo|precoro|ritornello|strofa|refrão"
    r"|куплет|припев|бридж|интро|аутро|проигрыш"
    r"|主歌|副歌|前奏|间奏|間奏|尾奏|桥段|橋段|サビ|[abcdＡＢＣＤ]メロ|イントロ|アウトロ|후렴|벌스|브릿지"
)
_SECTION: Final = (
    rf"(?:{_PLAIN}|introduction|hook|bridge|(?:instrumental )?break(?:down)?|drop|build[- ]?up|(?:{_SOLO})?solo"
    r"|coda|end(?:ing)?|fade[- ]?(?:out|in)|spoken(?: word)?|rap|ad[- ]?libs?|vamp|tag|verso|coro|puente|ponte"
    r"|pont|zwischenspiel|finale?)"
)
_NUMBER: Final = r"(?:[ .-]?(?:\d{1,2}|[ivx]{1,4}|[a-d])|一|二|三|四)?"
#: How often, or who sings.
_HOW: Final = r"(?: ?[(\[（][^)\]）]{0,40}[)\]）]| ?[x×]\d)?"

_WITH_COLON: Final = re.compile(rf"(?:final |last )?{_SECTION}{_NUMBER}{_HOW} ?[:：]", re.IGNORECASE)
_WHOLE: Final = re.compile(
    rf"(?:final |last )?(?:{_SECTION}{_NUMBER}{_HOW} ?[:：]|(?:{_PLAIN}){_NUMBER}{_HOW}"
    rf"|{_SECTION}[ .-]?\d{{1,2}}{_HOW})",
    re.IGNORECASE,
)
_IN_ROUND: Final = re.compile(
    rf"[(（]\s*(?:final |last )?{_SECTION}{_NUMBER}(?:\s*[:：,\-–—x×].{{0,60}})?\s*[)）]", re.IGNORECASE
)
_SQUARE: Final = re.compile(r"\[([^\[\]]{0,200})\]|［([^［］]{0,200})］")
_BLACK: Final = re.compile(r"【[^【】]{0,200}】")
#: Markdown around or before a heading.
_MARKUP: Final = "*_#>\\~ \t"

_CREDIT: Final = re.compile(
    r"(?:lyric(?:s|ist)?|words|music|song|composer|compos(?:ed|ition)|writt?en|writer|arrang(?:ed|er|ement)"
    r"|produc(?:ed|er|tion)|mix(?:ed|ing)?|master(?:ed|ing)?|vocals?|sung|performed|singer|artist|album|title|label"
    r"|published|publisher|copyright|transcri(?:bed|ption)|synced|synchroni[sz]ed|subtitles?|lrc)"
    r"(?: (?:&|and|und|et) (?:lyrics|music|words|arranged|mixed|mastered|produced))?"
    r"(?: ?[:：]| by\b ?[:：]?) ?\S.{0,160}"
    r"|(?:作词|作詞|作曲|编曲|編曲|词|詞|曲|制作人|製作人|监制|監製|混音|母带|歌手|专辑|專輯|出品|和声|录音|吉他"
    r"|작사|작곡|편곡|текст|слова|музыка|автор|paroles|musique|letra|música|musik|worte) ?[:：] ?\S.{0,160}"
    r"|[©℗].{0,160}",
    re.IGNORECASE,
)


def sung(text: str) -> str:
    """A line without headings and directions; empty if it is nothing else.

    Whatever is in square brackets counts as one, wherever it stands; in round ones, and without any, only the
    names of sections do: `(ooh)` is sung.
    """
    bare = text.strip(_MARKUP)
    if not bare or _WHOLE.fullmatch(bare) or _IN_ROUND.fullmatch(bare):
        return ""
    rest = _SQUARE.sub(" ", text)
    black = _BLACK.match(rest.strip(_MARKUP))
    if black:
        rest = rest.replace(black[0], " ", 1)
    if rest != text:
        rest = " ".join(rest.replace("\\", " ").split())
        return sung(rest) if any(char.isalnum() for char in rest) else ""
    label = _WITH_COLON.match(bare)
    if label:
        return bare[label.end() :].strip(_MARKUP)
    return text if any(not char.isspace() and char not in "-=_*~" for char in text) else ""


def is_credit(text: str) -> bool:
    """Whether a line names who wrote or made the song."""
    return _CREDIT.fullmatch(" ".join(text.split())) is not None


def is_comment(text: str) -> bool:
    """Whether a line of LRC is for people who edit it."""
    return text.startswith(("[#", "#", ";", "//"))
