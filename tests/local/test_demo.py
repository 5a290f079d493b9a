"""The demo's small parts: what it waits for, what it prints, which ports it takes."""

import io
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.local.__main__ import read_ports
from infra.local.checklist import Checklist
from infra.local.demo import exports
from infra.local.folder import run_folder
from infra.local.screen import Screen


def event(status: str, **changes: Any) -> dict[str, Any]:
    execution = {"arn": "arn:x:run-1", "name": "run-1", "machine": "express"}
    return {
        "source": "workflow",
        "instance_id": "i-0123456789abcdef0",
        "execution": execution,
        "state": "PublishIt",
        "status": status,
        "time": "2026-01-01T00:00:00.000Z",
        "terminal": False,
        "reason": None,
        **changes,
    }


def test_a_shell_takes_the_demos_environment() -> None:
    """What is the SDK's and ours, whatever characters are in it; and nothing else of the demo's."""
    given = {"STATUSWIRE_LOG": "sqlite:/it's $HOME/a.db", "AWS_DEFAULT_REGION": "r", "HOME": "/h"}
    script = f'{exports(given)}printf "%s %s %s" "$STATUSWIRE_LOG" "$AWS_DEFAULT_REGION" "$HOME"'
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={"HOME": "/own"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "sqlite:/it's $HOME/a.db r /own"


def test_the_checklist_names_what_is_missing() -> None:
    """Only the statuses of its own run count."""
    checklist = Checklist({"run-1": ("CHECKING", "SUCCEEDED"), "i-1": ("running",)})
    checklist.note(event("CHECKING"))
    checklist.note(event("SUCCEEDED", execution={"name": "run-2"}))
    checklist.note(event("running", execution=None, instance_id="i-1"))
    assert checklist.missing == ["run-1: SUCCEEDED"]


def test_a_run_that_fails_is_not_waited_for() -> None:
    """Its last status is told at once."""
    checklist = Checklist({"run-1": ("SUCCEEDED",)})
    checklist.note(event("FAILED", terminal=True))
    assert checklist.failures == ["run-1 ended FAILED"]


def test_without_a_terminal_no_escape_code_is_written() -> None:
    """A row is plain text, with its delay in milliseconds."""
    printed = io.StringIO()
    failed = event("FAILED", reason={"error": "InstanceNotFound", "cause": "[red]none[/red]"})
    Screen(printed).status(failed, now=datetime(2026, 1, 1, 0, 0, 0, 42_000, UTC), late=True)
    row = printed.getvalue()
    assert "\x1b" not in row
    assert row.count("\n") == 1
    assert "PublishIt" in row
    assert row.rstrip().endswith("42  late  InstanceNotFound: [red]none[/red]")


def test_on_a_terminal_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR goes before the terminal."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    coloured, plain = Terminal(), Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    Screen(coloured).success("done")
    monkeypatch.setenv("NO_COLOR", "1")
    Screen(plain).success("done")
    assert "\x1b[" in coloured.getvalue()
    assert plain.getvalue() == "done\n"


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    """It names the port, its use and the variable that changes it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        free = {"CONSUMER_PORT": "0", "REST_PORT": str(port), "AWS_PORT": "0", "METRICS_PORT": "0"}
        with pytest.raises(SystemExit) as exit_:
            read_ports(free)
    assert exit_.value.code == (
        f"Port {port}, for the REST API, is taken: set REST_PORT to another one."
    )


def test_each_consumers_port_for_metrics_is_looked_at() -> None:
    """One after the other, from the one that was asked for."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        given = {"CONSUMER_PORT": "0", "REST_PORT": "0", "AWS_PORT": "0"}
        given["METRICS_PORT"] = str(taken - 1)
        with pytest.raises(SystemExit, match=f"Port {taken}, for the consumer's metrics, is taken"):
            read_ports(given, replicas=2)


def test_a_run_leaves_no_folder(tmp_path: Path) -> None:
    """Neither its own nor that of a run that was killed; a running one keeps its own."""
    killed = tmp_path / "run-killed"
    killed.mkdir()
    (killed / "lock").touch()
    with run_folder(tmp_path) as running:
        with run_folder(tmp_path) as folder:
            (folder / "deep").mkdir()
            assert sorted(tmp_path.iterdir()) == sorted([running, folder])
        assert list(tmp_path.iterdir()) == [running]
    assert list(tmp_path.iterdir()) == []
