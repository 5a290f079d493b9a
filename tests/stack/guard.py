"""AWS's own policies on a template: CloudFormation Guard, with Control Tower's proactive controls.

Both come in one npm package of AWS's (cdk-validator-cfnguard): the program, for Linux and macOS,
and some 240 rules ("Proactive controls", AWS Control Tower controls reference). What we do
otherwise than a rule wants says so in the template, in the resource's `Metadata: Guard:`, rule by
rule with its reason.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.machine.node import MODULES

PACKAGE: Final = MODULES / "@cdklabs/cdk-validator-cfnguard"
RULES: Final = PACKAGE / "rules/control-tower/cfn-guard"


class Finding(NamedTuple):
    """A rule that a resource does not keep."""

    resource: str
    rule: str


def _program() -> Path:
    assert PACKAGE.is_dir(), "make .venv-node/.installed sets this up"
    system = "macos" if sys.platform == "darwin" else "ubuntu"
    machine = "aarch64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    program = PACKAGE / "bin" / system / machine / "cfn-guard"
    program.chmod(0o755)  # npm unpacks it as a file like any other
    return program


def findings(resources: Mapping[str, Any], folder: Path) -> set[Finding]:
    """What the rules say of resources whose intrinsics are resolved."""
    document = folder / "template.json"
    document.write_text(json.dumps({"Resources": resources}))
    options = ["--structured", "--output-format", "json", "--show-summary", "none"]
    done = subprocess.run(
        [_program(), "validate", "--data", document, "--rules", RULES, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 19), done.stderr  # 19: a rule is not kept
    (report,) = json.loads(done.stdout)
    assert len(report["not_applicable"]) + len(report["compliant"]) > 200
    return {
        Finding(path.split("/")[2], rule["Rule"]["name"])
        for rule in report["not_compliant"]
        for path in _paths(rule)
        if path.startswith("/Resources/")
    }


def _paths(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(path := node.get("path"), str):
            yield path
        for value in node.values():
            yield from _paths(value)
    elif isinstance(node, list):
        for value in node:
            yield from _paths(value)


def exceptions(resources: Mapping[str, Any]) -> dict[Finding, str]:
    """Those that a template declares, with their reasons."""
    return {
        Finding(name, rule): reason
        for name, resource in resources.items()
        for rule, reason in resource.get("Metadata", {}).get("Guard", {}).items()
    }
