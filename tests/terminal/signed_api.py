"""A REST API on this machine that refuses what is not signed, as API Gateway does.

It checks Signature Version 4 by AWS's description of it ("Create a signed AWS API request"), not
by botocore, which makes it.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

ACCESS_KEY: Final = "AKIDEXAMPLE"
SECRET: Final = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 # AWS's own example
SESSION: Final = "a session's token"
REGION: Final = "eu-central-1"
ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SESSION,
    "AWS_DEFAULT_REGION": REGION,
}


class SignedApi:
    """`answers` by route; `asked` is what came in and was signed as it should be."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, bytes]] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if why := fault(request.method, request.raw_path, request.headers, body):
            return web.json_response({"message": why}, status=403)
        route = request.path.removeprefix("/live")
        self.asked.append((request.method, route, body))
        status, told = self.answers.get(route, (404, {"error": "not_found", "message": "no"}))
        return web.json_response(told, status=status)


@asynccontextmanager
async def signed_api() -> AsyncIterator[SignedApi]:
    """One that listens."""
    api = SignedApi()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}/live"
    try:
        yield api
    finally:
        await runner.cleanup()


KNOWN: Final = {ACCESS_KEY: (SECRET, SESSION)}
"""Secret and session token by access key."""


def fault(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    known: Mapping[str, tuple[str, str]] = KNOWN,
) -> str | None:
    """What is wrong with a request's signature, or None."""
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        return "Missing Authentication Token"
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    key, date, region, service, end = parts["Credential"].split("/")
    if (region, service, end) != (REGION, "execute-api", "aws4_request") or key not in known:
        return "the credential's scope is another"
    secret, session = known[key]
    if headers.get("X-Amz-Security-Token") != session:
        return "The security token included in the request is invalid"
    names = parts["SignedHeaders"].split(";")
    if not {"host", "x-amz-date", "x-amz-security-token", "content-type"} <= set(names):
        return f"not all headers are signed: {names}"
    canonical = "\n".join(
        (
            method,
            quote(path.partition("?")[0], safe="/~"),
            path.partition("?")[2],
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        )
    )
    to_sign = "\n".join(
        (
            scheme,
            headers["X-Amz-Date"],
            "/".join((date, region, service, end)),
            hashlib.sha256(canonical.encode()).hexdigest(),
        )
    )
    signing = f"AWS4{secret}".encode()
    for part in (date, region, service, end):
        signing = _hmac(signing, part)
    if _hmac(signing, to_sign).hex() != parts["Signature"]:
        return "The request signature we calculated does not match the signature you provided"
    return None


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
