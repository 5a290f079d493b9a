"""The dashboard with one's own AWS credentials, in one's own browser."""

import asyncio
import os
import sys
import webbrowser
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from consumer.terminal.addresses import Wanted
from consumer.terminal.exits import Exit
from consumer.terminal.handover import handover
from consumer.terminal.local_site import LocalSite
from consumer.terminal.looks import Output, plain
from consumer.terminal.place import open_place
from consumer.terminal.watching import EVERYTHING

PLAIN_HOST: Final = "127.0.0.1"


async def serve(where: Wanted, *, port: int, opens: bool, is_plain: bool) -> Exit:
    """Until it is interrupted. Raises `CannotGoOn`."""
    async with AsyncExitStack() as closing:
        place = await closing.enter_async_context(open_place(where))
        tokens = place.tokens(EVERYTHING)
        await tokens.current()  # what would be refused is refused here, and not in a browser
        site = await closing.enter_async_context(
            LocalSite(
                place.api,
                place.addresses.stream_url,
                tokens,
                host=PLAIN_HOST if is_plain else "",
                port=port,
            )
        )
        _tell(f"The dashboard of {place.addresses.told_by}: {site.gate.origin}/")
        with handover(f"{site.gate.origin}/enter", site.gate.key) as page:
            await _hand_over(site, page.as_uri(), opens=opens)
        _tell("Ctrl-C ends it.")
        await asyncio.Event().wait()
    return Exit.DONE


async def _hand_over(site: LocalSite, uri: str, *, opens: bool) -> None:
    is_in = asyncio.Event()
    site.entered = is_in.set
    if opens and has_display(os.environ, sys.platform) and await _opened(uri):
        _tell(f"Your browser opens it. If it does not, open this yourself: {uri}")
    else:
        _tell(f"Open this in your browser; it lets one browser in, once: {uri}")
    await is_in.wait()


async def _opened(uri: str) -> bool:
    return await asyncio.to_thread(webbrowser.open, uri)


def has_display(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a browser would have a window: without one, Python picks one for the terminal."""
    if not platform.startswith("linux"):
        return True
    return any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _tell(text: str) -> None:
    Output().print(plain(text), soft_wrap=True)
