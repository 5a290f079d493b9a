"""Settings: every mistake at once, and nothing unsafe."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from consumer import settings
from consumer.operator import reference
from consumer.settings import BadSettings
from consumer.terminal import addresses

ROOT = Path(__file__).parents[2]
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


SIGN_IN = (
    "https://acme.auth.eu-central-1.amazoncognito.com/eu-central-1_0A1b2C3d4/0a1b2c3d4e5f6071829"
    "/eu-central-1:0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
)
API = {"STATUSWIRE_REST_URL": "https://a1.execute-api.eu-central-1.amazonaws.com/live"}


def test_a_sign_in_is_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """From which all is read that the page needs."""
    set_all(monkeypatch, GOOD | API | {"STATUSWIRE_SIGN_IN": SIGN_IN})
    read = settings.read().cognito
    assert read is not None
    assert (read.user_pool, read.client_id) == ("eu-central-1_0A1b2C3d4", "0a1b2c3d4e5f6071829")
    assert read.origins == (
        "https://acme.auth.eu-central-1.amazoncognito.com",
        "https://cognito-identity.eu-central-1.amazonaws.com",
    )


@pytest.mark.parametrize(
    "address",
    [
        SIGN_IN.replace("https:", "http:"),
        SIGN_IN.replace("https://acme", "https://user@acme"),
        SIGN_IN.replace("amazoncognito.com/", "amazoncognito.com;script-src/"),
        SIGN_IN.replace("/eu-central-1:", "/us-east-1:"),
        SIGN_IN.rpartition("/")[0],
        SIGN_IN + "/more",
        SIGN_IN + "?a=b",
        SIGN_IN + "#a",
        "javascript:alert(1)",
        "https://acme.example.com",
    ],
)
def test_what_is_no_sign_in_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """It goes into the page's policy, and people type their passwords there."""
    set_all(monkeypatch, GOOD | API | {"STATUSWIRE_SIGN_IN": address})
    with pytest.raises(BadSettings) as refused:
        settings.read()
    (problem,) = refused.value.problems
    assert problem.startswith("STATUSWIRE_SIGN_IN: must be ")


@pytest.mark.parametrize(
    ("others", "word"),
    [
        ({}, "STATUSWIRE_REST_URL"),
        (
            API
            | {
                "STATUSWIRE_JWKS_URL": "https://id.example.com/keys",
                "STATUSWIRE_ISSUER": "https://id.example.com",
                "STATUSWIRE_AUDIENCE": "statuswire",
            },
            "STATUSWIRE_JWKS_URL",
        ),
    ],
)
def test_a_sign_in_is_for_the_stacks_own_api_and_tokens(
    monkeypatch: pytest.MonkeyPatch, others: dict[str, str], word: str
) -> None:
    """Without the API there is no use in it; another provider's consumer refuses its tokens."""
    set_all(monkeypatch, GOOD | others | {"STATUSWIRE_SIGN_IN": SIGN_IN})
    with pytest.raises(BadSettings) as refused:
        settings.read()
    (problem,) = refused.value.problems
    assert problem.startswith("STATUSWIRE_SIGN_IN: ")
    assert word in problem


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


def test_an_aws_configuration_of_no_use_is_a_bad_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that is not there is the operator's to mend, and no bug."""
    set_all(monkeypatch, GOOD | {"AWS_PROFILE": "nobody"})
    with pytest.raises(BadSettings, match=r"AWS_PROFILE, AWS_CONFIG_FILE: .*nobody"):
        settings.read()


STACK = "arn:aws:cloudformation:us-east-1:000000000000:stack/statuswire/1"
SECRET = {
    "STATUSWIRE_SIGNING_SECRET": "arn:aws:secretsmanager:us-east-1:000000000000:secret:key-1",
    "STATUSWIRE_AUDIENCE": STACK,
}
PROVIDER = {
    "STATUSWIRE_JWKS_URL": "https://login.example.com/keys",
    "STATUSWIRE_ISSUER": "https://login.example.com",
    "STATUSWIRE_AUDIENCE": "statuswire",
}
TLS = {"STATUSWIRE_TLS_CERTIFICATE": "cert.pem", "STATUSWIRE_TLS_KEY": "key.pem"}
PROXIES = {"STATUSWIRE_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8"}
EVERYWHERE = {"STATUSWIRE_HOST": "0.0.0.0"}  # noqa: S104


