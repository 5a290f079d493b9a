"""A whole set-up on moto, healthy at first, behind a gate that denies calls and shifts clocks."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

import aioboto3
import aiohttp
import trustme
from aiohttp import web

from consumer.edges.sqlite_file import LogFile

REGION: Final = "us-east-1"
MACHINE: Final = f"arn:aws:states:{REGION}:123456789012:stateMachine:demo-standard"
DENIED: Final = {"__type": "com.amazon.coral.service#AccessDeniedException", "message": "no"}
HOP: Final = ("transfer-encoding", "content-encoding", "content-length", "date", "server")


class Stage:
    """`environment` is what the consumer would be started with; tests plant their faults in it."""

    def __init__(self, moto: str, folder: Path) -> None:
        self.folder = folder
        self.denied: set[str] = set()  # the calls of JSON services that the gate refuses
        self.skew_s = 0.0
        self.moto = moto
        self.url = ""
        self.environment: dict[str, str] = {}
        self.queues: dict[str, str] = {}
        self.log = folder / "log.db"
        self.closing = AsyncExitStack()
        self._clients: dict[str, Any] = {}

    async def call(self, service: str, call: str, **arguments: Any) -> Any:
        """One call, past the gate."""
        if service not in self._clients:
            session = aioboto3.Session("testing", "testing", region_name=REGION)
            self._clients[service] = await self.closing.enter_async_context(
                session.client(service, endpoint_url=self.moto)
            )
        return await getattr(self._clients[service], call)(**arguments)

    async def set_queue(self, name: str, **attributes: Any) -> None:
        """Attributes of a queue; what is no text is sent as JSON."""
        texts = {
            key: each if isinstance(each, str) else json.dumps(each)
            for key, each in attributes.items()
        }
        url = self.queues[name]
        await self.call("sqs", "set_queue_attributes", QueueUrl=url, Attributes=texts)


@asynccontextmanager
async def healthy(moto: str, folder: Path) -> AsyncIterator[Stage]:
    """Everything as the template makes it, and every setting that has a check."""
    stage = Stage(moto, folder)
    async with stage.closing, aiohttp.ClientSession(auto_decompress=False) as http:
        await http.post(f"{moto}/moto-api/reset")
        application = web.Application()

        async def pass_on(asked: web.Request) -> web.Response:
            return await _pass(stage, http, asked)

        application.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            stage.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            await _make_queues(stage)
            await _make_rules(stage)
            await _make_settings(stage)
            yield stage
        finally:
            await runner.cleanup()


async def _pass(stage: Stage, http: aiohttp.ClientSession, asked: web.Request) -> web.Response:
    date = {"Date": formatdate(time.time() + stage.skew_s, usegmt=True)}
    call = asked.headers.get("X-Amz-Target", "").rsplit(".", 1)[-1]
    if call in stage.denied:
        refused = {**date, "x-amzn-query-error": "AccessDenied;Sender"}
        return web.json_response(DENIED, status=403, headers=refused)
    async with http.request(
        asked.method,
        f"{stage.moto}{asked.path_qs}",
        headers=asked.headers,
        data=await asked.read(),
        allow_redirects=False,
    ) as answer:
        kept = {name: each for name, each in answer.headers.items() if name.lower() not in HOP}
        body = await answer.read()
        return web.Response(status=answer.status, headers={**kept, **date}, body=body)


async def _make_queues(stage: Stage) -> None:
    for name, fifo in (("status", True), ("service", False)):
        suffix = ".fifo" if fifo else ""
        modes = {"FifoQueue": "true"} if fifo else {}
        for queue in (f"{name}-dead", name):
            made = await stage.call(
                "sqs", "create_queue", QueueName=f"demo-{queue}{suffix}", Attributes=modes
            )
            stage.queues[queue] = made["QueueUrl"].replace(stage.moto, stage.url)
        if fifo:
            await stage.set_queue(
                name, DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId"
            )
        await stage.set_queue(
            f"{name}-dead",
            MessageRetentionPeriod="1209600",
            RedriveAllowPolicy={
                "redrivePermission": "byQueue",
                "sourceQueueArns": [arn(f"demo-{name}{suffix}")],
            },
        )
        await stage.set_queue(
            name,
            Policy={"Version": "2012-10-17", "Statement": policy(name)},
            RedrivePolicy={
                "deadLetterTargetArn": arn(f"demo-{name}-dead{suffix}"),
                "maxReceiveCount": 20,
            },
        )


def arn(queue: str) -> str:
    return f"arn:aws:sqs:{REGION}:123456789012:{queue}"


def policy(name: str) -> list[dict[str, Any]]:
    """TLS only; and the rules may send to the service queue."""
    queue = arn("demo-status.fifo" if name == "status" else "demo-service")
    tls = {
        **{"Sid": "TlsOnly", "Effect": "Deny", "Principal": "*"},
        **{"Action": "sqs:*", "Resource": queue},
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    rules = {
        **{"Sid": "OurRules", "Effect": "Allow"},
        "Principal": {"Service": "events.amazonaws.com"},
        **{"Action": "sqs:SendMessage", "Resource": queue},
        "Condition": {
            "ArnEquals": {
                "aws:SourceArn": [
                    f"arn:aws:events:{REGION}:123456789012:rule/demo-{rule}"
                    for rule in ("executions", "instances")
                ]
            }
        },
    }
    return [tls] if name == "status" else [tls, rules]


async def _make_rules(stage: Stage) -> None:
    patterns: dict[str, dict[str, Any]] = {
        "executions": {
            "source": ["aws.states"],
            "detail-type": ["Step Functions Execution Status Change"],
            "detail": {"stateMachineArn": [MACHINE]},
        },
        "instances": {
            "source": ["aws.ec2"],
            "detail-type": ["EC2 Instance State-change Notification"],
        },
    }
    for name, pattern in patterns.items():
        await stage.call(
            "events", "put_rule", Name=f"demo-{name}", EventPattern=json.dumps(pattern)
        )
        await put_target(stage, f"demo-{name}")


async def put_target(stage: Stage, rule: str, **more: Any) -> None:
    """The service queue as a rule's target."""
    target = {
        "Id": "ServiceQueue",
        "Arn": arn("demo-service"),
        "DeadLetterConfig": {"Arn": arn("demo-service-dead")},
        **more,
    }
    await stage.call("events", "put_targets", Rule=rule, Targets=[target])


