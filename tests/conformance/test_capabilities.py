"""What a delivery may lack."""

from types import ModuleType
from typing import Final

import pytest

from tests.conformance import test_cursors, test_opening, test_requests, test_watching
from tests.conformance.conftest import DELIVERIES
from tests.conformance.delivery import CAPABILITIES
from tests.conformance.documented import capabilities

MODULES: Final[tuple[ModuleType, ...]] = (
    test_cursors,
    test_opening,
    test_requests,
    test_watching,
)


def test_the_document_names_what_can_be_lacking() -> None:
    """A client finds in it whatever a `welcome` may name, and what to do about it."""
    assert capabilities() == list(CAPABILITIES)


def test_no_delivery_lacks_what_nobody_knows() -> None:
    """Its cases would be played, and fail, or be left out by a slip of the pen."""
    assert all(kind.lacks <= CAPABILITIES.keys() for kind in DELIVERIES.values())


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_what_is_lacking_is_what_is_not_played(delivery: str) -> None:
    """Each word leaves a case out: one that leaves out none would be an excuse for nothing."""
    lacks = DELIVERIES[delivery].lacks
    needed: list[frozenset[str]] = [
        getattr(case, "needs", frozenset())
        for module in MODULES
        for name, case in vars(module).items()
        if name.startswith("test_")
    ]
    assert len(needed) > 30
    assert frozenset[str]().union(*(each & lacks for each in needed)) == lacks
