"""Some of the connections that the long mode plays by the million."""

from tests.attacks.fuzz_handshakes import fuzz_handshakes


def test_whatever_comes_is_answered_or_ended_as_documented() -> None:
    """Nothing is raised, nothing is left behind, and the ways to end are all met."""
    endings = fuzz_handshakes(3_000, 1)
    expected = {"dropped", "open", "HTTP 400", "HTTP 403", "HTTP 200", "4400", "4401", "4429"}
    assert endings.keys() >= expected
