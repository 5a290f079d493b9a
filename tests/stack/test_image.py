"""The image, as far as it shows without an engine: its file, and its steps in a folder."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import yaml

from tests.stack.deployed import Deployed
from tests.template.conftest import ROOT

CONTAINERFILE: Final = ROOT / "Containerfile"
WORKFLOW: Final = ROOT / ".github/workflows/image.yml"
UV: Final = Path(sys.executable).with_name("uv")
PINNED: Final = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")


class Step(NamedTuple):
    """An instruction: `RUN`, and what stands behind it."""

    kind: str
    text: str


def steps() -> Iterator[Step]:
    """The Containerfile's, with their continuation lines."""
    lines = [line for line in CONTAINERFILE.read_text().splitlines() if line[:1] != "#"]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line:
            yield Step(*line.split(" ", 1))


def texts(kind: str) -> list[str]:
    return [step.text for step in steps() if step.kind == kind]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image's installing step makes, of the wheels that made our own environment."""
    folder = tmp_path_factory.mktemp("image") / "opt/statuswire"
    (command,) = (text for text in texts("RUN") if "install.sh" in text)
    shell, script, target, *options = command.split()
    assert (shell, target) == ("sh", "/opt/statuswire")
    options = [option for option in options if option not in ("--no-cache", "--compile-bytecode")]
    base = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
    done = subprocess.run(
        [shell, script, folder, *options, "--offline", "--python", base],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{UV.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"uv's cache may be gone (make .venv/.installed): {done.stderr}"
    return folder


def run(prefix: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The image's entry point, by an interpreter that has nothing but the prefix."""
    (entry,) = texts("ENTRYPOINT")
    _, *rest = json.loads(entry)
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return subprocess.run(
        [base, "-s", *rest, *arguments],
        cwd=prefix,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(prefix),
            "PYTHONSAFEPATH": "1",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_base_is_pinned() -> None:
    """By the digest of what all architectures share; both stages begin with it."""
    (base,) = texts("ARG")
    assert re.fullmatch(r"PYTHON_IMAGE=python:[\w.-]+@sha256:[0-9a-f]{64}", base)
    assert {text.split()[0] for text in texts("FROM")} == {"${PYTHON_IMAGE}"}


def test_it_runs_as_nobody(stack: Deployed) -> None:
    """By the same number as in the task definition, and told to drain as it is there."""
    assert texts("USER") == [stack.container("consumer")["User"]]
    assert texts("STOPSIGNAL") == ["SIGTERM"]
    assert list(steps())[-1] == Step("CMD", '["run"]')


def test_what_is_copied_is_sent_to_the_build() -> None:
    """And nothing else: everything is left out but what is named."""
    first, *lines = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"
    ]
    assert first == "*"
    sent = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for text in texts("COPY")
        if not text.startswith("--from")
        for source in text.split()[:-1]
    }
    assert sent == copied
    assert all((ROOT / source).exists() for source in copied)
    tracked = subprocess.run(
        ["git", "ls-files", "consumer"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    left_out = [line for line in lines if not line.startswith("!")]
    assert not [f for f in tracked for pattern in left_out if fnmatch(f, pattern)]


def test_what_is_installed_starts(prefix: Path) -> None:
    """Nothing of it comes from anywhere else."""
    done = run(prefix, "--help")
    assert done.returncode == 0, done.stderr
    assert "doctor" in done.stdout


def test_what_is_installed_knows_its_settings(prefix: Path) -> None:
    """And refuses bad ones, all at once, with 2."""
    done = run(prefix, "run", AWS_DEFAULT_REGION="us-east-1")
    assert done.returncode == 2
    assert done.stderr.count("is required") == 2


def test_what_is_installed_looks_for_what_is_wrong(prefix: Path) -> None:
    """`doctor` comes with it, and with all that it shows its findings with."""
    done = run(
        prefix,
        *("doctor", "--json", "--timeout", "2"),
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        STATUSWIRE_QUEUE_URL="http://127.0.0.1:9/0/status.fifo",
        STATUSWIRE_SERVICE_QUEUE_URL="http://127.0.0.1:9/0/service",
        STATUSWIRE_LOG=f"sqlite:{prefix.parent}/statuswire.db",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
    )
    found = {each["id"]: each["level"] for each in json.loads(done.stdout)["findings"]}
    assert found["settings"] == "ok"
    assert found["machine.python"] == "ok"


def test_the_dashboard_and_the_scripts_come_along(prefix: Path) -> None:
    """Files that no import asks for."""
    assert (prefix / "consumer/dashboard/index.html").is_file()
    assert (prefix / "consumer/edges/redis_scripts/append.lua").is_file()
    assert not (prefix / "tests").exists()


def test_the_health_check_asks_for_life() -> None:
    """Not for readiness; and it is a program, which only an engine would run."""
    (text,) = texts("HEALTHCHECK")
    command = json.loads(text.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    ast.parse(command[2])
    assert "/healthz" in command[2]


def test_actions_are_pinned() -> None:
    """To commits, with the release beside it; and the workflow may read, and no more."""
    text = WORKFLOW.read_text()
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    assert all(PINNED.fullmatch(action) for action, _ in used)
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", comment) for _, comment in used)
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["image"]["permissions"] == {"contents": "read"}


def test_the_image_is_built_listed_and_scanned() -> None:
    """For the architecture that it runs on."""
    job = yaml.safe_load(WORKFLOW.read_text())["jobs"]["image"]
    used = [step.get("uses", "").split("@")[0] for step in job["steps"]]
    wanted = ["docker/build-push-action", "anchore/sbom-action", "anchore/scan-action"]
    assert [each for each in used if each in wanted] == wanted
    (build,) = (step for step in job["steps"] if "build-push" in step.get("uses", ""))
    assert build["with"]["platforms"] == "linux/arm64"
    assert build["with"]["file"] == "Containerfile"
