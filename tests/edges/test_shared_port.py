"""A port for several: who may have it, and who gets its connections."""

import socket

import pytest

from consumer.edges.shared_port import reserved


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: pytest.FixtureRequest) -> str:
    address: str = request.param
    try:
        listen(address).close()
    except OSError:
        pytest.skip("this machine has no such address")
    return address


def listen(host: str, port: int = 0, *, shares: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, reuse_port=shares)


def test_who_shares_a_reserved_port_gets_its_connections(host: str) -> None:
    """All of them: none waits where it was reserved."""
    with reserved(host, 0) as port, listen(host, port, shares=True) as listener:
        listener.settimeout(5)
        for _ in range(20):
            with socket.create_connection((host, port), 5):
                listener.accept()[0].close()


def test_a_reserved_port_is_nobody_elses(host: str) -> None:
    """Not of one who does not share; and it is free again afterwards."""
    with reserved(host, 0) as port, pytest.raises(OSError, match="in use"):
        listen(host, port)
    listen(host, port).close()


def test_a_port_that_others_reserved_is_refused(host: str) -> None:
    """Also before the first of them listens."""
    with (
        reserved(host, 0) as port,
        pytest.raises(OSError, match="in use"),
        reserved(host, port),
    ):
        pass


@pytest.mark.parametrize("shares", [True, False])
def test_a_port_on_which_somebody_listens_is_refused(host: str, *, shares: bool) -> None:
    """Also where the system would let both have it: that may be a daemon with another log."""
    with listen(host, shares=shares) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match="in use"), reserved(host, port):
            pass
