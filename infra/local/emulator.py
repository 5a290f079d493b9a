"""The emulator (ministack) as a child process on 127.0.0.1."""

import asyncio
import time
from pathlib import Path

import aiohttp

from infra.local.child import Child, is_up
from infra.local.places import HOST, REGION, TOOLS, LocalRunError, child_environment

START_TIMEOUT_S = 30.0
POLL_S = 0.05
# It waits for open long polls when told to end; nothing of it is worth waiting for.
STOP_GRACE_S = 1.0


class EmulatorError(LocalRunError):
    """The emulator did not come up; the message ends with its last lines."""


class Emulator:
    """One emulator with all its files in `folder`.

    Facts it is configured by (its own source, 1.5.33): BIND_HOST is the interface,
    MINISTACK_HOST the name in queue addresses; the MQTT and SFTP listeners are on by
    default; without TMPDIR and STATE_DIR it leaves files in /tmp.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self.endpoint = f"http://{HOST}:{port}"
        self._port = port
        self._folder = folder
        self._child: Child | None = None

    async def start(self) -> None:
        """Returns when it is healthy. Raises EmulatorError."""
        state = self._folder / "state"
        state.mkdir()
        environment = child_environment(self.endpoint, self._folder) | {
            "BIND_HOST": HOST,
            "MINISTACK_HOST": HOST,
            "MINISTACK_REGION": REGION,
            "GATEWAY_PORT": str(self._port),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "LAMBDA_EXECUTOR": "local",
            # A container engine that happens to run here is none of our business.
            "DOCKER_HOST": f"unix://{state}/no-docker.sock",
            "STATE_DIR": str(state),
        }
        self._child = await Child.start(
            [TOOLS / "ministack"],
            output=self._folder / "emulator.log",
            environment=environment,
            cwd=self._folder,
        )
        await self._healthy()

    async def _healthy(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        async with aiohttp.ClientSession() as http:
            while not await is_up(http, f"{self.endpoint}/_ministack/ready"):
                if self.exit_code is not None or time.monotonic() > deadline:
                    raise EmulatorError(f"The emulator did not start:\n{self.tail()}")
                await asyncio.sleep(POLL_S)

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop(STOP_GRACE_S)

    async def watch(self) -> None:
        """Raises EmulatorError when it dies, and never returns before."""
        if self._child is not None:
            code = await self._child.wait()
            raise EmulatorError(f"The embedded AWS ended ({code}):\n{self.tail()}")

    @property
    def pid(self) -> int:
        if self._child is None:
            raise EmulatorError("The embedded AWS was never started.")
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        return self._child.exit_code if self._child else None

    def tail(self) -> str:
        return self._child.tail() if self._child else ""

    async def configure(self, **settings: object) -> None:
        """Set the emulator's own knobs, such as `{"stepfunctions._SFN_WAIT_SCALE": 0.1}`."""
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.endpoint}/_ministack/config", json=settings) as response,
        ):
            response.raise_for_status()
            refused = settings.keys() - (await response.json())["applied"].keys()
            if refused:
                raise EmulatorError(f"The emulator refused {sorted(refused)}")
