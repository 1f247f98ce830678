"""A row's values as a track: what counts as absent, and what must not be bought as it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from attrs import define, field, frozen

from suno_video_async.batch.catalog.columns import FIELDS, ColumnRules, Layout
from suno_video_async.errors import CatalogError
from suno_video_async.models import Track

#: The longest cell, in characters: no column of a catalog holds a book.
MAX_CELL = 131_072
#: The longest text of a row that could not be read, in the error and in `--failed`.
_SHOWN = 1000

#: Words that programs write for "there is no value", without regard to case; `NA` only as R writes it.
_PLACEHOLDERS = frozenset({"nan", "null", "n/a", "#n/a", "none", "<na>", "nat", "undefined", "\\n"})
_FORMULA_ERROR = re.compile(r"#(REF|VALUE|NAME|DIV/0|NUM|NULL|SPILL|CALC|FIELD|BLOCKED|CONNECT)[!?]")
#: What JSON writes in its own way.
_JSON_TYPES: tuple[type[object], ...] = (bool, int, float, list, dict)
#: A number as a spreadsheet or pandas writes it when it has kept 15 digits at most.
_ROUNDED = re.compile(r"[+-]?\d+[.,]?\d*[eE][+-]\d+|[+-]?\d+[.,]\d+[eE]\d+|[+-]?\d+\.0+|[1-9]\d{14}0{3,}")
#: UTF-8 that was read as Windows' Western letters and saved: "Zoë" becomes "ZoÃ«".
_MOJIBAKE = re.compile(r"Ã[\u0080-\u00bfƒ„…†‡ˆ‰Š‹ŒŽ˜™š›œžŸ€‚]|Â[\u00a0-\u00bf]|â€.|(?:[ÐÑÎÏ][^\w\s]){2}")


@frozen
class Row:
    """One row of a catalog.

    Attributes:
        location: the file and the line where the row begins, or the position in an iterable.
        track: the track, or the error that tells why there is none.

    """

    location: str
    track: Track | CatalogError


@frozen
class Unusable:
    """A cell whose value cannot be taken for what its writer meant, such as a date where a name should be.

    Attributes:
        problem: what is wrong with it.
        text: its value as text, for a column that is carried along only.

    """

    problem: str
    text: str


@define
class RowReader:
    """Turns the rows of one catalog into tracks.

    Attributes:
        rules: what the caller says about columns.
        placeholders: cells of authors and brands that held a placeholder so far.

    """

    rules: ColumnRules = field(factory=ColumnRules)
    placeholders: int = field(default=0, init=False)
    _told: bool = field(default=False, init=False)
    _layouts: dict[tuple[str, ...], Layout] = field(factory=dict[tuple[str, ...], Layout], init=False)
    _mapped: set[str] = field(factory=set[str], init=False)

    @property
    def has_news(self) -> bool:
        """Whether the first placeholder was met since this was asked last."""
        had, self._told = self._told, self.placeholders > 0
        return self._told and not had

    def layout(self, names: Sequence[str]) -> Layout:
        """Return the layout of columns; those of the rows before are remembered."""
        key = tuple(names)
        if (known := self._layouts.get(key)) is None:
            known = Layout.of(key, self.rules)
            if len(self._layouts) < 1000:  # rows that all have other keys
                self._layouts[key] = known
            self._mapped.update(known.places)
        return known

    def check_mapped(self, location: str) -> None:
        """Check that all columns that the caller has mapped were met.

        Raises:
            CatalogError: one was not: a name that is misspelt must not cost a video without its author.

        """
        for column, name in self.rules.fields.items():
            if name not in self._mapped:
                raise CatalogError(
                    f"has no column {column!r}, which --map takes for the {name}",
                    location=location,
                    fix="check its name",
                )

    def mapping(self, row: object, location: str, *, text: str | None = None) -> Row:
        """Read a row that names its own columns.

        Args:
            row: the mapping.
            location: where it is.
            text: the row as it is in the file.

        Raises:
            CatalogError: it has no author or brand, but a column that may be meant.

        """
        if not isinstance(row, Mapping):
            return bad_row("must be an object with task_id and suno_id", location, text=text)
        fields = cast("Mapping[object, Any]", row)
        if isinstance(row, Repeating):
            return bad_row(f"names {row.repeated} twice", location, text=text or _dumped(fields))
        layout = self.layout([name if isinstance(name, str) else f"{name}" for name in fields])
        if layout.repeated:
            problem = f"has the same field twice: {' and '.join(layout.repeated)}"
            return bad_row(problem, location, text=text or _dumped(fields))
        if layout.near:
            layout.check_near(location)
        return self.values(layout, list(fields.values()), location, text=text)

    def values(self, layout: Layout, values: Sequence[object], location: str, *, text: str | None = None) -> Row:
        """Read a row of values that stand in the layout's order; those at the end may be absent."""
        try:
            return Row(location, self._track(layout, values))
        except (ValueError, TypeError) as error:
            fields = _as_text(layout, values)
            raw = text if text is not None else _dumped(dict(zip(layout.names, values, strict=False)))
            return bad_row(str(error), location, fields=fields, text=None if fields else raw)

    def _track(self, layout: Layout, values: Sequence[object]) -> Track:
        places, count = layout.places, len(values)
        found = [values[at] if (at := places.get(name, count)) < count else None for name in FIELDS]
        return Track(
            task_id=_id("task_id", found[0]),
            suno_id=_id("suno_id", found[1]),
            author=self._credit("author", found[2]),
            brand=self._credit("brand", found[3]),
            extra={name: text_of(values[at]) for at, name in layout.extra if at < count},
        )

    def _credit(self, name: str, value: object) -> str | None:
        if is_absent(value):
            return None
        text = _usable(name, value)
        if is_placeholder(text):
            self.placeholders += 1
            return None
        if not text.isascii():
            _check_letters(name, text)
        return text


