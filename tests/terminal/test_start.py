"""`statuswire start`, `executions` and `token`: what is asked of the REST API, and told of it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.core import events
from consumer.terminal import executions
from consumer.terminal.addresses import Wanted
from consumer.terminal.exits import CannotGoOn, Exit
from consumer.terminal.starting import Start, start
from consumer.terminal.watch_token import print_token
from tests.edges.conftest import Service
from tests.terminal.commands import command, run
from tests.terminal.signed_api import ENVIRONMENT, SignedApi, signed_api
from tests.terminal.telling import FAILURE, INSTANCE, STANDARD
from tests.terminal.telling import run as run_event

ARN = f"{STANDARD}:nightly-7"
OUTPUT = {"instance_id": INSTANCE, "previous_state": "stopped", "state": "pending", "changed": True}
NOWHERE_ELSE = ("STATUSWIRE_URL", "STATUSWIRE_REST_URL", "STATUSWIRE_STACK", "STATUSWIRE_TOKEN")


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SignedApi]:
    """The one that the environment names, with credentials for it."""
    for name in NOWHERE_ELSE:
        monkeypatch.delenv(name, raising=False)
    async with signed_api() as api:
        for name, value in place(api).items():
            monkeypatch.setenv(name, value)
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


async def test_a_program_gets_the_answer_as_it_came(
    api: SignedApi, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line of JSON, whether it succeeded or not."""
    for status in (200, 409):
        api.answers["/express-instance"] = (status, {**OUTPUT, "executionArn": ARN})
        await start(Wanted(), Start(INSTANCE, as_json=True))
        assert json.loads(capfd.readouterr().out) == {**OUTPUT, "executionArn": ARN}


async def test_a_run_that_changed_nothing_says_so(
    api: SignedApi, capfd: pytest.CaptureFixture[str]
) -> None:
    """It was so already."""
    api.answers["/express-instance"] = (200, {**OUTPUT, "state": "running", "changed": False})
    assert await start(Wanted(), Start(INSTANCE)) is Exit.DONE
    assert capfd.readouterr().out == f"SUCCEEDED  {INSTANCE}: no change, it is running\n"


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
    status: int,
    told: dict[str, str],
    code: int,
    api: SignedApi,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A run that failed, one that nobody knows of, one that was not begun; in the API's words."""
    api.answers["/express-instance"] = (status, told)
    assert await start(Wanted(), Start(INSTANCE)) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert "no room" in err


async def test_a_standard_run_is_watched_to_its_end(
    api: SignedApi, service: Service, tmp_path: Path
) -> None:
    """Its answer first, then its events, then how it ended: exit codes as those of watch."""
    api.answers["/standard-instance"] = (202, {"executionArn": ARN, "startDate": "…"})
    arguments = ("start", INSTANCE, "--standard", "--name", "nightly-7", "--wait", "--json")
    async with command(*arguments, environment=place(api, service), cwd=tmp_path) as starting:
        assert json.loads(await starting.line())["executionArn"] == ARN
        await starting.told("snapshot")
        failed = run_event("FAILED", reason=FAILURE)
        await service.log.append([events.decode(json.dumps(failed))])
        ended = await starting.told("until")
        assert (ended["result"], ended["exit_code"]) == ("otherwise", 1)
        assert await starting.end() == (1, "", "")
    assert json.loads(api.asked[0][2])["name"] == "nightly-7"


async def test_a_standard_run_that_is_not_waited_for_says_how_to(
    api: SignedApi, capfd: pytest.CaptureFixture[str]
) -> None:
    """On standard error: the answer alone is on standard output."""
    api.answers["/standard-instance"] = (202, {"executionArn": ARN, "startDate": "…"})
    assert await start(Wanted(), Start(INSTANCE, is_standard=True)) is Exit.DONE
    out, err = capfd.readouterr()
    assert out == "STARTED  standard run nightly-7\n"
    assert f"statuswire watch execution:{ARN} --until SUCCEEDED" in err


async def test_an_execution_is_described(api: SignedApi, capfd: pytest.CaptureFixture[str]) -> None:
    """For people field by field; for programs as the API has it."""
    told = {
        "executionArn": ARN, "name": "nightly-7", "status": "FAILED", "input": {"a": 1},
        "error": "NotPermitted", "cause": "no tag", "output": None,
    }  # fmt: skip
    api.answers["/executions/nightly-7"] = (200, told)
    assert await executions.describe(Wanted(), "nightly-7", as_json=False) is Exit.DONE
    out = capfd.readouterr().out
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert lines[0] == ["FAILED", "nightly-7"]
    assert ["input", '{"a":1}'] in lines
    assert ["cause", "no tag"] in lines
    assert "output" not in out
    await executions.describe(Wanted(), "nightly-7", as_json=True)
    assert json.loads(capfd.readouterr().out) == told


async def test_an_execution_that_is_none_ends_with_1(
    api: SignedApi, capfd: pytest.CaptureFixture[str]
) -> None:
    """A script can tell it from a refusal."""
    none = {"error": "execution_not_found", "message": "there is none"}
    api.answers["/executions/nightly-8"] = (404, none)
    assert await executions.describe(Wanted(), "nightly-8", as_json=False) is Exit.OTHERWISE
    assert "nightly-8" in capfd.readouterr().err
    api.answers["/executions/nightly-8"] = (429, {"error": "too_many_requests"})
    with pytest.raises(CannotGoOn, match="too_many_requests"):
        await executions.describe(Wanted(), "nightly-8", as_json=False)


async def test_executions_that_were_heard_of_are_listed(
    service: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Those under way first; no more than one wants."""
    told = [run_event("SUCCEEDED", name="b", seq=3), run_event("WAITING", name="a")]
    await service.log.append([events.decode(json.dumps(each)) for each in told])
    monkeypatch.setenv("STATUSWIRE_URL", service.url)
    assert await executions.list_known(Wanted(), limit=9, as_json=False) is Exit.DONE
    assert [line.split()[:4] for line in capfd.readouterr().out.splitlines()] == [
        ["RUN", "MACHINE", "INSTANCE", "STATUS"],
        ["a", "standard", INSTANCE, "WAITING"],
        ["b", "standard", INSTANCE, "SUCCEEDED"],
    ]
    await executions.list_known(Wanted(), limit=1, as_json=True)
    listed = json.loads(capfd.readouterr().out)
    assert [event["execution"]["name"] for event in listed] == ["a"]


async def test_a_token_stands_alone_on_standard_output(
    api: SignedApi, capfd: pytest.CaptureFixture[str]
) -> None:
    """So that a shell can take it."""
    told = {"token": "eyJ.a.b", "expires": "2026-01-01T00:15:00.000Z", "url": "wss://x/v1/status"}
    api.answers["/watch-tokens"] = (201, told)
    assert await print_token(Wanted(), ["machine:express"]) is Exit.DONE
    assert capfd.readouterr() == ("eyJ.a.b\n", "")
    assert json.loads(api.asked[0][2]) == {"watch": ["machine:express"]}
