"""How large a picture is: by name, by numbers, or by a text of either."""

from __future__ import annotations

import re
from typing import Final, Literal, cast

Size = Literal["landscape", "portrait", "square"] | tuple[int, int]

SIZES: Final = {"landscape": (1280, 720), "portrait": (1080, 1920), "square": (1080, 1080)}
"""Width and height in pixels."""
SIZES_IN_WORDS: Final = "landscape, portrait, square, or two even numbers from 96 to 4096 such as 1920x1080"


def size_of(value: object) -> tuple[int, int] | None:
    """Return width and height of a name, of a text such as `1920x1080`, or of a pair; None if it is not a size."""
    pair: object = value
    if isinstance(value, str):
        numbers = re.fullmatch(r"(\d{2,4})x(\d{2,4})", value)
        pair = (int(numbers[1]), int(numbers[2])) if numbers else SIZES.get(value)
    if not isinstance(pair, tuple):
        return None
    sides = cast("tuple[object, ...]", pair)
    if len(sides) != 2 or not all(isinstance(side, int) and 96 <= side <= 4096 and not side % 2 for side in sides):
        return None
    return cast("tuple[int, int]", sides)
