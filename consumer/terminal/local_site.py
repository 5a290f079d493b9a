"""The dashboard on this machine, for one person: the page, REST calls signed, the stream relayed.

Bound to both loopback addresses, since a browser may try either for a name below `localhost`: a
port of which only one is ours would leave the other to whoever asks for it.
"""

import re
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import msgspec
from aiohttp import web
from websockets.datastructures import Headers
from websockets.http11 import Request

from consumer.edges.http import Site
from consumer.terminal.exits import CannotGoOn
from consumer.terminal.gate import Gate, new_host
from consumer.terminal.relay import Relay
from consumer.terminal.rest import NoAnswer, RestApi
from consumer.terminal.tokens import Tokens

LOOPBACKS: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
MAX_BODY_BYTES: Final = 64 * 1024
ROUTES: Final = {  # what the page may ask of the REST API; tokens are this program's business
    "POST": re.compile(r"/(?:express|standard)-instance"),
    "GET": re.compile(r"/executions/[A-Za-z0-9_-]{1,80}"),
}
PORTS_TRIED: Final = 10
ENTERED: Final = (
    '<!doctype html><meta charset="utf-8"><title>Statuswire</title>'
    '<meta http-equiv="refresh" content="0; url=/"><p><a href="/">The dashboard</a></p>'
)
STRICT: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LocalSite:
    """An async context manager: it listens while the block runs."""

    def __init__(
        self, api: RestApi | None, stream_url: str | None, tokens: Tokens, *, host: str, port: int
    ) -> None:
        """`api` None: the page only watches. `host` empty: a name of chance; `port` 0: any."""
        self._api = api
        self._stream_url = stream_url
        self._tokens = tokens
        self._host = host or new_host()
        self._port = port
        self.gate: Gate
        self._site: Site
        self._relay: Relay
        self._runner: web.AppRunner
        self.entered: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        sockets = listen(self._port)
        self.gate = Gate(self._host, sockets[0].getsockname()[1])
        self._site = Site(f"{self.gate.origin}/rest" if self._api else None, lambda: ())
        self._relay = Relay(self._stream_url, self._tokens)
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_post("/enter", self._enter)
        application.router.add_get("/v1/status", self._guarded(self._relay.serve, changes=True))
        application.router.add_post("/rest{route:/.*}", self._guarded(self._pass, changes=True))
        application.router.add_get("/rest{route:/.*}", self._guarded(self._pass, changes=False))
        application.router.add_get("/{path:.*}", self._guarded(self._page, changes=False))
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        for each in sockets:
            await web.SockSite(self._runner, each).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._relay.close()
        await self._runner.cleanup()

    def _guarded(self, handler: Handler, *, changes: bool) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if why := self.gate.refusal(request.headers, changes=changes):
                return web.Response(status=403, text=f"{why}\n", headers=STRICT)
            return await handler(request)

        return guarded

    async def _enter(self, request: web.Request) -> web.Response:
        form = await request.post()
        cookie = self.gate.enter(request.headers, str(form.get("key", "")))
        if cookie is None:
            why = "this key is none, or was used: run `statuswire dashboard` again\n"
            return web.Response(status=403, text=why, headers=STRICT)
        self.entered()
        # No redirect: a browser would follow it as the file's, and keep a strict cookie back.
        return web.Response(
            text=ENTERED, content_type="text/html", headers={**STRICT, "Set-Cookie": cookie}
        )

    async def _page(self, request: web.Request) -> web.Response:
        answer = self._site.respond(Request(request.path, Headers(), request.method), request.path)
        headers = {**STRICT, **dict(answer.headers.raw_items())}
        for hop in ("Connection", "Content-Length"):
            headers.pop(hop, None)
        return web.Response(status=answer.status_code, body=answer.body, headers=headers)

    async def _pass(self, request: web.Request) -> web.Response:
        route = request.match_info["route"]
        allowed = ROUTES.get(request.method)
        if self._api is None or allowed is None or not allowed.fullmatch(route):
            return _told(404, "not_found", "No such route here.")
        if request.method == "POST" and request.content_type != "application/json":
            return _told(415, "unsupported_media_type", "Send application/json.")
        try:
            answer = await self._api.send(request.method, route, await request.read())
        except NoAnswer as error:
            return _told(504, "no_answer", str(error))
        except CannotGoOn as error:
            return _told(502, "not_sent", f"{error}. {error.fix}".strip())
        body = answer.body if not isinstance(answer.body, str) else {"message": answer.body}
        return web.Response(
            status=answer.status,
            body=msgspec.json.encode(body),
            content_type="application/json",
            headers=STRICT,
        )


def listen(port: int) -> list[socket.socket]:
    """A socket per loopback address that this machine has, all on one port; 0 finds a free one.

    Raises `CannotGoOn` for a port that is taken.
    """
    families = [each for each in LOOPBACKS if _has(*each)]
    for _ in range(1 if port else PORTS_TRIED):
        sockets: list[socket.socket] = []
        try:
            for family, address in families:
                chosen = sockets[0].getsockname()[1] if sockets else port
                sockets.append(_bound(family, address, chosen))
        except OSError:
            for each in sockets:
                each.close()
        else:
            return sockets
    raise CannotGoOn(f"port {port} is taken" if port else "no free port", "Choose one: --port.")


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(128)
    except OSError:
        made.close()
        raise
    return made


def _has(family: socket.AddressFamily, address: str) -> bool:
    try:
        _bound(family, address, 0).close()
    except OSError:
        return False
    return True


def _told(status: int, code: str, message: str) -> web.Response:
    body = {"error": code, "message": message}
    return web.json_response(body, status=status, headers=STRICT)
