"""What a token comes to at a connection: a grant, or the words with which it is closed."""

import asyncio
import logging
import time

from consumer.core.grant import Grant
from consumer.core.messages import CloseCode
from consumer.edges.tokens import KeysUnavailable, TokenRefused, Verifier
from consumer.hub import INTERNAL_ERROR

log = logging.getLogger(__name__)


class LoginFailed(Exception):
    """It grants nothing, or nobody can say now; `code` and `reason` are the close frame's."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


async def grant_of(verifier: Verifier, token: str, within_s: float) -> Grant:
    """What the token grants now. Raises `LoginFailed`, and nothing else."""
    try:
        async with asyncio.timeout(within_s):
            grant = await verifier.verify(token)
    except TokenRefused as error:
        raise LoginFailed(CloseCode.TOKEN, f"token refused: {error}") from error
    except (KeysUnavailable, TimeoutError) as error:
        reason = "tokens cannot be verified now; try again"
        raise LoginFailed(CloseCode.OVER_CAPACITY, reason) from error
    except Exception as error:
        log.exception("verifying a token failed; closing its connection")
        raise LoginFailed(INTERNAL_ERROR, "internal error") from error
    if grant.has_expired(time.time()):
        raise LoginFailed(CloseCode.TOKEN, "the token has expired")
    return grant
