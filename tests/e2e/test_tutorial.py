"""docs/tutorial.md: its commands beside a local run, and the last line that each shows."""

import asyncio
import json
import re
from pathlib import Path

import aioboto3
import pytest

from infra.local.demo import exports, surroundings
from infra.local.places import ROOT
from tests.e2e.conftest import Product

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLAYED = (ROOT / "docs" / "tutorial.md").read_text().split("<!-- played")[1].split("\n## ")[0]
STEPS = re.findall(r"```sh\n(.+?)```\n(?:\n```\n(.+?)```\n)?", PLAYED, re.DOTALL)


def alike(text: str) -> str:
    """The last line, without what differs from run to run."""
    return re.sub(r"i-[0-9a-f]{17}", "i-…", text.strip().splitlines()[-1])


async def test_it_comes_as_the_tutorial_says(product: Product, tmp_path: Path) -> None:
    """Each command of the part that needs no AWS succeeds, and prints what is shown."""
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / ".local").mkdir()
    told = {"websocket_url": product.consumer.websocket_url, "rest_url": product.run.rest_url}
    (tmp_path / ".local" / "demo.json").write_text(json.dumps(told))
    environment = surroundings(product.run, product.consumer, None)
    (tmp_path / ".local" / "demo.env").write_text(exports(environment))
    async with aioboto3.Session().client("ec2", **product.run.client_settings) as ec2:
        await ec2.stop_instances(InstanceIds=[environment["DEMO_INSTANCE"]])
    assert len(STEPS) == 4
    for commands, shown in STEPS:
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-ec", ". .local/demo.env\n" + commands),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await shell.communicate()
        assert shell.returncode == 0, said.decode()
        assert alike(said.decode()) == alike(shown)
