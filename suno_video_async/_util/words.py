"""Numbers in sentences."""

from __future__ import annotations


def many(number: float, one: str, several: str | None = None) -> str:
    """Return a number and what is counted, such as `1 track`, `2 tracks` or `3 tracks are`.

    Args:
        number: how many.
        one: what follows the number 1.
        several: what follows any other; by default `one` and an s.

    """
    whole = int(number) if float(number).is_integer() else round(number, 6)
    return f"{whole} {one if number == 1 else several or f'{one}s'}"
