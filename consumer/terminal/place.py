"""What a command stands on: addresses found, account, REST API and tokens, opened together."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from consumer.terminal.addresses import Addresses, Wanted, find
from consumer.terminal.rest import RestApi
from consumer.terminal.tokens import FetchedTokens, GivenToken, NoTokens, Tokens, given


class Place(Struct, frozen=True):
    """`api` is None where nobody knows a REST API: then one can only watch."""

    addresses: Addresses
    api: RestApi | None

    def tokens(self, watch: Sequence[str]) -> Tokens:
        """For these patterns: the environment's token, else one of the REST API's."""
        if token := given():
            return GivenToken(token)
        if self.addresses.is_demo or self.api is None:
            return NoTokens()
        return FetchedTokens(self.api, watch)


@asynccontextmanager
async def open_place(wanted: Wanted) -> AsyncIterator[Place]:
    """Raises `CannotGoOn` where it cannot be found."""
    addresses = find(wanted, os.environ, Path.cwd())
    if addresses.stack is None and addresses.rest_url is None:
        yield Place(addresses, None)
        return
    account = None
    if not addresses.is_demo:
        # Only now: it takes a third of a second to load, and the demo needs none of it.
        from consumer.terminal.account import Account  # noqa: PLC0415

        account = await asyncio.to_thread(Account, addresses.region, addresses.profile)
        addresses = await asyncio.to_thread(account.complete, addresses)
    async with RestApi(addresses, account) as api:
        yield Place(addresses, api)
