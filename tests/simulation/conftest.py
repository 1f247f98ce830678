"""What all simulations share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.simulation.run import cheap_garbage


@pytest.fixture(autouse=True)
def no_blocking_calls() -> None:
    """Let the ledger be used in place: in virtual time there is no thread to go to."""


@pytest.fixture(autouse=True, scope="module")
def quick_rounds_of_the_garbage_collector() -> Iterator[None]:
    with cheap_garbage():
        yield
    gc.freeze()  # as it was for the other tests