@pytest.mark.parametrize(
    "chosen",
    [
        SECRET,
        PROVIDER,
        SECRET | TLS | EVERYWHERE,
        PROVIDER | PROXIES | EVERYWHERE,
        SECRET | PROXIES | EVERYWHERE | {"STATUSWIRE_METRICS_HOST": "10.0.0.1"},
        PROVIDER | {"STATUSWIRE_JWKS_URL": "http://127.0.0.1:8000/keys"},
    ],
)
def test_what_lets_viewers_in(monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str]) -> None:
    """Tokens, and where others can listen, something that hides them on their way."""
    set_all(monkeypatch, GOOD | chosen)
    assert settings.read().asks_for_tokens


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        (EVERYWHERE, {"HOST"}),
        ({"STATUSWIRE_METRICS_HOST": "::"}, {"METRICS_HOST"}),
        (SECRET | EVERYWHERE, {"HOST"}),
        (TLS | EVERYWHERE, {"HOST"}),
        (PROXIES | EVERYWHERE, {"HOST"}),
        (SECRET | PROVIDER, {"JWKS_URL"}),
        ({"STATUSWIRE_AUDIENCE": STACK}, {"AUDIENCE"}),
        ({"STATUSWIRE_SIGNING_SECRET": SECRET["STATUSWIRE_SIGNING_SECRET"]}, {"AUDIENCE"}),
        (SECRET | {"STATUSWIRE_SIGNING_SECRET": "the key itself"}, {"SIGNING_SECRET"}),
        (PROVIDER | {"STATUSWIRE_ISSUER": ""}, {"ISSUER"}),
        (SECRET | {"STATUSWIRE_ISSUER": PROVIDER["STATUSWIRE_ISSUER"]}, {"ISSUER"}),
        (PROVIDER | {"STATUSWIRE_JWKS_URL": "http://login.example.com/keys"}, {"JWKS_URL"}),
        ({"STATUSWIRE_TLS_CERTIFICATE": "cert.pem"}, {"TLS_KEY"}),
        ({"STATUSWIRE_TLS_KEY": "key.pem"}, {"TLS_KEY"}),
        ({"STATUSWIRE_TRUSTED_PROXIES": "everyone"}, {"TRUSTED_PROXIES"}),
        ({"STATUSWIRE_ORIGINS": "*"}, {"ORIGINS"}),
        ({"STATUSWIRE_ORIGINS": "https://a.example/page"}, {"ORIGINS"}),
        ({"STATUSWIRE_REST_URL": "https://api.example/live; script-src *"}, {"REST_URL"}),
        ({"STATUSWIRE_REST_URL": "https://u:p@api.example/live"}, {"REST_URL"}),
        ({"STATUSWIRE_MAX_CONNECTIONS": "0"}, {"MAX_CONNECTIONS"}),
        (
            {
                "STATUSWIRE_QUEUE_URL": GOOD["STATUSWIRE_SERVICE_QUEUE_URL"],
                "STATUSWIRE_SERVICE_QUEUE_URL": GOOD["STATUSWIRE_QUEUE_URL"],
            },
            {"QUEUE_URL", "SERVICE_QUEUE_URL"},
        ),
        (
            {"STATUSWIRE_SERVICE_QUEUE_URL": GOOD["STATUSWIRE_QUEUE_URL"] + "/"},
            {"SERVICE_QUEUE_URL"},
        ),
    ],
)
def test_what_is_unsafe_or_contradicts_itself_is_refused(
    monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], named: set[str]
) -> None:
    """By the setting to change, without its value."""
    set_all(monkeypatch, GOOD | chosen)
    with pytest.raises(BadSettings) as refusal:
        settings.read()
    problems = refusal.value.problems
    assert {problem.split(":")[0] for problem in problems} == {
        f"{settings.PREFIX}{name}" for name in named
    }
    values = [value for value in chosen.values() if len(value) > 4]
    assert not [value for value in values if value in str(refusal.value)]


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


def test_the_reference_is_made_from_the_code() -> None:
    """docs/settings.md is what `statuswire settings --markdown` prints."""
    assert all(row.meaning for row in reference.rows())
    assert (ROOT / "docs" / "settings.md").read_text() == reference.markdown()
    assert "| `STATUSWIRE_RETENTION_EVENTS` | `1000000` |" in reference.markdown()


def test_papers_name_settings_that_there_are() -> None:
    """What the README and the guides tell to set can be set."""
    known = {row.variable for row in reference.rows()} | addresses.VARIABLES.keys()
    named = {
        variable
        for paper in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        for variable in re.findall(rf"{settings.PREFIX}[A-Z_]+", paper.read_text())
    }
    assert named - known == set()
