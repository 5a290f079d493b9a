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
            # One that does not share is refused by all who listen, those who share among them.
            _bind(family, address[0], port, socket.SO_REUSEADDR).close()
            held = _bind(family, address[0], port, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
            port = stack.enter_context(held).getsockname()[1]
        yield port


def _bind(family: int, host: str | int, port: int, *options: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:  # as listeners have it: IPv4 is an address of its own
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
