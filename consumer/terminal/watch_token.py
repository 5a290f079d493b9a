"""A watch token for another program, on standard output and nothing else there."""

import sys
from collections.abc import Sequence

from consumer.terminal.addresses import Wanted
from consumer.terminal.exits import CannotGoOn, Exit
from consumer.terminal.place import open_place
from consumer.terminal.rest import refusal
from consumer.terminal.running import say


async def print_token(where: Wanted, watch: Sequence[str]) -> Exit:
    """Raises `CannotGoOn`."""
    async with open_place(where) as place:
        if place.api is None:
            raise CannotGoOn("the REST API's address is not known", "Name it: --rest-url, --stack.")
        answer = await place.api.post("/watch-tokens", {"watch": list(watch)})
    if not answer.is_ok:
        raise refusal(answer, "a watch token")
    sys.stdout.write(f"{answer.body['token']}\n")
    sys.stdout.flush()
    if sys.stderr.isatty():
        say(f"For {', '.join(watch)} at {answer.body['url']}, until {answer.body['expires']}.")
    return Exit.DONE
