"""Settings: every mistake at once, and nothing unsafe."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from consumer import settings
from consumer.settings import BadSettings, Settings

GOOD = {
    "STATUSWIRE_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/status.fifo",
    "STATUSWIRE_SERVICE_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/service",
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def set_all(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_two_queues_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else has a default, and an empty variable is no value."""
    set_all(monkeypatch, GOOD | {"STATUSWIRE_PORT": ""})
    chosen = settings.read()
    assert (chosen.host, chosen.port) == ("127.0.0.1", 8080)
    assert str(chosen.log_path) == "statuswire.db"


def test_origins_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Separated by commas."""
    set_all(monkeypatch, GOOD | {"STATUSWIRE_ORIGINS": "https://a.example, https://b.example"})
    assert settings.read().origins == {"https://a.example", "https://b.example"}


@pytest.mark.parametrize(
    ("given", "tag"),
    [
        ("", ("statuswire", "managed")),
        ("team=web=1", ("team", "web=1")),
        ("*", None),
    ],
)
def test_the_tag_of_the_instances_that_are_shown(
    monkeypatch: pytest.MonkeyPatch, given: str, tag: tuple[str, str] | None
) -> None:
    """Showing all of the account's instances is said, never the result of an empty variable."""
    set_all(monkeypatch, GOOD | {"STATUSWIRE_INSTANCE_TAG": given})
    assert settings.read().tag == tag


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, wrong and contradictory ones, by the names that the operator typed."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    set_all(
        monkeypatch,
        {
            "STATUSWIRE_SERVICE_QUEUE_URL": "not-an-address",
            "STATUSWIRE_HOST": "0.0.0.0",  # noqa: S104
            "STATUSWIRE_PORT": "9090",
            "STATUSWIRE_METRICS_PORT": "9090",
            "STATUSWIRE_METRICS_HOST": "example.org",
            "STATUSWIRE_LOG": "sqlite:",
            "STATUSWIRE_POLLS": "many",
            "STATUSWIRE_DRAIN_S": "20",
            "STATUSWIRE_INSTANCE_TAG": "statuswire",
            "STATUSWIRE_QUIET_S": "0",
        },
    )
    with pytest.raises(BadSettings) as refusal:
        settings.read()
    named = {problem.split(":")[0] for problem in refusal.value.problems}
    assert named == {
        "STATUSWIRE_QUEUE_URL",
        "STATUSWIRE_SERVICE_QUEUE_URL",
        "STATUSWIRE_HOST",
        "STATUSWIRE_METRICS_PORT",
        "STATUSWIRE_METRICS_HOST",
        "STATUSWIRE_LOG",
        "STATUSWIRE_POLLS",
        "STATUSWIRE_DRAIN_S",
        "STATUSWIRE_INSTANCE_TAG",
        "STATUSWIRE_QUIET_S",
        "AWS_DEFAULT_REGION",
    }
    assert "many" not in str(refusal.value), "a value may be a secret"


def test_one_queue_cannot_be_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of copy and paste, caught before it costs an evening."""
    set_all(
        monkeypatch, GOOD | {"STATUSWIRE_SERVICE_QUEUE_URL": GOOD["STATUSWIRE_QUEUE_URL"] + "/"}
    )
    with pytest.raises(BadSettings, match="must not be the queue"):
        settings.read()


def test_bad_settings_exit_with_2() -> None:
    """One JSON line each on standard error, and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "consumer"],
        env={"AWS_CONFIG_FILE": os.devnull, "STATUSWIRE_PORT": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 4
    assert "Traceback" not in done.stderr


def test_every_setting_is_in_the_readme() -> None:
    """With its default; nothing there that is none."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    named = set(re.findall(rf"`({settings.PREFIX}[A-Z_]+)`", readme))
    assert named == {f"{settings.PREFIX}{name.upper()}" for name in Settings.model_fields}
    row = re.search(rf"\| `{settings.PREFIX}RETENTION_EVENTS` \| `(\d+)` \|", readme)
    assert row is not None
    assert int(row[1]) == Settings.model_fields["retention_events"].default
