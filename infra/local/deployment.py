"""A template into the emulator, with the real `sam build` and `sam deploy`."""

import asyncio
import fcntl
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from infra.local.child import Child
from infra.local.places import CACHE, ROOT, TOOLS, LocalRunError, child_environment

FOLDER = CACHE / "sam"
HOME = CACHE / "home"
POLL_DELAY_S = "0.2"  # between looks at the stack; 0.5 s is sam's own


class DeploymentError(LocalRunError):
    """`sam` failed; the message ends with its last lines."""


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _mark_version_as_checked() -> None:
    """Sam asks the package index for a newer version weekly; a local run calls nobody.

    The file is sam's own record of it (samcli.cli.global_config, lastVersionCheck).
    """
    record = HOME / ".aws-sam" / "metadata.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(record.read_text()) if record.exists() else {}
    record.write_text(json.dumps(known | {"lastVersionCheck": time.time()}))


class Sam:
    """The SAM CLI, kept to our caches and to the emulator."""

    def __init__(
        self,
        template: Path,
        parameters: Mapping[str, str],
        *,
        endpoint: str,
        folder: Path,
        stack_name: str | None = None,
    ) -> None:
        """Without a name, the stack has that of samconfig.toml, environment `local`."""
        self._template = template
        self._log = folder / "sam.log"
        self._built = FOLDER / (stack_name or "build")
        overrides = [f"{name}={value}" for name, value in parameters.items()]
        config = template.with_name("samconfig.toml")
        self._options: list[str | Path] = [
            *("--config-file", config if config.exists() else ROOT / config.name),
            *("--config-env", "local", "--parameter-overrides", *overrides),
        ]
        self._stack_name = ["--stack-name", stack_name] if stack_name else []
        environment = child_environment(endpoint, folder)
        self._environment = environment | {
            # It looks for `python3.x` with a pip, of the function's version, on the PATH.
            "PATH": f"{TOOLS}:{environment['PATH']}",
            "HOME": str(HOME),
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": POLL_DELAY_S,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Builds share one cache, so two runs on one checkout take turns."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        with (FOLDER / "lock").open("w") as lock:
            while not _lock(lock):  # noqa: ASYNC110 - held by another process
                await asyncio.sleep(0.1)
            yield

    async def build(self) -> None:
        """Raises DeploymentError. Needs no emulator, and no network once its cache is warm."""
        _mark_version_as_checked()
        await self._run(
            "build",
            *("--template", self._template, "--build-dir", self._built),
            *("--cached", "--cache-dir", FOLDER / "cache"),
        )

    async def deploy(self) -> None:
        """Raises DeploymentError."""
        built = self._built / "template.yaml"
        await self._run("deploy", "--template", built, *self._stack_name)

    async def _run(self, verb: str, *options: str | Path) -> None:
        # Its working folder is in the cache, since it leaves a `.aws-sam` where it stands.
        child = await Child.start(
            [TOOLS / "sam", verb, *options, *self._options],
            output=self._log,
            environment=self._environment,
            cwd=FOLDER,
        )
        try:
            code = await child.wait()
        finally:
            await child.kill()
        if code != 0:
            raise DeploymentError(f"sam {verb} failed ({code}):\n{child.tail(30)}")
