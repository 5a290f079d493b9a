"""Where a handshake carries its token: a header, or a browser's second subprotocol; no address."""

from collections.abc import Container, Sequence
from typing import Final, Protocol

from consumer.core.messages import SUBPROTOCOL
from consumer.edges.signed import TokenRefused

IN_ADDRESS: Final = frozenset({"token", "access_token"})  # what others call it (RFC 6750, 2.3)
_SUBPROTOCOL: Final = "bearer."


class Headers(Protocol):
    """A handshake's headers, whoever has read them."""

    def get_all(self, key: str) -> Sequence[str]:
        """The values of every header of that name, whatever its case."""


def refuse_in_address(fields: Container[str]) -> None:
    """An address is logged and remembered on its way. Raises `TokenRefused`."""
    if any(name in fields for name in IN_ADDRESS):
        raise TokenRefused(
            f"no token in an address: send Authorization: Bearer, or offer {SUBPROTOCOL} and"
            f" {_SUBPROTOCOL}<token>"
        )


def token_in(headers: Headers) -> str:
    """The one token of a handshake. Raises `TokenRefused` where there is none, or two."""
    offered = ",".join(headers.get_all("Sec-WebSocket-Protocol")).split(",")
    tokens = [
        each.strip().removeprefix(_SUBPROTOCOL)
        for each in offered
        if each.strip().startswith(_SUBPROTOCOL)
    ]
    for value in headers.get_all("Authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer":
            raise TokenRefused("Authorization must be Bearer")
        tokens.append(token.strip())
    if not tokens:
        raise TokenRefused("a token is required")
    if len(tokens) > 1:
        raise TokenRefused("one token, please, in one place")
    return tokens[0]
