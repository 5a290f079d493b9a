"""The consumer's two stacks, beside the stack of template.yaml whose exports they import."""

from typing import Any

import pytest

from tests.stack.deployed import CONSUMER, SMALL, Deployed, deploy
from tests.template.conftest import api, synthesized, template
from tests.template.synthesis import STACK
from tests.template.synthesis import deploy as deploy_workflows

__all__ = ["api", "synthesized", "template"]


@pytest.fixture(scope="session")
def exports(synthesized: dict[str, Any]) -> dict[str, str]:
    """What template.yaml exports, by the exports' names."""
    outputs = deploy_workflows(
        synthesized,
        SignIn="cognito",
        SignInDomainPrefix="statuswire-example",
        DashboardOrigin="https://status.example.com",
    ).outputs
    return {
        f"{STACK}-{name}": outputs[name]
        for name, output in synthesized["Outputs"].items()
        if output.get("Export") == {"Name": {"Fn::Sub": f"${{AWS::StackName}}-{name}"}}
    }


@pytest.fixture(scope="session")
def stack(exports: dict[str, str]) -> Deployed:
    """infra/consumer.yaml, with only the answers that must be given."""
    return deploy(CONSUMER, exports)


@pytest.fixture(scope="session")
def small(exports: dict[str, str]) -> Deployed:
    """infra/consumer-small.yaml, for nobody from outside."""
    return deploy(SMALL, exports)


@pytest.fixture(scope="session")
def small_open(exports: dict[str, str]) -> Deployed:
    """infra/consumer-small.yaml, for viewers from everywhere."""
    return deploy(
        SMALL,
        exports,
        ViewersCidr="0.0.0.0/0",
        CertificateSecretArn="arn:aws:secretsmanager:eu-central-1:123456789012:secret:tls-AbCdEf",
    )
