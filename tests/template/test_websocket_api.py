"""infra/websocket-api.yaml after the SAM transform."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint  # type: ignore[import-untyped]  # it has no types of its own

from lambdas.stream.composition import Environment
from lambdas.stream.motion import LACKS
from tests.stack.guard import findings
from tests.template.conftest import ROOT, load
from tests.template.synthesis import ACCOUNT, REGION, Deployed, as_list, deploy, synthesize

HERE = f"{REGION}:{ACCOUNT}"
GIVEN = {
    "StatusQueueArn": f"arn:aws:sqs:{HERE}:statuswire-status.fifo",
    "ServiceQueueArn": f"arn:aws:sqs:{HERE}:statuswire-service",
    "SigningKeyArn": f"arn:aws:secretsmanager:{HERE}:secret:key-AbCdEf",
    "TokenAudience": f"arn:aws:cloudformation:{HERE}:stack/statuswire/1",
}
FOLDERS = {
    "Connect": "ws_connect",
    "Requests": "ws_requests",
    "Disconnect": "ws_disconnect",
    "FanOut": "ws_fan_out",
    "Heartbeat": "ws_heartbeat",
}
# IAM user guide, "Actions, resources, and condition keys for AWS X-Ray", "… Amazon EC2".
WITHOUT_RESOURCE = {
    *("xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules"),
    *("xray:GetSamplingTargets", "ec2:DescribeInstances"),
}
LOG = f"arn:aws:dynamodb:{HERE}:table/statuswire-LogTable-0A1B2C3D4E5F"
CONNECTIONS = f"arn:aws:dynamodb:{HERE}:table/statuswire-ConnectionsTable-0A1B2C3D4E5F"
POSTS = f"arn:aws:execute-api:{HERE}:statuswire-Api-0A1B2C3D4E5F/live"
MANAGES = {
    ("execute-api:ManageConnections", f"{POSTS}/{verb}/@connections/*")
    for verb in ("POST", "DELETE")
}
TELLS = {
    *((f"dynamodb:{does}", LOG) for does in ("GetItem", "BatchGetItem", "Query", "PutItem")),
    *(
        (f"dynamodb:{does}", CONNECTIONS)
        for does in ("GetItem", "Query", "UpdateItem", "DeleteItem", "BatchWriteItem")
    ),
    *MANAGES,
}
FUNCTION = f"arn:aws:lambda:{HERE}:function:statuswire-RequestsFunction-0A1B2C3D4E5F"
ROLES = {
    "ConnectRole": {
        ("secretsmanager:GetSecretValue", GIVEN["SigningKeyArn"]),
        *(
            (f"dynamodb:{does}Item", CONNECTIONS)
            for does in ("Get", "Put", "Update", "Delete", "BatchWrite")
        ),
        ("lambda:InvokeFunction", FUNCTION),
        *MANAGES,
    },
    "RequestsRole": {
        *TELLS,
        ("sqs:SendMessage", f"arn:aws:sqs:{HERE}:statuswire-greetings-dead"),
    },
    "DisconnectRole": {
        ("dynamodb:DeleteItem", CONNECTIONS),
        ("dynamodb:BatchWriteItem", CONNECTIONS),
    },
    "FanOutRole": {
        *TELLS,
        *(
            (f"sqs:{does}", GIVEN[queue])
            for does in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
            for queue in ("StatusQueueArn", "ServiceQueueArn")
        ),
        ("dynamodb:PutItem", LOG),
        ("dynamodb:UpdateItem", LOG),
        ("ec2:DescribeInstances", "*"),
    },
    "HeartbeatRole": {*TELLS, ("dynamodb:Scan", CONNECTIONS)},
}
# API Gateway developer guide, "Variables for access logging"; no address, headers or body.
LOGGED = {
    *("requestId", "requestTime", "connectionId", "eventType", "routeKey", "identity.sourceIp"),
    *("status", "integration.status", "integrationLatency", "integration.error"),
    "error.responseType",
}


@pytest.fixture(scope="module")
def synthesized() -> dict[str, Any]:
    """The template after the SAM transform."""
    return synthesize(load(ROOT / "infra/websocket-api.yaml"), {})


@pytest.fixture(scope="module")
def deployed(synthesized: dict[str, Any]) -> Deployed:
    """As it is made with the outputs of the other stack, and Enter for every other question."""
    return deploy(synthesized, **GIVEN)


def of_function(stack: Deployed, name: str) -> dict[str, Any]:
    return stack.properties(f"{name}Function")


def pairs(statements: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {
        (action, resource)
        for statement in statements
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def test_cfn_lint_accepts_what_sam_makes(synthesized: dict[str, Any]) -> None:
    """On the source it sees nothing of what the transform adds."""
    assert [str(match) for match in lint(json.dumps(synthesized), regions=[REGION])] == []


def test_every_reference_finds_something(synthesized: dict[str, Any]) -> None:
    """On AWS and in the embedded one, with every optional part and without."""
    topic = "arn:aws:sns:eu-central-1:123456789012:alarms"
    most = deploy(synthesized, **GIVEN, AlarmTopicArn=topic, EmbeddedUrl="http://127.0.0.1:8082")
    least = deploy(synthesized, **GIVEN, ReserveConcurrency="no")
    assert most.resources.keys() == least.resources.keys() == synthesized["Resources"].keys()
    assert "${" not in json.dumps([least.resources, most.resources, most.outputs])
    for alarm in most.of_type("AWS::CloudWatch::Alarm").values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_exactly_this(deployed: Deployed, role: str) -> None:
    """Every action on every resource, of all policies on the role; tracing and its own logs."""
    name = {"FanOutRole": "fan-out"}.get(role, role.removesuffix("Role").lower())
    group = f"arn:aws:logs:{HERE}:log-group:/aws/lambda/statuswire-{name}:*"
    logs = {("logs:CreateLogStream", group), ("logs:PutLogEvents", group)}
    tracing = {(action, "*") for action in WITHOUT_RESOURCE if action.startswith("xray:")}
    assert pairs(list(deployed.grants(role))) == ROLES[role] | logs | tracing


def test_there_is_no_other_role_and_each_trusts_lambda_alone(deployed: Deployed) -> None:
    """A function that SAM gave a role of its own would add one."""
    roles = deployed.of_type("AWS::IAM::Role")
    assert roles.keys() == ROLES.keys()
    for role in roles.values():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_no_action_and_no_resource_is_a_wildcard(deployed: Deployed) -> None:
    """But where IAM knows no resource."""
    for role in ROLES:
        for action, resource in pairs(list(deployed.grants(role))):
            assert "*" not in action
            assert resource != "*" or action in WITHOUT_RESOURCE


def test_what_tells_connections_calls_nothing_that_its_policy_leaves_out() -> None:
    """Operations of DynamoDB in the code that is shared, by the action that IAM checks for each.

    A transaction is checked by its parts ("IAM and transactions", DynamoDB developer guide).
    """
    code = "".join(path.read_text() for path in (ROOT / "lambdas/stream").glob("*.py"))
    called = set(
        re.findall(r'"((?:batch_)?(?:get|put|update|delete|write)_items?|query|scan)"', code)
    )
    actions = {operation.title().replace("_", "") for operation in called}
    allowed = {action.partition(":")[2] for grants in ROLES.values() for action, _ in grants}
    assert {"GetItem", "BatchWriteItem", "Query", "Scan"} <= actions <= allowed


def test_each_route_leads_to_a_function_that_api_gateway_may_call(deployed: Deployed) -> None:
    """A permission that does not match its route is an error that no other test sees."""
    integrations = {
        name: re.search(r"functions/([^/]+)/", one["IntegrationUri"])
        for name, one in deployed.of_type("AWS::ApiGatewayV2::Integration").items()
    }
    routes = set()
    for route in deployed.of_type("AWS::ApiGatewayV2::Route").values():
        name = next(n for n in integrations if deployed.names[n] in route["Target"])
        found = integrations[name]
        assert found is not None
        routes.add((found[1].rpartition(":")[2], f"{POSTS}/{route['RouteKey']}"))
    permissions = deployed.of_type("AWS::Lambda::Permission").values()
    called = {
        (p["FunctionName"], p["SourceArn"])
        for p in permissions
        if p["Principal"] == "apigateway.amazonaws.com"
    }
    assert routes == called
    assert {arn.rpartition("/")[2] for _, arn in routes} == {
        "$connect", "token", "$default", "$disconnect",
    }  # fmt: skip


def test_the_stage_is_throttled_and_logs_no_messages(deployed: Deployed) -> None:
    """Execution logs and data traces would hold tokens."""
    stage = deployed.properties("Stage")
    assert stage["DefaultRouteSettings"] == {
        "ThrottlingRateLimit": 100,
        "ThrottlingBurstLimit": 200,
        "DetailedMetricsEnabled": False,
        "LoggingLevel": "OFF",
        "DataTraceEnabled": False,
    }
    line = stage["AccessLogSettings"]["Format"]
    assert set(re.findall(r"\$context\.([\w.]+)", line)) == LOGGED
    assert json.loads(re.sub(r"\$context\.[\w.]+", "-", line))


@pytest.mark.parametrize(("name", "folder"), FOLDERS.items())
def test_a_functions_environment_is_what_its_code_reads(
    deployed: Deployed, name: str, folder: str
) -> None:
    """By itself, or through what the functions have in common."""
    given = of_function(deployed, name)["Environment"]["Variables"].keys()
    code = (ROOT / "lambdas" / folder / "app.py").read_text()
    read = set(re.findall(r'os\.environ\["(\w+)"\]', code))
    if "composition.motion()" in code:
        read |= {variable.upper() for variable in Environment.__annotations__}
    assert {variable for variable in given if not variable.startswith("POWERTOOLS_")} == read


@pytest.mark.parametrize("name", FOLDERS)
def test_a_functions_trouble_rings(deployed: Deployed, name: str) -> None:
    """Errors and throttles, the first of them."""
    rings = {
        alarm["MetricName"]
        for alarm in deployed.of_type("AWS::CloudWatch::Alarm").values()
        if alarm["Namespace"] == "AWS/Lambda"
        and alarm["Dimensions"][0]["Value"] == deployed.names[f"{name}Function"]
        and (alarm["Statistic"], alarm["Threshold"]) == ("Sum", 1)
        and alarm["TreatMissingData"] == "notBreaching"
    }
    assert rings == {"Errors", "Throttles"}


def test_the_apis_own_errors_and_lost_greetings_ring_too(deployed: Deployed) -> None:
    """Metrics of WebSocket APIs ("Monitor WebSocket API execution", API Gateway)."""
    others = {
        alarm["MetricName"]: {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
        for alarm in deployed.of_type("AWS::CloudWatch::Alarm").values()
        if alarm["Namespace"] != "AWS/Lambda"
    }
    of_stage = {"ApiId": deployed.names["Api"], "Stage": "live"}
    assert others == {
        "ExecutionError": of_stage,
        "IntegrationError": of_stage,
        "ApproximateNumberOfMessagesVisible": {"QueueName": "statuswire-greetings-dead"},
    }


@pytest.mark.parametrize("name", FOLDERS)
def test_a_function_logs_to_a_group_that_forgets_and_has_executions_of_its_own(
    deployed: Deployed, synthesized: dict[str, Any], name: str
) -> None:
    """In an account with few of them, it shares them with all others."""
    function = of_function(deployed, name)
    assert function["LoggingConfig"]["LogGroup"] == deployed.names[f"{name}Logs"]
    assert deployed.properties(f"{name}Logs")["RetentionInDays"] == 30
    assert function["ReservedConcurrentExecutions"] >= 1
    without = deploy(synthesized, **GIVEN, ReserveConcurrency="no")
    assert "ReservedConcurrentExecutions" not in of_function(without, name)


def test_all_reserved_executions_are_as_many_as_the_parameter_says(
    deployed: Deployed, synthesized: dict[str, Any]
) -> None:
    """An account must keep 100 for the others ("Configuring reserved concurrency", Lambda)."""
    reserved = sum(of_function(deployed, n)["ReservedConcurrentExecutions"] for n in FOLDERS)
    told = synthesized["Parameters"]["ReserveConcurrency"]["Description"]
    assert f"{reserved} in all" in told
    assert str(reserved + 100) in told


def test_both_queues_are_drained_in_batches_that_may_fail_in_part(deployed: Deployed) -> None:
    """By fewer executions than the function has, or messages would end as dead letters."""
    mappings = deployed.of_type("AWS::Lambda::EventSourceMapping").values()
    assert {mapping["EventSourceArn"] for mapping in mappings} == {
        GIVEN["StatusQueueArn"],
        GIVEN["ServiceQueueArn"],
    }
    for mapping in mappings:
        assert mapping["FunctionName"] == deployed.names["FanOutFunction"]
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["BatchSize"] == 10
    used = sum(mapping["ScalingConfig"]["MaximumConcurrency"] for mapping in mappings)
    assert used < of_function(deployed, "FanOut")["ReservedConcurrentExecutions"]


def test_a_queue_hides_its_messages_for_as_long_as_the_function_may_run(
    deployed: Deployed, template: dict[str, Any]
) -> None:
    """Lambda refuses a mapping otherwise ("Using Lambda with Amazon SQS")."""
    hidden_s = template["Parameters"]["VisibilityTimeoutSeconds"]["MinValue"]
    assert of_function(deployed, "FanOut")["Timeout"] <= hidden_s


def test_hearts_beat_as_often_as_the_welcome_says(deployed: Deployed) -> None:
    """And one ends before the next."""
    (rule,) = deployed.of_type("AWS::Events::Rule").values()
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    told = {
        of_function(deployed, n)["Environment"]["Variables"].get("HEARTBEAT_S") for n in FOLDERS
    }
    assert told == {None, "60"}
    assert of_function(deployed, "Heartbeat")["Timeout"] < 60


def test_what_is_kept_is_kept_for_a_time(deployed: Deployed) -> None:
    """Tables whose items expire by the attribute that the code writes."""
    tables = deployed.of_type("AWS::DynamoDB::Table")
    assert tables.keys() == {"LogTable", "ConnectionsTable"}
    for table in tables.values():
        assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
        assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_a_greeting_that_fails_is_kept(deployed: Deployed) -> None:
    """It was asked for asynchronously: nobody else would hear of it."""
    (config,) = [
        each
        for each in deployed.of_type("AWS::Lambda::EventInvokeConfig").values()
        if each["FunctionName"] == deployed.names["RequestsFunction"]
    ]
    there = config["DestinationConfig"]["OnFailure"]["Destination"]
    assert there == deployed.arn("GreetingsDeadLetterQueue")


def test_what_is_lacking_is_explained() -> None:
    """Each word of the welcome has its row."""
    guide = (ROOT / "docs/without-a-daemon.md").read_text()
    table = guide.partition("## What it lacks\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(LACKS)


def test_every_control_of_aws_is_kept_or_explained(
    synthesized: dict[str, Any], tmp_path: Path
) -> None:
    """At the template's head, since what SAM makes has no place for reasons of its own."""
    topic = "arn:aws:sns:eu-central-1:123456789012:alarms"
    stack = deploy(synthesized, **GIVEN, AlarmTopicArn=topic)
    explained = load(ROOT / "infra/websocket-api.yaml")["Metadata"]["Guard"]
    assert {each.rule for each in findings(stack.resources, tmp_path)} == explained.keys()
    assert all(len(reason) > 30 for reason in explained.values())


def test_every_asterisk_is_explained() -> None:
    """By a comment beside it, in the template itself."""
    lines = (ROOT / "infra/websocket-api.yaml").read_text().splitlines()
    stars = [line for line in lines if '"*"' in line]
    assert stars
    assert [line for line in stars if " # " not in line] == []
