"""infra/consumer-small.yaml: an instance that comes back to the same log, and how it begins."""

import base64
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from consumer import settings
from tests.stack.deployed import SMALL, Deployed, deploy, load
from tests.stack.test_consumer import names_of
from tests.template.conftest import ROOT

BEGIN: Final = ROOT / "infra/systemd/begin.sh"
VOLUME: Final = "vol-0a1b2c3d4e5f60718"


def user_data(stack: Deployed) -> str:
    """What an instance runs at its first boot."""
    data = stack.properties("Template")["LaunchTemplateData"]["UserData"]
    return base64.b64decode(data).decode()


def environment(stack: Deployed) -> dict[str, str]:
    """The daemon's settings, as that writes them."""
    (text,) = re.findall(r"statuswire\.env <<'END'\n(.*?)\nEND\n", user_data(stack), re.DOTALL)
    return dict(line.split("=", 1) for line in text.splitlines() if line)


def test_every_reference_finds_something(small: Deployed, small_open: Deployed) -> None:
    """With viewers from outside and without."""
    assert small_open.resources.keys() == load(SMALL)["Resources"].keys()
    assert small_open.resources.keys() - small.resources.keys() == {"CertificatePolicy"}
    for stack in (small, small_open):
        assert "${" not in json.dumps([stack.resources, stack.outputs])
        assert "${" not in user_data(stack)


def test_what_it_imports_is_exported(exports: dict[str, str]) -> None:
    """By the stack of template.yaml."""
    imported = names_of(load(SMALL)["Resources"])
    assert {f"statuswire-{name}" for name in imported} <= exports.keys()


def test_it_keeps_to_itself(monkeypatch: pytest.MonkeyPatch, small: Deployed) -> None:
    """By default nobody gets in: no open port, a daemon on loopback, sessions through IAM."""
    for name, value in environment(small).items():
        monkeypatch.setenv(name, value)
    read = settings.read()
    assert read.host == "127.0.0.1"
    assert not read.asks_for_tokens
    assert str(read.log_path) == "/var/lib/statuswire/statuswire.db"
    assert small.properties("InstanceGroup")["SecurityGroupIngress"] == []


def test_viewers_from_outside_need_tls_and_a_token(
    monkeypatch: pytest.MonkeyPatch, small_open: Deployed, exports: dict[str, str]
) -> None:
    """The daemon ends TLS itself."""
    for name, value in environment(small_open).items():
        monkeypatch.setenv(name, value)
    read = settings.read()
    assert read.signing_secret == exports["statuswire-SigningKeyArn"]
    assert read.audience == exports["statuswire-TokenAudience"]
    assert (read.host, read.tls_certificate) == (
        "0.0.0.0",  # noqa: S104 - what is compared
        Path("/etc/statuswire/tls/certificate.pem"),
    )
    (rule,) = small_open.properties("InstanceGroup")["SecurityGroupIngress"]
    assert rule["FromPort"] == rule["ToPort"] == read.port


def test_people_who_sign_in(monkeypatch: pytest.MonkeyPatch, exports: dict[str, str]) -> None:
    """Where the workflows' stack has them."""
    stack = deploy(SMALL, exports, SignIn="cognito")
    for name, value in environment(stack).items():
        monkeypatch.setenv(name, value)
    read = settings.read()
    assert read.rest_url == exports["statuswire-RestApiUrl"]
    assert read.sign_in == exports["statuswire-SignInAddress"]


def test_there_is_never_more_than_one(small: Deployed) -> None:
    """One file has one process: at an update the old instance goes first."""
    group = small.resources["Group"]
    assert (group["Properties"]["MinSize"], group["Properties"]["MaxSize"]) == ("1", "1")
    rolling = group["UpdatePolicy"]["AutoScalingRollingUpdate"]
    assert rolling["MinInstancesInService"] == 0
    assert rolling["WaitOnResourceSignals"]
    assert group["CreationPolicy"]["ResourceSignal"]["Count"] == 1


def test_the_log_outlives_the_instance(small: Deployed) -> None:
    """On a disk of its own, in the instance's zone, of which a snapshot stays."""
    disk = small.resources["Disk"]
    assert disk["DeletionPolicy"] == disk["UpdateReplacePolicy"] == "Snapshot"
    assert disk["Properties"]["Encrypted"]
    assert f"begin.sh '{'Disk'}'" in user_data(small)


