"""template.yaml after the SAM transform: queues, rules, functions, the API's stage, outputs."""

import json
import re
import time
from typing import Any

import pytest
from cfnlint.api import lint  # type: ignore[import-untyped]

from consumer.settings import PREFIX, Settings
from tests.template.conftest import ROOT
from tests.template.synthesis import REGION, Deployed, deploy, synthesize

QUEUES = {
    "StatusQueue": "StatusDeadLetterQueue",
    "ServiceQueue": "ServiceDeadLetterQueue",
}
FUNCTIONS = {"ExecutionsFunction": "executions", "WatchTokensFunction": "watch_tokens"}
MACHINES = ("ExpressMachine", "StandardMachine")
OUTPUTS = {
    *("Region", "StatusQueueUrl", "StatusDeadLetterQueueUrl", "ServiceQueueUrl"),
    *("ServiceDeadLetterQueueUrl", "StatusQueueArn", "ServiceQueueArn"),
    *("ExpressMachineArn", "StandardMachineArn"),
    *("RestApiId", "RestApiUrl", "StageName", "InstanceTagKey", "InstanceTagValue"),
    *("ConsumerPolicyArn", "SigningKeyArn", "TokenAudience", "CloudWatchDashboardUrl"),
}
# The consumer's settings that no operator should have to look up.
# Not REST_URL: it shows buttons, which are refused unless people sign in (docs/sign-in.md).
KNOWN_BY_THE_STACK = {"QUEUE_URL", "SERVICE_QUEUE_URL", "SIGNING_SECRET", "AUDIENCE"}
# API Gateway developer guide, "Variables for access logging for API Gateway".
LOGGED = {
    *("requestId", "extendedRequestId", "requestTime", "identity.userArn", "identity.sourceIp"),
    "identity.cognitoAuthenticationProvider",
    *("httpMethod", "resourcePath", "path", "protocol", "status", "responseLength"),
    *("responseLatency", "integration.status", "integration.latency", "integration.error"),
    *("error.responseType", "xrayTraceId"),
}


def test_cfn_lint_accepts_what_sam_makes(synthesized: dict[str, Any]) -> None:
    """On the source it sees nothing of what the transform adds."""
    assert [str(match) for match in lint(json.dumps(synthesized), regions=[REGION])] == []


def test_every_reference_finds_something(synthesized: dict[str, Any]) -> None:
    """With every optional part left out, and with every one there."""
    least = deploy(synthesized, SilenceAlarm="no", SetApiLogRole="no")
    most = deploy(
        synthesized,
        VolumeKeyArns=["arn:aws:kms:eu-central-1:123456789012:key/1"],
        ConsumerRoleArn="arn:aws:iam::123456789012:role/consumer",
        RedriveRoleArn="arn:aws:iam::123456789012:role/redrive",
        AlarmTopicArn="arn:aws:sns:eu-central-1:123456789012:alarms",
        SignIn="cognito",
        SignInDomainPrefix="statuswire-example",
        DashboardOrigin="https://status.example.com",
    )
    assert most.resources.keys() == synthesized["Resources"].keys()
    assert most.resources.keys() - least.resources.keys() == {
        *("MachineMayUseVolumeKeysPolicy", "SigningKeyPolicy", "SilentConsumerAlarm"),
        *("ApiLogAccount", "ApiLogRole"),
        *("UserPool", "UserPoolDomain", "UserPoolClient", "Operators", "Watchers"),
        *("IdentityPool", "IdentityPoolRoles", "OperatorRole", "WatcherRole"),
    }
    assert "${" not in json.dumps([least.resources, most.resources, most.outputs])


@pytest.mark.parametrize("name", MACHINES)
def test_every_placeholder_of_a_machine_is_substituted(
    deployed: Deployed, definition_text: str, name: str
) -> None:
    """CloudFormation would refuse one without a value, and ignores a value without one."""
    values = deployed.properties(name)["DefinitionSubstitutions"]
    assert set(re.findall(r"\$\{(\w+)\}", definition_text)) == values.keys()
    assert values["StatusQueueUrl"] == deployed.outputs["StatusQueueUrl"]


@pytest.mark.parametrize(("queue", "dead"), QUEUES.items())
def test_each_queue_has_a_dead_letter_queue_of_its_kind(
    deployed: Deployed, queue: str, dead: str
) -> None:
    """SQS refuses a FIFO queue with standard dead letters, and the reverse."""
    live, letters = deployed.properties(queue), deployed.properties(dead)
    assert live["RedrivePolicy"] == {"deadLetterTargetArn": deployed.arn(dead)} | {
        "maxReceiveCount": 20
    }
    assert live.get("FifoQueue") == letters.get("FifoQueue")
    assert live["QueueName"].endswith(".fifo") == bool(live.get("FifoQueue"))
    assert letters["QueueName"].endswith(".fifo") == bool(letters.get("FifoQueue"))


@pytest.mark.parametrize(("queue", "dead"), QUEUES.items())
def test_a_dead_letter_queue_takes_those_of_its_own_queue(
    deployed: Deployed, queue: str, dead: str
) -> None:
    """The ARN is built of a name, so nothing else would notice that the name is another."""
    assert deployed.properties(dead)["RedriveAllowPolicy"] == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [deployed.arn(queue)],
    }


