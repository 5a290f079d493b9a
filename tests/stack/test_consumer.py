"""infra/consumer.yaml: the daemon gets what it needs, no more, and time to leave."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from consumer import app, settings
from consumer.edges.http import PROBES
from consumer.edges.stream import CLOSE_S
from consumer.settings import Settings
from tests.edges.test_redis_server import ALLOWED
from tests.stack.deployed import CONSUMER, SMALL, Deployed, deploy, load

CONTAINERS = ("consumer", "metrics")
PROVIDER = {
    "JwksUrl": "https://id.example.com/keys",
    "Issuer": "https://id.example.com",
    "Audience": "statuswire",
}
FRIENDS = {"LoadBalancerGroup": 443, "TaskGroup": 8080, "ValkeyGroup": 6379}


def chosen(monkeypatch: pytest.MonkeyPatch, stack: Deployed) -> Settings:
    """The settings that the daemon reads in its container."""
    container = stack.container("consumer")
    for each in container["Environment"]:
        monkeypatch.setenv(each["Name"], str(each["Value"]))
    for each in container["Secrets"]:
        monkeypatch.setenv(each["Name"], "a secret")
    return settings.read()


def attributes(stack: Deployed, name: str) -> dict[str, str]:
    """Of the load balancer or its target group."""
    key = "LoadBalancerAttributes" if name == "LoadBalancer" else "TargetGroupAttributes"
    return {each["Key"]: each["Value"] for each in stack.properties(name)[key]}


def test_every_reference_finds_something(exports: dict[str, str]) -> None:
    """With every optional part left out, and with every one there."""
    least = deploy(CONSUMER, exports, ValkeyNodes=1)
    most = deploy(
        CONSUMER,
        exports,
        **PROVIDER,
        HostedZoneId="Z0A",
        AlarmTopicArn="arn:aws:sns:eu-central-1:123456789012:alarms",
        AccessLogsBucket="logs",
    )
    assert most.resources.keys() == load(CONSUMER)["Resources"].keys()
    assert most.resources.keys() - least.resources.keys() == {"DnsRecord"}
    assert "${" not in json.dumps([least.resources, most.resources, most.outputs])


def test_the_daemon_reads_its_settings(
    monkeypatch: pytest.MonkeyPatch, stack: Deployed, exports: dict[str, str]
) -> None:
    """What the stack knows reaches it, and no setting contradicts another."""
    read = chosen(monkeypatch, stack)
    assert read.queue_url == exports["statuswire-StatusQueueUrl"]
    assert read.service_queue_url == exports["statuswire-ServiceQueueUrl"]
    assert read.signing_secret == exports["statuswire-SigningKeyArn"]
    assert read.audience == exports["statuswire-TokenAudience"]
    assert read.tag == ("statuswire", "managed")
    assert read.log == "rediss://statuswire@master.log.abc123.use1.cache.amazonaws.com:6379"
    assert read.log_password is not None
    assert read.port == stack.properties("Targets")["Port"]
    assert {str(network) for network in read.trusted_proxies} == {"172.31.0.0/16"}


def test_people_who_sign_in(
    monkeypatch: pytest.MonkeyPatch, stack: Deployed, exports: dict[str, str]
) -> None:
    """Where the workflows' stack has them; otherwise the page has no buttons."""
    assert chosen(monkeypatch, stack).rest_url is None
    read = chosen(monkeypatch, deploy(CONSUMER, exports, SignIn="cognito"))
    assert read.rest_url == exports["statuswire-RestApiUrl"]
    assert read.sign_in == exports["statuswire-SignInAddress"]


def test_tokens_of_a_provider(monkeypatch: pytest.MonkeyPatch, exports: dict[str, str]) -> None:
    """In place of the stack's own: both together would be refused."""
    read = chosen(monkeypatch, deploy(CONSUMER, exports, **PROVIDER))
    assert read.signing_secret is None
    assert (read.jwks_url, read.issuer, read.audience) == tuple(PROVIDER.values())