def test_the_instance_may_what_the_daemon_needs_and_take_its_disk(
    small: Deployed, exports: dict[str, str]
) -> None:
    """And be reached by Session Manager. It attaches this disk only, to this group only."""
    role = small.properties("Role")
    assert role["ManagedPolicyArns"] == [exports["statuswire-ConsumerPolicyArn"]]
    granted: dict[str, list[Any]] = {}
    for policy in role["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = statement["Action"]
            for action in actions if isinstance(actions, list) else [actions]:
                granted.setdefault(action, []).append(statement)
    assert {action for action in granted if not action.startswith(("ssm:", "ssmmessages:"))} == {
        "lambda:GetLayerVersion",
        "ec2:AttachVolume",
    }
    disk, instance = granted["ec2:AttachVolume"]
    assert disk["Resource"].endswith(":volume/Disk")
    assert instance["Condition"] == {
        "StringEquals": {
            "aws:ResourceTag/aws:autoscaling:groupName": small.properties("Group")[
                "AutoScalingGroupName"
            ]
        }
    }


def test_credentials_need_a_token(small: Deployed) -> None:
    """IMDSv2, and not through a hop."""
    options = small.properties("Template")["LaunchTemplateData"]["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)


def test_the_layer_is_what_make_bundle_makes() -> None:
    """Relative to the template, as `sam deploy` reads it."""
    content = load(SMALL)["Resources"]["Bundle"]["Properties"]["Content"]
    bundle = (SMALL.parent / content).resolve().relative_to(ROOT)
    assert f"infra/image/bundle.sh {bundle}" in (ROOT / "Makefile").read_text()


# ── The scripts, with commands that only say what they were asked ──

Machine = Callable[..., subprocess.CompletedProcess[str]]

TELL: Final = """#!/bin/bash
echo "{name} $*" >> "$CALLS"
{does}
"""
COMMANDS: Final = {
    "aws": 'case "$1" in lambda) printf "https://bundle\\t%s\\n" "${SUM:-sum}" ;; esac',
    "ec2-metadata": "echo instance-id: i-0a",
    "blkid": "exit ${BLANK:-0}",
    "curl": "exit ${UNREADY:-0}",
    "python3.13": '[ "$1" != -c ] || { cat > /dev/null; echo sum; }',
    "seq": "echo 1",
    **dict.fromkeys(
        (
            *("dnf", "mkfs.xfs", "mount", "systemctl", "systemd-sysusers", "chown", "chgrp"),
            *("install", "cfn-signal", "journalctl", "sleep", "rm"),
        ),
        "true",
    ),
}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Runs a script in a folder that stands for the root, and returns what it was about to do."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, does in COMMANDS.items():
        command = bin_folder / name
        command.write_text(TELL.format(name=name, does=does))
        command.chmod(0o755)
    for folder in ("etc/statuswire", "opt/statuswire/bin", "opt/statuswire/systemd", "run"):
        (tmp_path / folder).mkdir(parents=True)
    disk = tmp_path / f"dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{VOLUME.replace('-', '')}"
    disk.parent.mkdir(parents=True)
    disk.touch()
    for file in ("opt/statuswire/bin/statuswire", "run/bundle.zip"):
        (tmp_path / file).touch()
    (tmp_path / "etc/statuswire/statuswire.env").write_text("STATUSWIRE_PORT=8080\n")

    def run(text: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        rooted = re.sub(r"(?<![\w/.:$}])/(?=(opt|etc|dev|run|var|usr/lib)/)", f"{tmp_path}/", text)
        rooted = rooted.replace(f"{tmp_path}/opt/aws/bin/", "")
        script = tmp_path / "script"
        script.write_text(rooted)
        calls = tmp_path / "calls"
        calls.touch()
        done = subprocess.run(
            ["/bin/bash", script, *arguments],
            env={"PATH": f"{bin_folder}:{os.environ['PATH']}", "CALLS": str(calls), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        done.stdout = calls.read_text().replace(f"{tmp_path}", "")
        return done

    return run


def test_a_new_instance_signals_when_it_is_ready(
    machine: Machine, small_open: Deployed, tmp_path: Path
) -> None:
    """And not before: it installs what the bundle has, and leaves the rest to it."""
    (tmp_path / "opt/statuswire/systemd/begin.sh").write_text('echo "begin $*" >> "$CALLS"\n')
    done = machine(user_data(small_open))
    assert done.returncode == 0, done.stderr
    *_, begun, signalled = done.stdout.splitlines()
    assert begun == "begin Disk"
    assert signalled.startswith("cfn-signal --exit-code 0 --stack statuswire-consumer")
    certificate = (tmp_path / "etc/statuswire/certificate.env").read_text()
    assert "\nCERTIFICATE_SECRET=arn:aws:secretsmanager:" in certificate


def test_a_bundle_that_is_another_is_refused(machine: Machine, small: Deployed) -> None:
    """Its hash is the layer's. The deployment is told, and goes back."""
    done = machine(user_data(small), SUM="other")
    assert done.returncode != 0
    assert "cfn-signal --exit-code 1" in done.stdout
    assert "python3.13 -m zipfile" not in done.stdout


@pytest.mark.parametrize(("code", "formats"), [("0", False), ("2", True)])
def test_only_an_empty_disk_is_formatted(machine: Machine, code: str, formats: bool) -> None:
    """One that has a file system has the log."""
    done = machine(BEGIN.read_text(), VOLUME, BLANK=code)
    assert done.returncode == 0, done.stderr
    calls = done.stdout.splitlines()
    assert any(call.startswith("mkfs.xfs") for call in calls) == formats
    order = [call.split()[0] for call in calls]
    started = calls.index("systemctl enable --now statuswire.service")
    assert order.index("blkid") < order.index("mount") < started
    assert calls[-1].endswith("/readyz")


def test_a_disk_that_cannot_be_read_stops_it(machine: Machine) -> None:
    """Anything but "nothing there" is no reason to format."""
    done = machine(BEGIN.read_text(), VOLUME, BLANK="8")
    assert done.returncode == 8
    assert "mkfs" not in done.stdout
    assert "mount" not in done.stdout


def test_one_that_does_not_become_ready_fails(machine: Machine) -> None:
    """With its last lines, where cloud-init keeps them."""
    done = machine(BEGIN.read_text(), VOLUME, UNREADY="22")
    assert done.returncode == 1
    assert "journalctl --unit statuswire" in done.stdout


def test_disks_of_every_answer(exports: dict[str, str]) -> None:
    """A larger one grows in place; the zone is the subnet's, as it was answered."""
    disk = deploy(SMALL, exports, DiskGiB=20).properties("Disk")
    assert (disk["Size"], disk["AvailabilityZone"]) == (20, "eu-central-1a")
