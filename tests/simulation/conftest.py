"""What all simulations share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.run import cheap_garbage


@pytest.fixture(autouse=True)
def no_blocking_calls() -> None:
    """Let the ledger be used in place: in virtual time there is no thread to go to."""


@pytest.fixture(autouse=True)
def quick_rounds_of_the_garbage_collector() -> Iterator[None]:
    with cheap_garbage():
        yield
