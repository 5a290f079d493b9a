"""A tunnel through a proxy, for those who reach AWS by one (RFC 9110, section 9.3.6)."""

import asyncio
import base64
from typing import Final, cast
from urllib.parse import unquote, urlsplit

MAX_HEAD_BYTES: Final = 16 * 1024


class TunnelRefused(OSError):
    """The proxy does not let us through. The operator must act."""


class _Request(asyncio.Protocol):
    """Asks for the tunnel, and stands aside once it is there."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._head = b""
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self.answered.done():
            return
        if b"\r\n\r\n" in self._head:
            status = self._head.split(b"\r\n", 1)[0].split(b" ", 2)
            # Behind the answer nothing may come: we speak first, whatever the tunnel leads to.
            if status[1:2] == [b"200"] and self._head.endswith(b"\r\n\r\n"):
                self.answered.set_result(None)
            else:
                said = status[1].decode("ascii", "replace")[:3] if len(status) > 1 else "nothing"
                self.answered.set_exception(TunnelRefused(f"the proxy says {said}"))
        elif len(self._head) > MAX_HEAD_BYTES:
            self.answered.set_exception(TunnelRefused("the proxy's answer has no end"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(exc or ConnectionResetError("the proxy hung up"))


async def dig(proxy: str, host: str, port: int) -> asyncio.Transport:
    """A connection to `host` through `proxy`, an http:// address. Raises `OSError`."""
    parts = urlsplit(proxy)
    if parts.scheme != "http":  # who we are would be told in the clear
        raise TunnelRefused("only proxies at an http:// address are spoken to")
    lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(user.encode()).decode()}")
    request = "\r\n".join([*lines, "", ""]).encode()
    transport, asking = await asyncio.get_running_loop().create_connection(
        lambda: _Request(request), parts.hostname or "", parts.port or 80
    )
    try:
        await asking.answered
    except BaseException:
        transport.abort()
        raise
    return transport
