"""The templates keep AWS's proactive controls, or say in their source why not."""

from pathlib import Path
from typing import Any

import pytest

from tests.stack.deployed import CONSUMER, SMALL, Deployed, deploy
from tests.stack.guard import Finding, exceptions, findings
from tests.template.synthesis import deploy as deploy_workflows


@pytest.fixture(params=[CONSUMER, SMALL], ids=lambda path: path.stem)
def deployed(request: pytest.FixtureRequest, exports: dict[str, str]) -> Deployed:
    """With alarms that ring somewhere; viewers from everywhere, which is the riskier way."""
    path: Path = request.param
    if path == CONSUMER:
        topic = "arn:aws:sns:eu-central-1:123456789012:alarms"
        return deploy(path, exports, AlarmTopicArn=topic, AccessLogsBucket="logs")
    secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:tls-AbCdEf"  # noqa: S105
    return deploy(path, exports, ViewersCidr="0.0.0.0/0", CertificateSecretArn=secret)


def test_every_control_is_kept_or_its_exception_explained(
    deployed: Deployed, tmp_path: Path
) -> None:
    """And none is excused that is kept."""
    explained = exceptions(deployed.resources)
    assert findings(deployed.resources, tmp_path) == explained.keys()
    assert all(len(reason) > 30 for reason in explained.values())


@pytest.mark.parametrize("sign_in", ["iam", "cognito"])
def test_the_workflows_controls_are_kept_or_explained(
    synthesized: dict[str, Any], template: dict[str, Any], tmp_path: Path, sign_in: str
) -> None:
    """Of template.yaml at its head: what SAM makes has no place for reasons of its own."""
    workflows = deploy_workflows(
        synthesized,
        SignIn=sign_in,
        AlarmTopicArn="arn:aws:sns:eu-central-1:123456789012:alarms",
        ConsumerRoleArn="arn:aws:iam::123456789012:role/consumer",
    )
    explained = template["Metadata"]["Guard"]
    assert {each.rule for each in findings(workflows.resources, tmp_path)} == explained.keys()
    assert all(len(reason) > 30 for reason in explained.values())


def test_a_control_that_is_broken_is_found(exports: dict[str, str], tmp_path: Path) -> None:
    """The rules see resolved resources as they see templates."""
    resources = dict(deploy(CONSUMER, exports).resources)
    (container, metrics) = resources["Task"]["Properties"]["ContainerDefinitions"]
    task = resources["Task"]["Properties"] | {
        "ContainerDefinitions": [container | {"ReadonlyRootFilesystem": False}, metrics]
    }
    resources["Task"] = resources["Task"] | {"Properties": task}
    broken = Finding("Task", "ecs_containers_readonly_access_check")
    assert broken in findings(resources, tmp_path)
