"""Catalogs: files of any usual kind, or rows of the caller's own, in; tracks out, a few rows at a time.

A row that cannot be read is yielded as its error, in its place: nothing else is lost because of it. What makes a
file doubtful as a whole refuses it before its first row.
"""

from suno_video_async.batch.catalog.rows import Row as Row
from suno_video_async.batch.catalog.source import CatalogFile as CatalogFile
from suno_video_async.batch.catalog.source import CatalogRow as CatalogRow
from suno_video_async.batch.catalog.source import CatalogSource as CatalogSource
from suno_video_async.batch.catalog.source import Survey as Survey
from suno_video_async.batch.catalog.source import count_rows as count_rows
from suno_video_async.batch.catalog.source import read_rows as read_rows
