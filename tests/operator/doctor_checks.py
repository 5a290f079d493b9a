"""One check at a time: its settings, and a server for it to meet."""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from consumer.operator.finding import Finding
from consumer.operator.scene import Scene

Check = Callable[[Scene], Awaitable[list[Finding]]]


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """All settings of the environment, ours and the SDK's."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "STATUSWIRE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)


async def told(check: Check, *, now_s: float | None = None, **settings: object) -> Finding:
    """The one finding of a check, with these settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name if name.isupper() else f"STATUSWIRE_{name.upper()}", str(value))
        async with Scene(now_s=time.time if now_s is None else lambda: now_s) as scene:
            (finding,) = await check(scene)
            return finding


@contextlib.asynccontextmanager
async def serving(answer: Callable[[web.BaseRequest], web.Response]) -> AsyncIterator[str]:
    """A real server that always answers so."""

    async def handle(request: web.BaseRequest) -> web.Response:
        return answer(request)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
