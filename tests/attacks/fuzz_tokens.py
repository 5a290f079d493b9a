"""Damaged tokens, a million of them in long mode: each lets somebody in only if it may.

Some are damaged after they were signed, which no change but none survives; others before, so that
what is behind the signature is tried as well.
"""

import asyncio
import json
import random
import sys
from typing import Any, Final

from consumer.core.grant import MAX_LIFETIME_S, MAX_SKEW_S, Grant
from consumer.edges.keys import keys_in
from consumer.edges.tokens import TokenRefused, Verifier
from tests.edges.issuers import (
    KID,
    NOW_S,
    claims,
    forge,
    header,
    jwk,
    key_set,
    secret_key,
    signed,
    verifier,
)

PROVIDERS: Final = ("RS256", "ES256", "EdDSA")
VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1.5, 1e308, 10**18, float("nan"), "", "*", "none", "HS256", "RS256",
    KID, "RS256\0", "../x", [], ["*"], ["*", 1], {}, {"kid": KID}, NOW_S, NOW_S + 900, "stack-1",
)  # fmt: skip
BYTES: Final = (
    b"null", b"1e999", b"NaN", b"\\ud800", b"\xff", b"\0", b"{", b"[[[[", b'"', b"9" * 400, b",",
    b'"exp":1,', b'"alg":"none",', b'"crit":["exp"],', b'"b64":false,',
)  # fmt: skip
LETTERS: Final = "AZaz09-_.=+/ \n\0\u0130"


def fuzz_tokens(count: int, seed: int) -> int:
    """Try `count` damaged tokens; returns how many of them were good all the same.

    Raises AssertionError with the input that raised anything but `TokenRefused`, or that let
    somebody in who may not.
    """
    return asyncio.run(_fuzz(count, random.Random(seed)))


async def _fuzz(count: int, dice: random.Random) -> int:
    keys = {KID: secret_key(), **keys_in(key_set(*(jwk(name) for name in PROVIDERS)))}
    judge = verifier(keys, clock=lambda: 0.0)  # a clock that stands: no key is looked for twice
    good = [forge(header(), claims()), *(signed(claims(), name) for name in PROVIDERS)]
    taken = 0
    for number in range(count):
        resigned = dice.random() < 0.5
        token = _resigned(dice) if resigned else _damaged(dice, good)
        try:
            granted = await _judge(judge, token)
            assert granted is None or resigned or token in good, "a forged token was taken"
        except Exception as error:
            raise AssertionError(f"input {number}: {token!r}") from error
        taken += granted is not None
    return taken


async def _judge(judge: Verifier, token: str) -> Grant | None:
    try:
        granted = await judge.verify(token)
    except TokenRefused as error:
        assert len(str(error)) < 80  # noqa: PT017 # and holds no part of the token
        return None
    assert granted.watch
    assert granted.expires_s is not None
    assert NOW_S < granted.expires_s <= NOW_S + MAX_LIFETIME_S + MAX_SKEW_S
    return granted


def _damaged(dice: random.Random, good: list[str]) -> str:
    """A good token with some of its letters changed, cut, doubled or taken from another one."""
    text = dice.choice(good)
    for _ in range(dice.randint(0, 4)):
        start = dice.randrange(len(text) + 1)
        end = min(len(text), start + dice.randint(0, 8))
        other = dice.choice(good)
        cut = dice.randrange(len(other))
        middle = dice.choice(
            ["", dice.choice(LETTERS), text[start:end] * 2, other[cut : cut + dice.randint(1, 60)]]
        )
        text = text[:start] + middle + text[end:]
    return text


def _resigned(dice: random.Random) -> str:
    """A header and claims with wrong values or damaged JSON under a signature that is right."""
    parts: list[Any] = [header(), claims()]
    for part in parts:
        for _ in range(dice.randint(0, 2)):
            part[dice.choice([*part, "crit", "b64"])] = dice.choice(VALUES)
    for place in range(2):
        if dice.random() < 0.3:
            data = bytearray(json.dumps(parts[place]).encode())
            start = dice.randrange(len(data) + 1)
            data[start : start + dice.randint(0, 4)] = dice.choice(BYTES)
            parts[place] = bytes(data)
    return forge(*parts)


if __name__ == "__main__":
    chosen = random.randrange(1_000_000)
    print(f"seed {chosen}: {fuzz_tokens(int(sys.argv[1]), chosen)} tokens were good")
