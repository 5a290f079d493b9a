"""The one request of a connection: the dashboard's, a probe's, or a WebSocket handshake."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from websockets.http11 import Request, Response

from consumer.edges.addresses import Address
from consumer.edges.http import PROBES
from consumer.edges.wire import Wire

if TYPE_CHECKING:
    from consumer.edges.server import Server

PATH: Final = "/v1/status"


def answer(server: "Server", wire: Wire, request: Request, peer: Address, now_s: float) -> Response:
    """The response; only one of 101 does not end the connection."""
    try:
        path = urlsplit(request.path).path
    except ValueError:
        return wire.reject(HTTPStatus.BAD_REQUEST, "not an address\n")
    if path not in PROBES and not server.door.lets_on(peer, request.headers, now_s):
        return wire.reject(HTTPStatus.TOO_MANY_REQUESTS, "too many connections\n")
    if path != PATH:
        return server.site.respond(request, path)
    return _refusal(server, wire, request, peer) or _shake_hands(wire, request)


def _refusal(server: "Server", wire: Wire, request: Request, peer: Address) -> Response | None:
    door = server.door
    if server.is_draining:
        return wire.reject(HTTPStatus.SERVICE_UNAVAILABLE, "draining\n")
    if door.verifier is not None and not door.is_private(peer):
        door.refuse("insecure")
        text = "a token would be overheard on its way here; use TLS\n"
        return wire.reject(HTTPStatus.FORBIDDEN, text)
    if not door.allows(request.headers, peer):
        door.refuse("origin")
        text = "this page may not connect; name its origin in STATUSWIRE_ORIGINS\n"
        return wire.reject(HTTPStatus.FORBIDDEN, text)
    return None


def _shake_hands(wire: Wire, request: Request) -> Response:
    response = wire.accept(request)
    if response.status_code == HTTPStatus.BAD_REQUEST:
        # The library's text quotes what it refuses, which may be a token.
        return wire.reject(HTTPStatus.BAD_REQUEST, "not a valid handshake\n")
    if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS and not wire.is_untouched:
        text = "nothing may come behind the request before its answer\n"
        return wire.reject(HTTPStatus.BAD_REQUEST, text)
    return response
