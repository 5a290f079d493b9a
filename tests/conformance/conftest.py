"""Every case, by every client library, against every delivery that can do what it needs.

Another delivery is one more line here.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.conformance import consumer, functions, node
from tests.conformance.delivery import Kind
from tests.conformance.scene import Scene
from tests.conformance.stock import Stock
from tests.conformance.wire import Dialler

DELIVERIES: Final[dict[str, Kind]] = {"consumer": consumer.KIND, "functions": functions.KIND}


@asynccontextmanager
async def _stock() -> AsyncIterator[Dialler]:
    yield Stock()


DIALLERS: Final[dict[str, Callable[[], AbstractAsyncContextManager[Dialler]]]] = {
    "websockets": _stock,
    "ws": node.dialling,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each library and each delivery that does not lack what the case needs."""
    if "scene" not in metafunc.fixturenames:
        return
    needed: frozenset[str] = getattr(metafunc.function, "needs", frozenset())
    pairs = [
        (delivery, dialler)
        for delivery, kind in DELIVERIES.items()
        for dialler in kind.libraries or DIALLERS
        if not needed & kind.lacks
    ]
    metafunc.parametrize("scene", pairs, indirect=True, ids=[" by ".join(pair) for pair in pairs])


@pytest.fixture
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    """A delivery of its own for each case."""
    delivery, dialler = request.param
    kind = DELIVERIES[delivery]
    async with (
        kind.open(tmp_path) as opened,
        DIALLERS[dialler]() as dialling,
        AsyncExitStack() as closing,
    ):
        yield Scene(opened, kind.lacks, dialling, closing)
