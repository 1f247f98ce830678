"""Which column of a catalog is which field of a track. Pure: names in, a layout or an error out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from attrs import field, frozen

from suno_video_async.errors import CatalogError

FIELDS = ("task_id", "suno_id", "author", "brand")
#: What separates cells in a line of text; a column whose name holds one was split wrongly.
DELIMITERS = (",", ";", "\t", "|")

_SEPARATORS = re.compile(r"[\s_-]+")
#: Column names that may well mean a field: by how they begin or end, or as a whole.
_STEMS: Mapping[str, tuple[str, ...]] = {
    "author": ("author", "artist", "performer", "singer"),
    "brand": ("brand", "label", "watermark"),
}
_WORDS: Mapping[str, frozenset[str]] = {
    "author": frozenset({"artista", "artiste", "autor", "autora", "auteur", "band", "creator", "interpret"})
    | frozenset({"interprete", "künstler", "musician", "vocalist"}),
    "brand": frozenset({"imprint", "marca", "marke", "marque", "publisher"}),
}
#: How alike two words are, from 0 to 1, if one may be a slip of the pen for the other.
_ALIKE = 0.8


def folded(name: str) -> str:
    """Return a column's name without what spellings of it differ in: case, spaces, `-` and `_`."""
    return _SEPARATORS.sub("", name).casefold()


_BY_NAME: Mapping[str, str] = {folded(name): name for name in FIELDS}


@frozen(kw_only=True)
class ColumnRules:
    """What the caller says about columns.

    Attributes:
        fields: the field that a column is, by the column's folded name.
        ignored: folded names of columns that are not a field, whatever their names look like.

    """

    fields: Mapping[str, str] = field(factory=dict[str, str])
    ignored: frozenset[str] = frozenset()

    @classmethod
    def of(cls, columns: Mapping[str, str], ignored: Iterable[str]) -> ColumnRules:
        """Return the rules for columns as they are spelt in the catalog.

        Raises:
            ValueError: a column is to be what a track does not have, two things at once, or nothing.

        """
        fields = dict[str, str]()
        for column, wanted in columns.items():
            name = _BY_NAME.get(folded(wanted))
            if name is None or not folded(column):
                raise ValueError(f"a column can be task_id, suno_id, author or brand, not {wanted!r}")
            if name in fields.values() or folded(column) in fields:
                raise ValueError(f"{column}={wanted} contradicts another column that is mapped: name each once")
            fields[folded(column)] = name
        unwanted = frozenset(folded(column) for column in ignored)
        if both := unwanted & fields.keys():
            raise ValueError(f"the column {', '.join(sorted(both))} cannot be mapped and ignored")
        return cls(fields=fields, ignored=unwanted)

    def field_of(self, column: str) -> str | None:
        """Return the field that a column is."""
        name = folded(column)
        if name in self.ignored:
            return None
        return self.fields.get(name) or _BY_NAME.get(name)


@frozen(kw_only=True)
class Layout:
    """Where the fields are among the columns.

    Attributes:
        names: the columns.
        places: the number of each field's column, from 0.
        extra: the number and the name of each column of the catalog's own.
        repeated: columns that are there twice, or are the same field.
        near: columns that may well be a field that is absent, and that field.

    """

    names: tuple[str, ...]
    places: Mapping[str, int]
    extra: tuple[tuple[int, str], ...]
    repeated: tuple[str, ...]
    near: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, names: Sequence[str], rules: ColumnRules) -> Layout:
        """Return the layout of some columns."""
        places, extra = dict[str, int](), list[tuple[int, str]]()
        seen, repeated = dict[str, str](), list[str]()
        for place, given in enumerate(names):
            name = given.strip() or f"column {place + 1}"
            wanted = rules.field_of(name)
            identity = wanted or f"={name}"
            if identity in seen:
                repeated += [seen[identity], name]
            elif wanted is None:
                extra.append((place, name))
            else:
                places[wanted] = place
            seen.setdefault(identity, name)
        near = tuple(_near(extra, places, rules))
        return cls(names=tuple(names), places=places, extra=tuple(extra), repeated=tuple(repeated), near=near)

    def check(self, location: str) -> None:
        """Check that the columns leave no doubt.

        Raises:
            CatalogError: a column is repeated, an id's column is absent, or one is nearly a field's.

        """
        if self.repeated:
            raise CatalogError(
                f"has the same column twice: {' and '.join(self.repeated)}",
                location=location,
                fix="remove one of them, or give it another name",
            )
        missing = [name for name in ("task_id", "suno_id") if name not in self.places]
        if missing:
            shown = ", ".join(map(repr, self.names))[:80]
            raise CatalogError(
                f"has no column {' and no column '.join(missing)}: the first line must name the columns"
                f" task_id,suno_id[,author,brand,…], not {shown}",
                location=location,
                fix=f"where a column has another name, say so with --map COLUMN={missing[0]}",
            )
        self.check_near(location)

    def check_near(self, location: str) -> None:
        """Check that no column is nearly that of an absent field.

        Raises:
            CatalogError: one is.

        """
        if self.near:
            column, wanted = self.near[0]
            raise CatalogError(
                f"has no column {wanted}, but {column!r}, which may be meant; nothing is bought",
                location=location,
                fix=f"say --map {column}={wanted} if it is the {wanted}, or --ignore-column {column} if it is not"
                f" (in Python: CatalogFile(…, columns={{{column!r}: {wanted!r}}}) or ignore_columns=[{column!r}];"
                " in rows of your own, rename the key)",
            )


def _near(
    extra: Iterable[tuple[int, str]], places: Mapping[str, int], rules: ColumnRules
) -> Iterable[tuple[str, str]]:
    for _, name in extra:
        if folded(name) not in rules.ignored:
            for wanted in FIELDS:
                if wanted not in places and _is_near(name, wanted):
                    yield name, wanted


def _is_near(name: str, wanted: str) -> bool:
    word = folded(name)
    if any(folded(part) == folded(wanted) for part in re.split(r"[,;\t|]", name)):
        return True  # two columns in one: it is another delimiter there
    if wanted not in _STEMS:
        return False  # without an id a row is a bad row: there is nothing to guess
    if word in _WORDS[wanted] or any(word.startswith(stem) or word.endswith(stem) for stem in _STEMS[wanted]):
        return True
    return difflib.SequenceMatcher(None, word, wanted).ratio() >= _ALIKE
