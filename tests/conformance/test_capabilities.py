"""What a delivery may lack."""

from tests.conformance.conftest import DELIVERIES
from tests.conformance.delivery import CAPABILITIES
from tests.conformance.documented import capabilities


def test_the_document_names_what_can_be_lacking() -> None:
    """A client finds in it whatever a `welcome` may name, and what to do about it."""
    assert capabilities() == list(CAPABILITIES)


def test_no_delivery_lacks_what_nobody_knows() -> None:
    """Its cases would be played, and fail, or be left out by a slip of the pen."""
    assert all(kind.lacks <= CAPABILITIES.keys() for kind in DELIVERIES.values())
