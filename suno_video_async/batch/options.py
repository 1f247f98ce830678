"""The options of a conversion."""

from __future__ import annotations

from os import PathLike
from typing import Any

from attrs import Attribute, field, frozen

from suno_video_async.download.filenames import NameTemplate
from suno_video_async.download.places import Folder, folder_of
from suno_video_async.ledger.decision import Buying, not_negative


def _above_zero(_: object, attribute: Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be above 0, not {value!r}")


def _optional_folder(place: str | PathLike[str] | None) -> Folder | None:
    return None if place is None else folder_of(place)


def _name_template(template: NameTemplate | str) -> NameTemplate:
    return NameTemplate(template) if isinstance(template, str) else template


@frozen(kw_only=True)
class Options:
    """How a catalog is converted; see `SunoVideoClient.convert`."""

    output_dir: Folder | None = field(default=None, converter=_optional_folder)
    task_timeout: float = field(validator=_above_zero)
    buying: Buying = field(factory=Buying)
    file_name: NameTemplate = field(factory=NameTemplate, converter=_name_template)
    sha256: bool = False
    unknown_grace: float | None = field(default=None, validator=not_negative)
    """Seconds that unknown rows wait for their callback, however old they are, in a run that buys nothing and
    goes on with all that the ledger holds; None if a catalog says what is wanted."""
