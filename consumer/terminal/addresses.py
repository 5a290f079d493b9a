"""Where the stream and the REST API are, and who says so.

In this order: options, `STATUSWIRE_*` of the environment, the demo beside which one stands, the
stack in one's AWS account.
"""

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from consumer.terminal.exits import CannotGoOn

STACK: Final = "statuswire"  # the name that docs/deploy.md gives it
DEMO: Final = Path(".local") / "demo.json"
VARIABLES: Final = {
    "STATUSWIRE_URL": "The stream's address, as `wss://host/v1/status`.",
    "STATUSWIRE_REST_URL": (
        "The REST API's, stage included. The consumer has a setting of the same name."
    ),
    "STATUSWIRE_STACK": "The CloudFormation stack whose outputs are asked instead.",
    "STATUSWIRE_TOKEN": "A watch token, where none is to be had from the REST API.",
}


class Wanted(Struct, frozen=True):
    """What the command line says: each None where it says nothing."""

    stack: str | None = None
    region: str | None = None
    profile: str | None = None
    url: str | None = None
    rest_url: str | None = None


class Addresses(Struct, frozen=True):
    """`stream_url` is None where only the REST API knows it, `rest_url` where nobody does.

    `told_by` is for a person. `region` is the one that requests are signed for; None lets AWS's
    configuration say. The demo's API takes unsigned requests, and sees no credentials of one's own.
    """

    stream_url: str | None
    rest_url: str | None
    told_by: str
    region: str | None = None
    profile: str | None = None
    stack: str | None = None
    is_demo: bool = False


def find(wanted: Wanted, environment: Mapping[str, str], folder: Path) -> Addresses:
    """What can be known without asking AWS; `stack` says whose outputs are still to be read.

    `folder` is where one stands. Raises `CannotGoOn`.
    """
    url = wanted.url or environment.get("STATUSWIRE_URL") or None
    rest_url = wanted.rest_url or environment.get("STATUSWIRE_REST_URL") or None
    stack = wanted.stack or environment.get("STATUSWIRE_STACK") or None
    if wanted.stack and not wanted.rest_url:
        rest_url = None  # a stack that is named goes before what the environment says of another
        url = wanted.url
    if url or rest_url:
        told_by = urlsplit(url or rest_url or "").netloc
        return Addresses(
            checked(url, "ws") if url else None,
            checked(rest_url, "http") if rest_url else None,
            told_by,
            wanted.region,
            wanted.profile,
            stack if not rest_url else None,
        )
    if stack is None and (demo := _demo(folder)):
        return demo
    name = stack or STACK
    return Addresses(None, None, f"stack {name}", wanted.region, wanted.profile, stack=name)


def checked(url: str, scheme: str) -> str:
    """The address without a slash at its end. `scheme` is `ws` or `http`; TLS is `s` more.

    Raises `CannotGoOn` for one that is none, or that would show tokens and signatures on the way.
    """
    parts = urlsplit(url)
    if parts.username is not None:
        raise CannotGoOn("an address holds no user and no password", "Leave them out.")
    if parts.scheme not in (scheme, f"{scheme}s") or not parts.hostname or parts.query:
        raise CannotGoOn(
            f"{parts.scheme}://{parts.hostname} is no address that can be used",
            f"It begins with {scheme}s:// (or {scheme}:// on this machine) and has no query.",
        )
    if parts.scheme == scheme and not is_loopback(parts.hostname):
        raise CannotGoOn(
            f"{parts.scheme}://{parts.hostname} would show tokens to whoever listens on the way",
            f"Use {scheme}s://. Without TLS only this machine's own addresses are taken.",
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def goes_by_proxy(url: str | None) -> bool:
    """Whether the environment's proxies count: none knows the way back to this machine."""
    return url is not None and not is_loopback(urlsplit(url).hostname or "")


def _demo(folder: Path) -> Addresses | None:
    """The demo that runs in this checkout, if one does. It tells no address but loopback ones."""
    for parent in (folder, *folder.parents):
        path = parent / DEMO
        if path.is_file():
            break
    else:
        return None
    try:
        told: Any = json.loads(path.read_text())
        urls = str(told["websocket_url"]), str(told["rest_url"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotGoOn(
            f"{path} cannot be read: {type(error).__name__}",
            "End the demo and start it again, or name another place: --url, --stack.",
        ) from error
    if not all(is_loopback(urlsplit(url).hostname or "") for url in urls):
        raise CannotGoOn(
            f"{path} names addresses of other machines, which no demo does",
            "Name them yourself, if you trust them: --url, --rest-url.",
        )
    return Addresses(checked(urls[0], "ws"), checked(urls[1], "http"), "demo", is_demo=True)