def test_metrics_stay_on_loopback(monkeypatch: pytest.MonkeyPatch, stack: Deployed) -> None:
    """They ask for no token; the container beside it shares the interface, and finds their port."""
    read = chosen(monkeypatch, stack)
    assert read.metrics_host == "127.0.0.1"
    assert read.metrics_port == 9090  # as consumer.operator.emf asks, if it is told no other
    assert "--port" not in stack.container("metrics")["Command"]


def test_a_task_may_drain_to_its_end(monkeypatch: pytest.MonkeyPatch, stack: Deployed) -> None:
    """Killed before, it would keep messages until their visibility timeout, and viewers waiting."""
    drain_s = chosen(monkeypatch, stack).drain_s + app.FLUSH_S + CLOSE_S
    assert drain_s + 5 <= stack.container("consumer")["StopTimeout"] <= 120


def test_the_load_balancer_outwaits_a_heartbeat(
    monkeypatch: pytest.MonkeyPatch, stack: Deployed
) -> None:
    """One that is late, or lost, is no reason to cut a viewer off."""
    idle_s = int(attributes(stack, "LoadBalancer")["idle_timeout.timeout_seconds"])
    assert idle_s >= 3 * chosen(monkeypatch, stack).heartbeat_s


def test_a_page_is_known_by_its_own_name(stack: Deployed) -> None:
    """The Host that the browser asked for; and the load balancer adds to X-Forwarded-For."""
    found = attributes(stack, "LoadBalancer")
    assert found["routing.http.preserve_host_header.enabled"] == "true"
    assert found["routing.http.xff_header_processing.mode"] == "append"


def test_health_is_asked_of_a_start(stack: Deployed) -> None:
    """By /readyz an outage of SQS or Valkey would have all tasks replaced."""
    targets = stack.properties("Targets")
    assert targets["HealthCheckPath"] == "/startz"
    assert targets["HealthCheckPath"] in PROBES
    assert not [each for each in CONTAINERS if "HealthCheck" in stack.container(each)]


def test_an_update_waits_and_goes_back(stack: Deployed) -> None:
    """A new task is at work before an old one goes, also where as few run as may."""
    service = stack.properties("Service")
    deployment = service["DeploymentConfiguration"]
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert deployment["MinimumHealthyPercent"] == 100
    least = load(CONSUMER)["Parameters"]["MinTasks"]["MinValue"]
    assert math.floor(least * deployment["MaximumPercent"] / 100) > least
    assert "DesiredCount" not in service


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_may_nothing(stack: Deployed, name: str) -> None:
    """No root, no capability, nothing to write to, and an image that nobody can exchange."""
    container = stack.container(name)
    assert container["User"] == "10001:10001"
    assert container["ReadonlyRootFilesystem"] is True
    assert container["LinuxParameters"] == {"Capabilities": {"Drop": ["ALL"]}}
    assert container["Image"].endswith("/statuswire@sha256:" + "0a" * 32)
    assert container["LogConfiguration"]["Options"]["mode"] == "non-blocking"


def test_viewers_need_no_metrics(stack: Deployed) -> None:
    """Where the container beside the daemon ends, the task goes on, and it is started again."""
    metrics = stack.container("metrics")
    assert stack.container("consumer")["Essential"]
    assert not metrics["Essential"]
    assert metrics["RestartPolicy"] == {"Enabled": True}
    assert metrics["EntryPoint"] == ["python", "-m", "consumer.operator.emf"]


def test_secrets_are_references(stack: Deployed) -> None:
    """No value of one stands in the task definition, where everybody who may look sees it."""
    container = stack.container("consumer")
    secret = stack.outputs["LogPasswordArn"]
    assert secret.startswith("arn:aws:secretsmanager:")
    assert container["Secrets"] == [{"Name": "STATUSWIRE_LOG_PASSWORD", "ValueFrom": secret}]
    assert "STATUSWIRE_LOG_PASSWORD" not in {each["Name"] for each in container["Environment"]}
    for user in stack.of_type("AWS::ElastiCache::User").values():
        assert user["AuthenticationMode"]["Passwords"] == [
            "{{resolve:secretsmanager:" + secret + "}}"
        ]


