"""`statuswire start`, `executions` and `token`: what is asked of the REST API, and told of it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.core import events
from tests.edges.conftest import Service
from tests.terminal.commands import command, run
from tests.terminal.signed_api import ENVIRONMENT, SignedApi, signed_api
from tests.terminal.telling import FAILURE, INSTANCE, STANDARD
from tests.terminal.telling import run as run_event

ARN = f"{STANDARD}:nightly-7"
OUTPUT = {"instance_id": INSTANCE, "previous_state": "stopped", "state": "pending", "changed": True}


@pytest.fixture
async def api() -> AsyncIterator[SignedApi]:
    async with signed_api() as api:
        yield api


def place(api: SignedApi, service: Service | None = None) -> dict[str, str]:
    """The environment that names both."""
    stream = {"STATUSWIRE_URL": service.url, "STATUSWIRE_TOKEN": "none-asked"} if service else {}
    return {**ENVIRONMENT, "STATUSWIRE_REST_URL": api.url, **stream}


async def test_an_express_run_tells_what_it_did(api: SignedApi, tmp_path: Path) -> None:
    """It starts the instance unless told otherwise: never does it stop one by surprise."""
    api.answers["/express-instance"] = (200, OUTPUT)
    code, out, err = await run("start", INSTANCE, environment=place(api), cwd=tmp_path)
    assert (code, out, err) == (0, f"SUCCEEDED  {INSTANCE}: stopped → pending\n", "")
    (_, _, body) = api.asked[0]
    assert json.loads(body) == {"instance_id": INSTANCE, "action": "start"}


async def test_a_program_gets_the_answer_as_it_came(api: SignedApi, tmp_path: Path) -> None:
    """One line of JSON, whether it succeeded or not."""
    api.answers["/express-instance"] = (200, OUTPUT)
    code, out, _ = await run("start", INSTANCE, "--json", environment=place(api), cwd=tmp_path)
    assert (code, json.loads(out)) == (0, OUTPUT)


@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        (502, {"error": "insufficient_capacity", "message": "no room", "executionArn": ARN}, 1),
        (409, {"error": "instance_state_conflict", "message": "no room", "executionArn": ARN}, 1),
        (504, {"error": "integration_timed_out", "message": "no room"}, 2),
        (400, {"error": "invalid_input", "message": "no room"}, 3),
        (403, {"message": "no room"}, 3),
    ],
)
async def test_what_came_of_it_is_the_exit_code(
    status: int, told: dict[str, str], code: int, api: SignedApi, tmp_path: Path
) -> None:
    """A run that failed, one that nobody knows of, one that was not begun; in the API's words."""
    api.answers["/express-instance"] = (status, told)
    got, out, err = await run("start", INSTANCE, environment=place(api), cwd=tmp_path)
    assert (got, out) == (code, "")
    assert "no room" in err


async def test_a_standard_run_is_watched_to_its_end(
    api: SignedApi, service: Service, tmp_path: Path
) -> None:
    """Its answer first, then its events, then how it ended: exit codes as those of watch."""
    api.answers["/standard-instance"] = (202, {"executionArn": ARN, "startDate": "…"})
    arguments = ("start", INSTANCE, "--standard", "--name", "nightly-7", "--wait", "--json")
    async with command(*arguments, environment=place(api, service), cwd=tmp_path) as start:
        assert json.loads(await start.line())["executionArn"] == ARN
        await start.told("snapshot")
        failed = run_event("FAILED", reason=FAILURE)
        await service.log.append([events.decode(json.dumps(failed))])
        ended = await start.told("until")
        assert (ended["result"], ended["exit_code"]) == ("otherwise", 1)
        assert (await start.end())[0] == 1
    assert json.loads(api.asked[0][2])["name"] == "nightly-7"


async def test_a_standard_run_that_is_not_waited_for_says_how_to(
    api: SignedApi, tmp_path: Path
) -> None:
    """On standard error: the answer alone is on standard output."""
    api.answers["/standard-instance"] = (202, {"executionArn": ARN, "startDate": "…"})
    arguments = ("start", INSTANCE, "--standard")
    code, out, err = await run(*arguments, environment=place(api), cwd=tmp_path)
    assert (code, out) == (0, "STARTED  standard run nightly-7\n")
    assert f"statuswire watch execution:{ARN} --until SUCCEEDED" in err


async def test_an_execution_is_described(api: SignedApi, tmp_path: Path) -> None:
    """For people field by field; for programs as the API has it."""
    told = {
        "executionArn": ARN, "name": "nightly-7", "status": "FAILED", "input": {"a": 1},
        "error": "NotPermitted", "cause": "no tag", "output": None,
    }  # fmt: skip
    api.answers["/executions/nightly-7"] = (200, told)
    arguments = ("executions", "nightly-7")
    code, out, _ = await run(*arguments, environment=place(api), cwd=tmp_path)
    assert code == 0
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert lines[0] == ["FAILED", "nightly-7"]
    assert ["input", '{"a":1}'] in lines
    assert ["cause", "no tag"] in lines
    assert "output" not in out
    code, out, _ = await run(*arguments, "--json", environment=place(api), cwd=tmp_path)
    assert json.loads(out) == told


async def test_an_execution_that_is_none_ends_with_1(api: SignedApi, tmp_path: Path) -> None:
    """A script can tell it from a refusal."""
    none = {"error": "execution_not_found", "message": "there is none"}
    api.answers["/executions/nightly-8"] = (404, none)
    code, _, err = await run("executions", "nightly-8", environment=place(api), cwd=tmp_path)
    assert code == 1
    assert "nightly-8" in err


async def test_executions_that_were_heard_of_are_listed(service: Service, tmp_path: Path) -> None:
    """Those under way first; no more than one wants."""
    told = [run_event("SUCCEEDED", name="b", seq=3), run_event("WAITING", name="a")]
    await service.log.append([events.decode(json.dumps(each)) for each in told])
    stream = {"STATUSWIRE_URL": service.url}
    code, out, _ = await run("executions", environment=stream, cwd=tmp_path)
    assert code == 0
    assert [line.split()[:4] for line in out.splitlines()] == [
        ["RUN", "MACHINE", "INSTANCE", "STATUS"],
        ["a", "standard", INSTANCE, "WAITING"],
        ["b", "standard", INSTANCE, "SUCCEEDED"],
    ]
    arguments = ("executions", "--json", "--limit", "1")
    code, out, _ = await run(*arguments, environment=stream, cwd=tmp_path)
    assert [event["execution"]["name"] for event in json.loads(out)] == ["a"]


async def test_a_token_stands_alone_on_standard_output(api: SignedApi, tmp_path: Path) -> None:
    """So that a shell can take it."""
    told = {"token": "eyJ.a.b", "expires": "2026-01-01T00:15:00.000Z", "url": "wss://x/v1/status"}
    api.answers["/watch-tokens"] = (201, told)
    arguments = ("token", "machine:express")
    assert await run(*arguments, environment=place(api), cwd=tmp_path) == (0, "eyJ.a.b\n", "")
    assert json.loads(api.asked[0][2]) == {"watch": ["machine:express"]}