@pytest.mark.parametrize(("queue", "dead"), QUEUES.items())
def test_dead_letters_outlive_their_queue(deployed: Deployed, queue: str, dead: str) -> None:
    """A dead letter keeps the age it had, so its queue must keep messages longer."""
    live, letters = (deployed.properties(n)["MessageRetentionPeriod"] for n in (queue, dead))
    assert live < letters == 14 * 24 * 3600


def test_the_status_queue_is_in_high_throughput_mode(deployed: Deployed) -> None:
    """Without these two, all runs share 300 calls a second."""
    queue = deployed.properties("StatusQueue")
    assert queue["DeduplicationScope"] == "messageGroup"
    assert queue["FifoThroughputLimit"] == "perMessageGroupId"


def test_every_queue_is_encrypted_without_a_customer_key(deployed: Deployed) -> None:
    """EventBridge cannot use a customer key unless the key's own policy lets it."""
    queues = deployed.of_type("AWS::SQS::Queue")
    assert len(queues) == 4
    assert all(q["SqsManagedSseEnabled"] and "KmsMasterKeyId" not in q for q in queues.values())


def test_every_rule_ends_in_the_service_queue_and_has_dead_letters(deployed: Deployed) -> None:
    """A target that cannot be reached for 24 h costs no event."""
    for rule in deployed.of_type("AWS::Events::Rule").values():
        (target,) = rule["Targets"]
        assert target["Arn"] == deployed.arn("ServiceQueue")
        assert target["DeadLetterConfig"] == {"Arn": deployed.arn("ServiceDeadLetterQueue")}


def test_the_rules_listen_to_our_machine_and_to_all_instances(deployed: Deployed) -> None:
    """Express has no such events, and EC2's carry no tag to choose by."""
    patterns = [rule["EventPattern"] for rule in deployed.of_type("AWS::Events::Rule").values()]
    assert patterns == [
        {
            "source": ["aws.states"],
            "detail-type": ["Step Functions Execution Status Change"],
            "detail": {"stateMachineArn": [deployed.arn("StandardMachine")]},
        },
        {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]},
    ]


def test_every_log_group_forgets(deployed: Deployed) -> None:
    """Logs without a retention are kept and paid for forever."""
    groups = deployed.of_type("AWS::Logs::LogGroup")
    assert len(groups) == 5
    assert all(group["RetentionInDays"] == 30 for group in groups.values())


def test_what_writes_logs_writes_them_to_a_group_of_the_template(deployed: Deployed) -> None:
    """A group that AWS makes on its own has no retention."""
    for name in FUNCTIONS:
        group = deployed.properties(name)["LoggingConfig"]["LogGroup"]
        assert group == deployed.names[name.replace("Function", "Logs")]
    for name in MACHINES:
        (there,) = deployed.properties(name)["LoggingConfiguration"]["Destinations"]
        assert there["CloudWatchLogsLogGroup"]["LogGroupArn"] == deployed.arn(f"{name}Logs")
    # API Gateway takes the ARN without what CloudFormation puts behind it.
    destination = deployed.properties("RestApiStage")["AccessLogSetting"]["DestinationArn"]
    assert f"{destination}:*" == deployed.arn("ApiAccessLogs")


def test_everything_on_the_way_of_a_request_is_traced(deployed: Deployed) -> None:
    """A trace ends at the first part that takes no part in it."""
    assert deployed.properties("RestApiStage")["TracingEnabled"] is True
    for name in FUNCTIONS:
        assert deployed.properties(name)["TracingConfig"] == {"Mode": "Active"}
    for name in MACHINES:
        assert deployed.properties(name)["TracingConfiguration"] == {"Enabled": True}


def test_the_stage_is_throttled_counted_and_logs_no_bodies(deployed: Deployed) -> None:
    """Data traces and execution logs hold whole requests."""
    assert deployed.properties("RestApiStage")["MethodSettings"] == [
        {
            "ResourcePath": "/*",
            "HttpMethod": "*",
            "ThrottlingRateLimit": 20,
            "ThrottlingBurstLimit": 40,
            "MetricsEnabled": True,
            "LoggingLevel": "OFF",
            "DataTraceEnabled": False,
        }
    ]


@pytest.mark.parametrize("filling", ["-", "value"])
def test_an_access_log_line_is_json(deployed: Deployed, filling: str) -> None:
    """Whether API Gateway knows a variable or writes `-` for it."""
    line = deployed.properties("RestApiStage")["AccessLogSetting"]["Format"]
    assert set(re.findall(r"\$context\.([\w.]+)", line)) == LOGGED
    filled = json.loads(re.sub(r"\$context\.[\w.]+", filling, line))
    assert set(filled.values()) == {filling}
    assert "\n" not in line