def test_the_task_may_what_the_daemon_needs(stack: Deployed, exports: dict[str, str]) -> None:
    """The other stack's policy, and nothing beside it."""
    role = stack.properties("TaskRole")
    assert role["ManagedPolicyArns"] == [exports["statuswire-ConsumerPolicyArn"]]
    assert "Policies" not in role


def test_ecs_may_start_a_task(stack: Deployed) -> None:
    """One repository, one log group, one secret."""
    (policy,) = stack.properties("ExecutionRole")["Policies"]
    granted = {
        action: statement["Resource"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in [statement["Action"]]
        if isinstance(action, str)
    } | {
        action: statement["Resource"]
        for statement in policy["PolicyDocument"]["Statement"]
        if isinstance(statement["Action"], list)
        for action in statement["Action"]
    }
    repository = "arn:aws:ecr:eu-central-1:123456789012:repository/statuswire"
    logs = "arn:aws:logs:eu-central-1:123456789012:log-group:Logs:*"
    assert granted == {
        "ecr:GetAuthorizationToken": "*",
        "ecr:BatchCheckLayerAvailability": repository,
        "ecr:GetDownloadUrlForLayer": repository,
        "ecr:BatchGetImage": repository,
        "logs:CreateLogStream": logs,
        "logs:PutLogEvents": logs,
        "secretsmanager:GetSecretValue": stack.outputs["LogPasswordArn"],
    }


@pytest.mark.parametrize("role", ["TaskRole", "ExecutionRole"])
def test_a_role_is_for_tasks_of_this_account(stack: Deployed, role: str) -> None:
    """Another account's task cannot have ECS take it on its behalf (confused deputy)."""
    (statement,) = stack.properties(role)["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws:ecs:eu-central-1:123456789012:*"},
    }


def test_each_is_reached_by_the_one_before(stack: Deployed) -> None:
    """Viewers, load balancer, tasks, Valkey: from anywhere else nothing gets in."""
    ways = {
        (rule["SourceSecurityGroupId"], rule["GroupId"], rule["FromPort"], rule["ToPort"])
        for rule in stack.of_type("AWS::EC2::SecurityGroupIngress").values()
    }
    assert ways == {
        ("LoadBalancerGroup.GroupId", "TaskGroup.GroupId", 8080, 8080),
        ("TaskGroup.GroupId", "ValkeyGroup.GroupId", 6379, 6379),
    }
    groups = stack.of_type("AWS::EC2::SecurityGroup")
    inline = {name for name, group in groups.items() if group.get("SecurityGroupIngress")}
    assert inline == {"LoadBalancerGroup"}
    (viewers,) = groups["LoadBalancerGroup"]["SecurityGroupIngress"]
    assert (viewers["FromPort"], viewers["ToPort"]) == (443, 443)


@pytest.mark.parametrize("path", [CONSUMER, SMALL], ids=lambda path: path.stem)
def test_groups_are_described_as_ec2_allows(exports: dict[str, str], path: Path) -> None:
    """API reference, SecurityGroupRule: no apostrophe, for one; found at the deployment only."""
    allowed = re.compile(r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}")
    for resource in deploy(path, exports).resources.values():
        properties = resource["Properties"]
        if resource["Type"].startswith("AWS::EC2::SecurityGroup"):
            texts = [properties.get("GroupDescription", properties.get("Description"))]
            for rules in ("SecurityGroupIngress", "SecurityGroupEgress"):
                texts += [rule["Description"] for rule in properties.get(rules, [])]
            assert all(allowed.fullmatch(text) for text in texts), texts


def test_viewers_speak_tls(stack: Deployed) -> None:
    """The only listener, with a policy of TLS 1.2 and 1.3."""
    (listener,) = stack.of_type("AWS::ElasticLoadBalancingV2::Listener").values()
    assert (listener["Protocol"], listener["Port"]) == ("HTTPS", 443)
    assert listener["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-")


