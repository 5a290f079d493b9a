"""`statuswire watch` as a script has it."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from consumer import cli
from consumer.core import events
from consumer.core.events import Event
from consumer.core.grant import Grant
from consumer.edges.tokens import TokenRefused, Verifier
from tests.edges.conftest import Service, serving
from tests.terminal.commands import command, run
from tests.terminal.signed_api import ENVIRONMENT, signed_api
from tests.terminal.telling import FAILURE, INSTANCE
from tests.terminal.telling import instance as instance_event
from tests.terminal.telling import run as run_event

THIS = f"instance:{INSTANCE}"


def of(told: dict[str, Any]) -> Event:
    return events.decode(json.dumps(told))


@pytest.fixture
def place(service: Service) -> dict[str, str]:
    """The environment that names the service."""
    return {"STATUSWIRE_URL": service.url}


async def test_a_script_goes_on_when_it_is_reached(
    service: Service, place: dict[str, str], tmp_path: Path
) -> None:
    """`watch … --until running && next-step`."""
    await service.log.append([of(instance_event("stopped"))])
    watching = ("watch", THIS, "--until", "running", "--json")
    async with command(*watching, environment=place, cwd=tmp_path) as watch:
        assert (await watch.told("snapshot"))["events"] == 1
        await service.log.append([of(instance_event("pending", second=2))])
        assert (await watch.told("status"))["event"]["status"] == "pending"
        await service.log.append([of(instance_event("running", second=3))])
        assert (await watch.told("until"))["result"] == "reached"
        assert await watch.end() == (0, "", "")


async def test_what_is_so_already_ends_at_once(
    service: Service, place: dict[str, str], tmp_path: Path
) -> None:
    """And says in one line what was reached."""
    await service.log.append([of(instance_event("running"))])
    code, out, err = await run("watch", THIS, "--until", "running", environment=place, cwd=tmp_path)
    assert code == 0
    assert "running" in out
    assert err == f"{INSTANCE}: running\n"


async def test_a_run_that_failed_ends_with_1_and_its_reason(
    service: Service, place: dict[str, str], tmp_path: Path
) -> None:
    """Quietly, but for that."""
    await service.log.append([of(run_event("FAILED", reason=FAILURE))])
    arguments = ("watch", "execution:nightly-7", "--until", "SUCCEEDED", "--quiet")
    code, out, err = await run(*arguments, environment=place, cwd=tmp_path)
    assert (code, out) == (1, "")
    assert "FAILED (InsufficientCapacity: EC2 has no room for it now)" in err


async def test_time_that_runs_out_ends_with_2(
    service: Service, place: dict[str, str], tmp_path: Path
) -> None:
    """Whatever was heard by then."""
    arguments = ("watch", THIS, "--until", "running", "--timeout", "0.5")
    code, _, err = await run(*arguments, environment=place, cwd=tmp_path)
    assert code == 2
    assert err.endswith("Timed out.\n")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["watch", "i-0abc12345678def90"], "instance:i-0abc12345678def90"),
        (["watch", "--until", "succeeded"], "SUCCEEDED"),
        (["watch", "--quiet"], "--until"),
        (["watch", "--timeout", "soon"], "--timeout"),
        (["watch", "--bogus"], "--bogus"),
        (["start", "i-1"], "hexadecimal"),
        (["start", "i-0abc12345678def90", "--name", "a b"], "80"),
        (["start", "i-0abc12345678def90", "--action", "burn"], "toggle"),
        (["executions", "a/b"], "80"),
        (["token", "everything"], "machine:express"),
        (["dashboard", "--port", "99999"], "65535"),
        (["completion", "tcsh"], "fish"),
    ],
)
def test_what_is_misspelled_ends_with_64(
    arguments: list[str],
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """2 says that time ran out; a script must be able to tell the two apart."""
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        cli.app(arguments, prog_name="statuswire")
    assert ended.value.code == 64
    assert hint in capsys.readouterr().err


async def test_an_interrupt_ends_with_130_and_no_traceback(
    place: dict[str, str], tmp_path: Path
) -> None:
    """In a pipe as in a terminal; SIGTERM with 143."""
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        async with command("watch", "--json", environment=place, cwd=tmp_path) as watch:
            await watch.told("connection")
            watch.process.send_signal(number)
            assert await watch.end() == (code, "", "")


@pytest.mark.parametrize("form", [["--json"], []])
async def test_a_reader_that_goes_ends_it(
    form: list[str], service: Service, place: dict[str, str], tmp_path: Path
) -> None:
    """`watch | head -1` leaves no traceback, and is no failure of what is watched."""
    await service.log.append([of(instance_event("running"))])
    async with command("watch", *form, environment=place, cwd=tmp_path) as watch:
        assert INSTANCE in await watch.line()
        assert watch.process.stdout is not None
        watch.process.stdout._transport.close()  # type: ignore[attr-defined]
        for second in range(1, 9):
            await service.log.append([of(instance_event("running", second=second))])
            await service.log.append([of(instance_event("stopped", second=second + 20))])
        assert watch.process.stderr is not None
        assert await watch.process.stderr.read() == b""
        assert await watch.process.wait() == 141


async def test_a_lost_connection_is_resumed(
    service: Service, place: dict[str, str], tmp_path: Path
) -> None:
    """Nothing is missed, nothing is told twice, and both are said."""
    async with command("watch", "--json", environment=place, cwd=tmp_path) as watch:
        await watch.told("snapshot")
        await service.log.append([of(instance_event("stopped"))])
        await watch.told("status")
        for connection in list(service.server.connections):
            connection._transport.abort()
        lost = await watch.told("connection")
        assert lost["state"] == "lost"
        await service.log.append([of(instance_event("pending", second=2))])
        assert (await watch.told("status"))["event"]["status"] == "pending"
        await watch.told("resumed")


async def test_a_cursor_of_another_log_is_a_gap(
    service: Service, place: dict[str, str], tmp_path: Path
) -> None:
    """It is said, and what stands follows."""
    await service.log.append([of(instance_event("stopped"))])
    arguments = ("watch", "--json", "--since", "elsewhere-7")
    async with command(*arguments, environment=place, cwd=tmp_path) as watch:
        await watch.told("gap")
        assert (await watch.told("snapshot"))["events"] == 1


async def test_the_demo_beside_which_one_stands_is_watched(
    service: Service, tmp_path: Path
) -> None:
    """Without a word on where."""
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "demo.json").write_text(
        json.dumps({"websocket_url": service.url, "rest_url": "http://127.0.0.1:9/live"})
    )
    async with command("watch", "--json", environment={}, cwd=tmp_path) as watch:
        await watch.told("snapshot")


async def test_nowhere_to_watch_says_what_to_do(tmp_path: Path) -> None:
    """No demo, no stack, no credentials."""
    code, out, err = await run(
        "watch", environment={"AWS_DEFAULT_REGION": "us-east-1"}, cwd=tmp_path
    )
    assert (code, out) == (3, "")
    assert "there are no AWS credentials" in err
    assert "aws sso login" in err


class Verifying:
    """A consumer that knows one token."""

    async def verify(self, token: str) -> Grant:
        if token != "fresh":  # noqa: S105 # no secret
            raise TokenRefused("it has expired")
        return Grant(frozenset({"*"}), 4e9)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path, verifier=cast(Verifier, Verifying())) as service:
        yield service


async def test_a_token_is_fetched_where_one_is_needed(guarded: Service, tmp_path: Path) -> None:
    """For the patterns that are watched, signed with one's own credentials; it says where, too."""
    async with signed_api() as api:
        api.answers["/watch-tokens"] = (
            201,
            {"token": "fresh", "expires": "2126-01-01T00:00:00.000Z", "url": guarded.url},
        )
        environment = {**ENVIRONMENT, "STATUSWIRE_REST_URL": api.url}
        async with command("watch", THIS, "--json", environment=environment, cwd=tmp_path) as watch:
            await watch.told("snapshot")
        assert api.asked == [
            ("POST", "/watch-tokens", json.dumps({"watch": [THIS]}).replace(" ", "").encode())
        ]


async def test_a_token_of_the_environment_is_used(guarded: Service, tmp_path: Path) -> None:
    """One that is refused says how to get another."""
    for token, code in (("fresh", None), ("old", 3)):
        environment = {"STATUSWIRE_URL": guarded.url, "STATUSWIRE_TOKEN": token}
        async with command("watch", "--json", environment=environment, cwd=tmp_path) as watch:
            if code is None:
                await watch.told("snapshot")
                continue
            ended = await watch.end()
            assert ended[0] == code
            assert "STATUSWIRE_TOKEN" in ended[2]
