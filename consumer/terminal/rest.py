"""The REST API, signed with one's own credentials."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Protocol, Self

import aiohttp
import msgspec
from msgspec import Struct

from consumer.terminal.addresses import Addresses, goes_by_proxy
from consumer.terminal.exits import SIGN_IN, CannotGoOn

# API Gateway's own time is 29 s; it may be raised on Regional APIs.
ANSWER_S: Final = 65.0
MAX_ANSWER_BYTES: Final = 1 << 20  # an Express run's output is 256 KiB at most


class Signer(Protocol):
    """Whoever has credentials."""

    def sign(self, method: str, url: str, body: bytes) -> dict[str, str]:
        """The headers that a signed request has; none without credentials. It may block."""


class Answer(Struct, frozen=True):
    """What the API said. `body` is the JSON, or text where it was none."""

    status: int
    body: Any

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """The error's name, as in docs/errors.md."""
        return str(self._of("error") or f"status {self.status}")

    @property
    def message(self) -> str:
        """What it tells a person. API Gateway's own refusals have it, too."""
        return str(self._of("message") or self._of("Message") or "")

    @property
    def arn(self) -> str | None:
        """Of the run that it speaks of."""
        arn = self._of("executionArn")
        return str(arn) if arn else None

    def _of(self, field: str) -> Any:
        return self.body.get(field) if isinstance(self.body, Mapping) else None


class RestApi:
    """An async context manager. Nothing is tried twice: it may have been done the first time."""

    def __init__(self, addresses: Addresses, signer: Signer | None) -> None:
        """`signer` is None for an API that takes unsigned requests."""
        self._addresses = addresses
        self._signer = signer
        self._http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        """Raises `CannotGoOn` where nobody knows it."""
        if self._addresses.rest_url is None:
            raise CannotGoOn(
                "the REST API's address is not known",
                "Name it: --rest-url, STATUSWIRE_REST_URL; or the stack: --stack.",
            )
        return self._addresses.rest_url

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=10),
            trust_env=goes_by_proxy(self._addresses.rest_url),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.close()

    async def get(self, route: str) -> Answer:
        """Raises `CannotGoOn` where there is no answer."""
        return await self.send("GET", route, b"")

    async def post(self, route: str, body: Mapping[str, Any]) -> Answer:
        """Raises `CannotGoOn` where there is no answer."""
        return await self.send("POST", route, msgspec.json.encode(body))

    async def send(self, method: str, route: str, body: bytes) -> Answer:
        """`route` begins with a slash and needs no quoting."""
        url = self.url + route
        headers = {"Content-Type": "application/json"}
        if self._signer is not None:
            # Credentials may have to be fetched first, by calls that block.
            signed = await asyncio.to_thread(self._signer.sign, method, url, body)
            headers |= signed
        else:
            signed = {}
        try:
            async with self._http.request(
                method, url, data=body or None, headers=headers, allow_redirects=False
            ) as response:
                answer = Answer(response.status, _json(await _read(response)))
        except TimeoutError as error:
            raise NoAnswer(f"no answer of {url} within {ANSWER_S:.0f} s") from error
        except aiohttp.ClientError as error:
            raise CannotGoOn(f"{url} cannot be reached: {error}", self._unreachable()) from error
        if answer.status == 403 and self._signer is not None and "Authorization" not in signed:
            raise CannotGoOn("the REST API refuses what is not signed", SIGN_IN)
        return answer

    def _unreachable(self) -> str:
        if self._addresses.is_demo:
            return "Is `make demo` still up? Otherwise name another place: --stack, --rest-url."
        return "Look at the address, the network, and a proxy on the way (HTTPS_PROXY)."


class NoAnswer(CannotGoOn):
    """Nobody knows whether the request was carried out."""


def refusal(answer: Answer, what: str) -> CannotGoOn:
    """An answer that is no success, as the error that ends a command."""
    told = f"{what} was refused: {answer.code}"
    message = f"{told}: {answer.message}" if answer.message else told
    fixes = {
        403: "Sign in again, if your credentials have ended. They need execute-api:Invoke on this"
        " API (docs/deploy.md).",
        429: "Try again in a moment.",
    }
    return CannotGoOn(message, fixes.get(answer.status, "docs/errors.md says what to do."))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > MAX_ANSWER_BYTES:
            raise CannotGoOn("the answer is too large to be the REST API's", "Look at --rest-url.")
    return bytes(data)


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        return data.decode(errors="replace")
