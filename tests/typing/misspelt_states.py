"""A user's program with misspelt states, each of which is an error to mypy and to pyright.

Both complain of a suppression that suppresses nothing, so the file is a test of itself.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_type

from suno_video_async import CatalogSource, OutcomeState, SunoVideoClient, SunoVideoError, TaskStatus, Track


async def main(catalog: CatalogSource, track: Track) -> None:
    """Compare states with words, right ones and misspelt ones."""
    async with SunoVideoClient() as client:
        async for update in await client.submit(track):
            assert_type(update.status, TaskStatus)
            if update.status == "success" or update.snapshot.status == "other":
                print(update.snapshot.raw_status == "any word")
            if update.status == "sucess":  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison]
                print(update)
            if update.snapshot.status == "SUCCESS":  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison]
                print(update)
        async with client.convert(catalog) as outcomes:
            async for outcome in outcomes:
                assert_type(outcome.state, OutcomeState)
                assert_type(outcome.error, SunoVideoError | None)
                if outcome.state == "downloaded":
                    print(outcome.path)
                if outcome.state == "succeded":  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison]
                    print(outcome)