def test_the_log_is_encrypted_and_never_evicts(stack: Deployed) -> None:
    """On the way and at rest; and a server that is full says so."""
    valkey = stack.properties("Valkey")
    assert valkey["TransitEncryptionEnabled"]
    assert valkey["TransitEncryptionMode"] == "required"
    assert valkey["AtRestEncryptionEnabled"]
    parameters = stack.properties("ValkeyParameters")
    assert parameters["CacheParameterGroupFamily"].removeprefix("valkey") in valkey["EngineVersion"]
    assert parameters["Properties"] == {"maxmemory-policy": "noeviction"}


def test_the_log_has_a_replica_or_stands_alone(exports: dict[str, str]) -> None:
    """ElastiCache refuses a failover to nobody."""
    for nodes, is_safe in ((1, False), (2, True)):
        valkey = deploy(CONSUMER, exports, ValkeyNodes=nodes).properties("Valkey")
        assert valkey["NumCacheClusters"] == nodes
        assert valkey["AutomaticFailoverEnabled"] is is_safe
        assert valkey["MultiAZEnabled"] is is_safe


def test_the_logs_user_may_what_the_scripts_call(stack: Deployed) -> None:
    """What the tests of the log allow its user, on the log's keys; and the other user is off."""
    users = {each["UserName"]: each for each in stack.of_type("AWS::ElastiCache::User").values()}
    state, keys, *commands = users["statuswire"]["AccessString"].split()
    assert (state, keys, commands) == ("on", "~{statuswire}:*", ["-@all", *ALLOWED.split()])
    assert users["default"]["AccessString"].split()[0] == "off"


def test_defaults_fit_their_memory(stack: Deployed) -> None:
    """docs/scaling.md: 580 B an event and 10 % more between prunings, 950 B a key; of a node's
    memory ElastiCache keeps a quarter. A task's viewers, all stalled, take 164 kB each.
    """
    defaults = {n: p.get("Default") for n, p in load(CONSUMER)["Parameters"].items()}
    assert defaults["ValkeyNodeType"] == "cache.t4g.micro"
    log_bytes = defaults["RetentionEvents"] * 580 * 1.1 + 10_000 * 950
    assert log_bytes < 0.8 * 0.75 * 0.5 * 2**30  # where ValkeyMemoryAlarm rings
    assert defaults["MaxClientsPerTask"] >= 2 * defaults["ClientsPerTask"]
    task_bytes = 100e6 + 40e6 + defaults["MaxClientsPerTask"] * 164e3
    assert task_bytes < defaults["TaskMemoryMiB"] * 2**20
    assert stack.container("consumer")["Ulimits"][0]["HardLimit"] > 4_000 + 2_000


def test_the_other_stack_gets_its_answers(stack: Deployed) -> None:
    """WatchUrl and DashboardOrigin of template.yaml, as its patterns want them."""
    assert stack.outputs["WatchUrl"] == "wss://status.example.com/v1/status"
    assert stack.outputs["Url"] == "https://status.example.com"
    assert stack.outputs["ConsumerRoleArn"] == "arn:aws:iam::123456789012:role/TaskRole"


def names_of(node: Any) -> set[str]:
    """Of all exports that a template imports, without the stack's name."""
    if isinstance(node, list):
        return set().union(*map(names_of, node))
    if not isinstance(node, dict):
        return set()
    if "Fn::ImportValue" in node:
        return {node["Fn::ImportValue"]["Fn::Sub"].removeprefix("${WorkflowStack}-")}
    return set().union(*map(names_of, node.values()))


def test_what_is_exported_is_imported(exports: dict[str, str]) -> None:
    """An export that nobody needs only keeps the other stack from changing."""
    imported = names_of(load(CONSUMER)["Resources"])
    assert {f"statuswire-{name}" for name in imported} == exports.keys()
