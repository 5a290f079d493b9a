"""The systemd unit: what it may not, and that it suits the daemon's settings."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

import pytest

from consumer import app, settings
from consumer.edges.door import OTHER_FILES
from consumer.edges.stream import CLOSE_S
from consumer.settings import Settings
from tests.stack.deployed import Deployed
from tests.stack.test_small import environment
from tests.template.conftest import ROOT

UNIT: Final = ROOT / "infra/systemd/statuswire.service"
UNITS: Final = sorted(
    path for path in UNIT.parent.iterdir() if path.suffix in (".service", ".timer")
)
# Of 10.0; 1.4 with systemd 252. What makes it up is in the unit: the network, unix sockets, and
# system calls that read limits.
EXPOSURE: Final = 1.5


class Unit:
    """A unit file's values by section and name; a name may be there several times."""

    def __init__(self, path: Path) -> None:
        self._values: dict[tuple[str, str], list[str]] = {}
        section = ""
        for line in path.read_text().splitlines():
            if heading := re.fullmatch(r"\[(\w+)\]", line):
                section = heading[1]
            elif line and not line.startswith("#"):
                name, _, value = line.partition("=")
                self._values.setdefault((section, name), []).append(value)

    def one(self, name: str, section: str = "Service") -> str:
        (value,) = self._values[section, name]
        return value

    def all(self, name: str, section: str = "Service") -> list[str]:
        return self._values[section, name]


@pytest.fixture(scope="module")
def unit() -> Unit:
    return Unit(UNIT)


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch, small: Deployed) -> Settings:
    """What the daemon reads under it, on an instance of infra/consumer-small.yaml."""
    for name, value in environment(small).items():
        monkeypatch.setenv(name, value)
    return settings.read()


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Debian's package `systemd` has it; no systemd need be running."""
    return subprocess.run(
        ["systemd-analyze", *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_exposure_is_bounded() -> None:
    """By systemd's own measure, in tenths."""
    threshold = f"--threshold={EXPOSURE * 10:.0f}"
    done = analyze("security", "--offline=true", "--no-pager", threshold, UNIT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [*UNITS], ids=lambda path: path.name)
def test_systemd_knows_every_line(name: Path) -> None:
    """A misspelled setting is only warned of when the unit is loaded. The command is not here."""
    done = analyze("verify", "--man=no", name)
    ours = [line for line in done.stderr.splitlines() if "statuswire" in line]
    assert [line for line in ours if "is not executable" not in line] == []


def test_it_writes_where_the_log_is(unit: Unit, chosen: Settings) -> None:
    """Everything else is read-only to it: a log elsewhere would be refused."""
    folder = Path("/var/lib") / unit.one("StateDirectory")
    assert chosen.log_path is not None
    assert chosen.log_path.parent == folder
    assert unit.one("WorkingDirectory") == str(folder)
    assert unit.one("RequiresMountsFor", "Unit") == str(folder)
    assert unit.one("ProtectSystem") == "strict"


def test_it_reads_the_settings_that_are_written(unit: Unit) -> None:
    """By the boot of an instance."""
    template = (ROOT / "infra/consumer-small.yaml").read_text()
    assert f"cat > {unit.one('EnvironmentFile')} <<'END'" in template


def test_it_may_listen_where_it_is_set_to(
    unit: Unit, chosen: Settings, small_open: Deployed
) -> None:
    """And nowhere else."""
    ports = {rule.removeprefix("tcp:") for rule in unit.all("SocketBindAllow")}
    wanted = {chosen.port, chosen.metrics_port, int(environment(small_open)["STATUSWIRE_PORT"])}
    assert ports == {str(port) for port in wanted}


def test_it_waits_for_the_drain(unit: Unit, chosen: Settings) -> None:
    """systemd kills what takes longer."""
    assert int(unit.one("TimeoutStopSec")) >= chosen.drain_s + app.FLUSH_S + CLOSE_S + 5


def test_it_may_open_a_file_per_viewer(unit: Unit, chosen: Settings) -> None:
    """Past the limit, viewers and polls would end where files do."""
    needed = chosen.max_connections + chosen.max_half_open + OTHER_FILES
    assert int(unit.one("LimitNOFILE")) >= needed


def test_bad_settings_are_not_tried_again(unit: Unit) -> None:
    """The daemon ends with 2, and would each time."""
    assert unit.one("RestartPreventExitStatus") == "2"
    assert unit.one("Restart") == "on-failure"


def test_who_it_runs_as_is_made(unit: Unit) -> None:
    """A user of its own, that nobody can log in as."""
    (line,) = (
        line
        for line in (ROOT / "infra/systemd/statuswire.sysusers.conf").read_text().splitlines()
        if not line.startswith("#")
    )
    kind, name, *_, shell = shlex.split(line)
    assert (kind, name, shell) == ("u", unit.one("User"), "/usr/sbin/nologin")
