"""docs/scripts.md: its commands, in turn, beside a local run."""

import asyncio
import re
from pathlib import Path
from typing import Final

import aioboto3
import pytest

from infra.local.demo import exports, surroundings
from infra.local.places import ROOT
from tests.e2e.conftest import Product
from tests.e2e.test_terminal import checkout

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOCUMENT: Final = (ROOT / "docs" / "scripts.md").read_text()
PLAYED: Final = re.findall(
    r"```sh\n(.+?)```", DOCUMENT.split("<!-- played")[1].split("\n## ")[0], re.DOTALL
)
ENDS: Final = (
    r"\non to the next step$",
    r"^not within the time$",
    r"^\S+Z stopped$",
    r"^1$",
)
"""Of what each shows, a part that nothing else would."""


async def test_scripts_run_as_they_stand(product: Product, tmp_path: Path) -> None:
    """Each by a shell that stops at what fails."""
    folder = checkout(product, tmp_path)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    environment = surroundings(product.run, product.consumer, None)
    (folder / ".local" / "demo.env").write_text(exports(environment))
    async with aioboto3.Session().client("ec2", **product.run.client_settings) as ec2:
        await ec2.stop_instances(InstanceIds=[environment["DEMO_INSTANCE"]])
    for commands, shown in zip(PLAYED, ENDS, strict=True):
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", commands),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await shell.communicate()
        assert shell.returncode == 0, said.decode()
        assert re.search(shown, said.decode().strip(), re.MULTILINE), said.decode()
