"""What the consumer's port answers besides WebSockets: dashboard, health, readiness. GET only."""

import mimetypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from email.utils import formatdate
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final
from urllib.parse import urlsplit

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from consumer import __version__
from consumer.sign_in import SignIn

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
PROBES: Final = frozenset({"/healthz", "/readyz", "/startz"})  # whoever asks, and however often
_ROUTES: Final = {"/": "index.html", "/favicon.ico": "favicon.svg"}  # beside /dashboard/<file>


class Site:
    """Answers plain HTTP requests from memory; the files are read once, at the start."""

    def __init__(
        self,
        rest_url: str | None,
        missing: Callable[[], Sequence[str]],
        sign_in: SignIn | None = None,
    ) -> None:
        """`missing` names what keeps us from being ready."""
        self._missing = missing
        self._has_started = False
        config = {"rest_url": rest_url, "sign_in": _told(sign_in), "version": __version__}
        self._pages: dict[str, tuple[str, bytes]] = {
            "/config.json": (_JSON, msgspec.json.encode(config))
        }
        for path, file in _files(files("consumer.dashboard"), "/dashboard"):
            if (kind := _kind(file.name)) is not None:
                self._pages[path] = (f"{kind}; charset=utf-8", file.read_bytes())
        for path, name in _ROUTES.items():
            if page_of := self._pages.get(f"/dashboard/{name}"):
                self._pages[path] = page_of
        if sign_in is not None:  # where Cognito sends people back to; the page takes it from there
            self._pages["/signed-in"] = self._pages["/"]
        self._policy = _content_security_policy(rest_url, sign_in)

    def respond(self, request: Request, path: str) -> Response:
        """The answer to a request that is not a WebSocket handshake."""
        if request.method not in ("GET", "HEAD"):
            return self._response(HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"only GET here\n")
        response = self._answer(path)
        if request.method == "HEAD":
            response.body = b""  # its length is told all the same
        return response

    def _answer(self, path: str) -> Response:
        if path == "/healthz":
            return self._response(HTTPStatus.OK, _TEXT, b"ok\n")
        if path == "/readyz":
            if missing := self._missing():
                text = f"not ready: {', '.join(missing)}\n".encode()
                return self._response(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, text)
            return self._response(HTTPStatus.OK, _TEXT, b"ready\n")
        if path == "/startz":
            return self._start()
        if path in self._pages:
            return self._response(HTTPStatus.OK, *self._pages[path])
        return self._response(HTTPStatus.NOT_FOUND, _TEXT, b"nothing here\n")

    def _start(self) -> Response:
        """Ready now, or at any time before it was asked: an outage is no reason to end a process
        whose viewers are served from the log.
        """
        missing = self._missing()
        self._has_started = self._has_started or not missing
        if self._has_started:
            return self._response(HTTPStatus.OK, _TEXT, b"started\n")
        text = f"not started: {', '.join(missing)}\n".encode()
        return self._response(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, text)

    def _response(self, status: HTTPStatus, kind: str, body: bytes) -> Response:
        headers = Headers(
            {
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                "Connection": "close",
                "Cache-Control": "no-store",
                "Date": formatdate(usegmt=True),  # by it the page knows how wrong its clock is
                "Content-Security-Policy": self._policy,
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
            }
        )
        return Response(status.value, status.phrase, headers, body)


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    """All files below, with the path each is served at."""
    for each in folder.iterdir():
        if each.is_dir():
            yield from _files(each, f"{path}/{each.name}")
        else:
            yield f"{path}/{each.name}", each


def _kind(name: str) -> str | None:
    """Its media type; a declaration of types is no video, as `.ts` otherwise means."""
    return "text/plain" if name.endswith(".d.ts") else mimetypes.guess_type(name)[0]


def _told(sign_in: SignIn | None) -> dict[str, str] | None:
    if sign_in is None:
        return None
    return {**asdict(sign_in), "identity_url": sign_in.identity_url}


def _content_security_policy(rest_url: str | None, sign_in: SignIn | None) -> str:
    connect = ["'self'"]
    if rest_url is not None:
        parts = urlsplit(rest_url)
        connect.append(f"{parts.scheme}://{parts.netloc}")
    if sign_in is not None:
        connect += sign_in.origins
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src {' '.join(connect)}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
