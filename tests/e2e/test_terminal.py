"""The viewer's commands on the whole product, as a script runs them beside the demo."""

import json
from pathlib import Path

import pytest

from consumer.terminal.account import Account
from consumer.terminal.exits import CannotGoOn
from infra.local.run import STACK_NAME, LocalRun
from tests.e2e.conftest import Product
from tests.terminal.commands import run

pytestmark = pytest.mark.asyncio(loop_scope="session")


def checkout(product: Product, folder: Path) -> Path:
    """A folder with what the demo writes."""
    (folder / ".local").mkdir()
    told = {"websocket_url": product.consumer.websocket_url, "rest_url": product.run.rest_url}
    (folder / ".local" / "demo.json").write_text(json.dumps(told))
    return folder


async def test_a_script_starts_an_instance_and_goes_on_when_it_runs(
    product: Product, tmp_path: Path
) -> None:
    """`start --wait`, `watch --until … && next-step`, and what became of the run."""
    folder, instance = checkout(product, tmp_path), product.stopped[1]
    starting = ("start", instance, "--standard", "--name", "terminal-1", "--wait", "--json")
    code, out, err = await run(*starting, environment={}, cwd=folder)
    assert (code, err) == (0, "")
    told = [json.loads(line) for line in out.splitlines()]
    assert told[0]["executionArn"].endswith(":terminal-1")
    assert told[-1]["result"] == "reached"

    waiting = ("watch", f"instance:{instance}", "--until", "running", "--quiet")
    assert await run(*waiting, environment={}, cwd=folder) == (0, "", "")

    described = ("executions", "terminal-1", "--json")
    code, out, _ = await run(*described, environment={}, cwd=folder)
    assert (code, json.loads(out)["status"]) == (0, "SUCCEEDED")
    code, out, _ = await run("executions", environment={}, cwd=folder)
    assert "terminal-1" in out


async def test_a_token_is_to_be_had(product: Product, tmp_path: Path) -> None:
    """From the stack's own function."""
    code, out, _ = await run("token", environment={}, cwd=checkout(product, tmp_path))
    assert code == 0
    assert out.count(".") == 2


async def test_the_stack_says_where_its_api_is(
    embedded_aws: LocalRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its outputs; a stack that is none is told by its name, with what to do."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", embedded_aws.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    account = Account(embedded_aws.stack.region)
    assert account.outputs(STACK_NAME)["RestApiUrl"].startswith("https://")
    with pytest.raises(CannotGoOn, match="no stack nothing") as refused:
        account.outputs("nothing")
    assert "--stack" in refused.value.fix
