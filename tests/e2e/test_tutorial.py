"""docs/tutorial.md: its commands beside a local run, and the last line that each shows."""

import asyncio
import re
from pathlib import Path

import aioboto3
import pytest

from infra.local.demo import exports, surroundings
from infra.local.places import ROOT
from tests.e2e.conftest import Product
from tests.e2e.test_terminal import checkout

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLAYED = (ROOT / "docs" / "tutorial.md").read_text().split("<!-- played")[1].split("\n## ")[0]
STEPS = re.findall(r"```sh\n(.+?)```\n(?:\n```\n(.+?)```\n)?", PLAYED, re.DOTALL)


def alike(text: str) -> str:
    """The last line, without what differs from run to run."""
    return re.sub(r"i-[0-9a-f]{17}", "i-…", text.strip().splitlines()[-1])


async def test_it_comes_as_the_tutorial_says(product: Product, tmp_path: Path) -> None:
    """Each command of the part that needs no AWS succeeds, and prints what is shown."""
    folder = checkout(product, tmp_path)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    environment = surroundings(product.run, product.consumer, None)
    (folder / ".local" / "demo.env").write_text(exports(environment))
    async with aioboto3.Session().client("ec2", **product.run.client_settings) as ec2:
        await ec2.stop_instances(InstanceIds=[environment["DEMO_INSTANCE"]])
    assert len(STEPS) == 4
    for commands, shown in STEPS:
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-ec", ". .local/demo.env\n" + commands),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await shell.communicate()
        assert shell.returncode == 0, said.decode()
        assert alike(said.decode()) == alike(shown)
