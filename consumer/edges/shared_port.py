"""A port on which several processes of ours listen; the system spreads connections over them."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Keep a port for them, and say which: the system chooses where it was 0.

    It is bound and not listened on, so that no connection comes here. Raises OSError where somebody
    else listens, another daemon of ours among them: it may have another log.
    """
    with ExitStack() as stack:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, _, _, _, address in dict.fromkeys(found):
            # Only who does not share is refused by those who do.
            socket.create_server((address[0], port), family=family).close()
            held = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            _bind(held, address[0], port)
            port = held.getsockname()[1]
        yield port


def _bind(held: socket.socket, host: str | int, port: int) -> None:
    if held.family == socket.AF_INET6:  # as listeners have it: IPv4 is an address of its own
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR):
        held.setsockopt(socket.SOL_SOCKET, option, 1)
    held.bind((host, port))
    # It was for connections of an earlier run. From here on it would let others listen, since we
    # do not.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