class Repeating(dict[str, Any]):
    """A JSON object that has one name twice."""

    repeated: str = ""


def bad_row(
    problem: str, location: str, *, fields: Mapping[str, str] | None = None, text: str | None = None
) -> Row:
    """Return a row that cannot be read."""
    kept = None if text is None else text[:_SHOWN]
    return Row(location, CatalogError(problem, location=location, fields=fields, text=kept))


def is_absent(value: object) -> bool:
    """Whether a value says that there is none: None, NaN, and pandas' own ways to say so."""
    if value is None:
        return True
    if isinstance(value, str):
        return False
    return type(value).__name__ in {"NAType", "NaTType"} or (isinstance(value, float) and value != value)  # noqa: PLR0124


def is_placeholder(text: str) -> bool:
    """Whether a cell holds what a program writes where there is no value, such as `nan`."""
    word = text.strip()
    return word == "NA" or (len(word) <= 9 and word.casefold() in _PLACEHOLDERS)


def text_of(value: object) -> str:
    """Return the value of a column of the catalog's own as text."""
    if isinstance(value, str):
        return value
    if is_absent(value):
        return ""
    if isinstance(value, Unusable):
        return value.text
    return _dumped(value) if isinstance(value, _JSON_TYPES) else str(value)


def _id(name: str, value: object) -> str:
    if is_absent(value):
        raise ValueError(f"{name} is empty: a track needs both its music task's id and its suno id")
    if isinstance(value, float):
        raise TypeError(f"{name} must be a string, not the number {value!r}, {_READ_AS_TEXT}")
    text = _usable(name, value)
    if is_placeholder(text):
        raise ValueError(f"{name} is {text!r}, which a program writes where there is no value")
    if _ROUNDED.fullmatch(text.strip()):
        raise ValueError(f"{name} is {text!r}, {_READ_AS_TEXT}")
    if "\ufffd" in text:
        raise ValueError(f"{name} contains letters that an earlier conversion has lost: {text!r}")
    return text


_READ_AS_TEXT = (
    "a number that a spreadsheet or a data frame has rounded: make the column text (pandas: dtype=str), and enter"
    " the ids again"
)


def _usable(name: str, value: object) -> str:
    if isinstance(value, Unusable):
        raise TypeError(f"{name} {value.problem}")
    if not isinstance(value, str):
        what = "author and brand must be strings" if name in FIELDS[2:] else f"{name} must be a string"
        raise TypeError(f"{what}, not {type(value).__name__}")
    if value.startswith("#") and _FORMULA_ERROR.fullmatch(value.strip()):
        raise ValueError(f"{name} is {value!r}, the error of a formula: mend it in the spreadsheet")
    return value


def _check_letters(name: str, text: str) -> None:
    if "\ufffd" in text:
        raise ValueError(f"{name} contains letters that an earlier conversion has lost: {text!r}")
    if _MOJIBAKE.search(text):
        try:
            meant = text.encode("cp1252").decode()
        except UnicodeError:
            return
        raise ValueError(f"{name} is {text!r}, which looks like {meant!r} saved with the wrong encoding")


def _as_text(layout: Layout, values: Sequence[object]) -> dict[str, str]:
    """Return a bad row's fields by name, to be mended; none if they would not read as they stand."""
    found = dict[str, str]()
    for name in FIELDS:
        at = layout.places.get(name, len(values))
        value = values[at] if at < len(values) else None
        if not (value is None or isinstance(value, str)):
            return {}
        found[name] = value or ""
    found.update((name, text_of(values[at])) for at, name in layout.extra if at < len(values))
    return found if all(_can_be_written(text) for text in found.values()) else {}


def _can_be_written(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _dumped(value: object) -> str:
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        return str(type(value).__name__)