def test_the_stage_waits_for_the_account_to_have_a_role_for_logs(
    synthesized: dict[str, Any], deployed: Deployed
) -> None:
    """CloudFormation orders by reference: stage → log group → account → API."""
    resources = synthesized["Resources"]
    stage = resources["RestApiStage"]["Properties"]["AccessLogSetting"]["DestinationArn"]
    assert "${ApiAccessLogs}" in stage["Fn::Sub"]
    (tag,) = deployed.properties("ApiAccessLogs")["Tags"]
    assert tag["Value"] == deployed.names["ApiLogAccount"]
    assert resources["ApiLogAccount"]["DependsOn"] == "RestApi"


def test_only_the_accounts_own_setting_outlives_the_stack(deployed: Deployed) -> None:
    """Other APIs of the account may write their logs by it."""
    policies = {
        n: r["DeletionPolicy"] for n, r in deployed.resources.items() if "DeletionPolicy" in r
    }
    # A first deployment that fails leaves nothing behind. People are looked at in test_sign_in.py.
    assert set(policies.values()) == {"RetainExceptOnCreate"}
    kept = policies.keys()
    assert kept == {"ApiLogAccount", "ApiLogRole"}
    assert all(deployed.resources[n]["UpdateReplacePolicy"] == "Retain" for n in kept)


def test_a_change_of_parameters_reaches_the_stage(
    template: dict[str, Any],
    api: dict[str, Any],
    synthesized: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stage keeps its deployment until another one is made; SAM hashes the API before parameters
    are filled in, and CORS names one. Told to always deploy, it hashes the second instead.
    """

    def deployments(made: dict[str, Any]) -> set[str]:
        kind = "AWS::ApiGateway::Deployment"
        return {name for name, r in made["Resources"].items() if r["Type"] == kind}

    assert len(deployments(synthesized)) == 1
    later_s = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later_s)
    assert deployments(synthesized) != deployments(synthesize(template, api))


def test_api_gateway_may_call_each_function_by_its_own_route(
    deployed: Deployed, api: dict[str, Any]
) -> None:
    """A permission that does not match its route is a 500 that no other test sees."""
    routes = set()
    for path, item in api["paths"].items():
        for method, operation in item.items():
            uri = operation.get("x-amazon-apigateway-integration", {}).get("uri", {})
            for function in re.findall(r"functions/\$\{(\w+)\.Arn\}", uri.get("Fn::Sub", "")):
                route = f"/*/{method.upper()}{re.sub(r'{[^}]+}', '*', path)}"
                routes.add((deployed.names[function], route))
    permissions = deployed.of_type("AWS::Lambda::Permission").values()
    rest_api = f"arn:aws:execute-api:{REGION}:123456789012:{deployed.outputs['RestApiId']}"
    assert routes == {
        (p["FunctionName"], p["SourceArn"].removeprefix(rest_api)) for p in permissions
    }
    assert len(routes) == len(FUNCTIONS)


@pytest.mark.parametrize(("function", "folder"), FUNCTIONS.items())
def test_a_functions_environment_is_what_its_code_reads(
    deployed: Deployed, function: str, folder: str
) -> None:
    """POWERTOOLS_* is read by the library."""
    given = deployed.properties(function)["Environment"]["Variables"].keys()
    code = (ROOT / "lambdas" / folder / "app.py").read_text()
    read = set(re.findall(r"""os\.environ(?:\.get\(|\[)["'](\w+)["']""", code))
    assert {name for name in given if not name.startswith("POWERTOOLS_")} == read


def test_the_outputs_are_those_that_are_built_on(deployed: Deployed) -> None:
    """The local run, docs/deploy.md and the consumer's settings name them."""
    assert deployed.outputs.keys() == OUTPUTS


def test_the_guide_makes_settings_of_outputs() -> None:
    """Its list names nothing that is not there, on either side, and leaves no setting out."""
    guide = (ROOT / "docs/deploy.md").read_text()
    listed = guide.partition("<<'END'\n")[2].partition("END\n")[0].splitlines()
    pairs = dict(line.split() for line in listed)
    assert set(pairs.values()) <= OUTPUTS
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert pairs.keys() - settings == {"AWS_DEFAULT_REGION"}
    assert pairs.keys() & settings == {f"{PREFIX}{name}" for name in KNOWN_BY_THE_STACK}


def test_every_asterisk_is_explained() -> None:
    """By a comment beside it or on the line before, in the template itself."""
    lines = (ROOT / "template.yaml").read_text().splitlines()
    bare = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(lines, 1)
        if re.search(r"""(["'])\*\1""", line)
        and not re.search(r"\s#\s\w", line)
        and not lines[number - 2].strip().startswith("# ")
    ]
    assert bare == []
    assert sum('"*"' in line for line in lines) >= 12, "there are some"


def test_the_template_has_no_names_that_two_stacks_would_share(template: dict[str, Any]) -> None:
    """Two stacks in one account and region would otherwise fight over them."""
    named = [
        (name, value)
        for name, resource in template["Resources"].items()
        for key, value in resource["Properties"].items()
        if re.fullmatch(r"(Queue|Alarm|Dashboard|LogGroup|Role|)Name", key)
        and resource["Type"] != "AWS::Lambda::Permission"
    ]
    assert named
    for name, value in named:
        assert "AWS::StackName" in json.dumps(value), name