async def _make_settings(stage: Stage) -> None:
    secret = await stage.call(
        "secretsmanager", "create_secret", Name="key", SecretString=json.dumps({"key": "k" * 64})
    )
    certificate, key = write_pair(stage.folder)
    file = LogFile(stage.log)
    file.open().close()
    file.close()
    stage.environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": stage.url,
        "STATUSWIRE_QUEUE_URL": stage.queues["status"],
        "STATUSWIRE_SERVICE_QUEUE_URL": stage.queues["service"],
        "STATUSWIRE_SIGNING_SECRET": secret["ARN"],
        "STATUSWIRE_AUDIENCE": "the stack",
        "STATUSWIRE_TLS_CERTIFICATE": str(certificate),
        "STATUSWIRE_TLS_KEY": str(key),
        "STATUSWIRE_LOG": f"sqlite:{stage.log}",
        "STATUSWIRE_PORT": "0",
        "STATUSWIRE_METRICS_PORT": "0",
        "STATUSWIRE_REST_URL": f"{stage.url}/live",
        "STATUSWIRE_MAX_CONNECTIONS": "100",
        "STATUSWIRE_RETENTION_EVENTS": "1000",
    }


def write_pair(folder: Path, **options: Any) -> tuple[Path, Path]:
    """A certificate and its key, as files."""
    issued = trustme.CA().issue_cert("status.example.com", **options)
    certificate, key = folder / "tls.pem", folder / "tls.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    key.write_bytes(b"")
    key.chmod(0o600)
    issued.private_key_pem.write_to_path(key)
    return certificate, key
