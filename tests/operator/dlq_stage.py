"""moto's SQS behind a door that can refuse calls, and that plays message move tasks."""

import io
import json
import os
import subprocess
import sys
import threading
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import aioboto3
import boto3  # type: ignore[import-untyped]  # it has no types of its own
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sqs.models import sqs_backends
from typer.testing import CliRunner, Result
from werkzeug.serving import make_server

from consumer.operator import dead_letters, dlq, move_task
from tests.core.examples import execution_change, step_body

RECEIVES = 2  # then SQS gives up
SESSION = aioboto3.Session()  # knows its service models once it has read them, which takes a while


class Stage:
    """Two queues with their dead letters, and the command line."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.refusals: defaultdict[str, deque[str]] = defaultdict(deque)
        """Codes with which the next calls of a kind are refused."""
        self.before: dict[str, Callable[[], None]] = {}
        """What happens as a call of a kind comes in."""
        self.task: dict[str, Any] = {}
        self.per_look = 100
        """How many messages the task moves before each look at it."""
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.sqs = boto3.client(
            "sqs",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106  # moto takes any
        )
        stack = uuid.uuid4().hex[:8]
        self.status, self.status_dead = self._create(f"{stack}-status", ".fifo")
        self.service, self.service_dead = self._create(f"{stack}-service", "")

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "STATUSWIRE_QUEUE_URL": self.status,
            "STATUSWIRE_SERVICE_QUEUE_URL": self.service,
        }

    def run(self, *words: str, answer: str | None = None) -> Result:
        """The command line, in this process."""
        return CliRunner().invoke(dlq.app, words, input=answer, env={"COLUMNS": "300"})

    def told(self, *words: str, exit_code: int = 0) -> list[Any]:
        """What the command line tells of each queue, as JSON."""
        result = self.run(*words, "--json")
        assert result.exit_code == exit_code, result.output
        queues: list[Any] = json.loads(result.stdout)["queues"]
        return queues

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """The command line, in a process of its own."""
        code = (
            # A shell that runs the tests in the background has interrupts ignored, for us too.
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
            "from consumer.operator.dlq import app; app()"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def bury(self, bodies: Iterable[Any], group: str | None = None) -> None:
        """Make dead letters of the status queue's messages as SQS does: by receives."""
        for number, body in enumerate(bodies):
            self.sqs.send_message(
                QueueUrl=self.status,
                MessageBody=body if isinstance(body, str) else json.dumps(body),
                MessageGroupId=group or f"g-{number}",
                MessageDeduplicationId=uuid.uuid4().hex,
            )
        self.give_up()

    def give_up(self) -> None:
        """Receive the status queue's messages until SQS has moved them all."""
        while self.count(self.status):
            self.sqs.receive_message(
                QueueUrl=self.status, MaxNumberOfMessages=10, VisibilityTimeout=0
            )

    def fail_delivery(self, body: Any, **attributes: str) -> None:
        """What EventBridge does with an event that it cannot deliver."""
        self.sqs.send_message(
            QueueUrl=self.service_dead,
            MessageBody=json.dumps(body),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in attributes.items()
            },
        )

    def end_visibility_timeouts(self, url: str) -> None:
        """What a killed process held comes back."""
        queue = sqs_backends[ACCOUNT_ID]["us-east-1"].queues[url.rpartition("/")[2]]
        for message in queue._messages:
            message.visible_at = 0

    def count(self, url: str) -> int:
        """How many messages are visible."""
        return self._count(url, "ApproximateNumberOfMessages")

    def in_flight(self, url: str) -> int:
        return self._count(url, "ApproximateNumberOfMessagesNotVisible")

    def drain(self, url: str) -> list[Any]:
        """All visible messages, which are gone then."""
        drained = []
        while messages := self._receive(url):
            drained += messages
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return drained

    def asked(self, operation: str) -> list[Any]:
        """The calls of a kind."""
        return [asked for name, asked in self.calls if name == operation]

    def arn(self, url: str) -> str:
        return f"arn:aws:sqs:us-east-1:{ACCOUNT_ID}:{url.rpartition('/')[2]}"

    def _count(self, url: str, name: str) -> int:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return int(answer["Attributes"][name])

    def _receive(self, url: str, most: int = 10) -> list[Any]:
        answer = self.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=most,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        messages: list[Any] = answer.get("Messages", [])
        return messages

    def _create(self, name: str, ending: str) -> tuple[str, str]:
        fifo = {"FifoQueue": "true"} if ending else {}
        urls = []
        policy = {
            "maxReceiveCount": RECEIVES,
            "deadLetterTargetArn": self.arn(f"{name}-dead{ending}"),
        }
        for part, more in (("-dead", {}), ("", {"RedrivePolicy": json.dumps(policy)})):
            made = self.sqs.create_queue(
                QueueName=f"{name}{part}{ending}", Attributes={**fifo, **more}
            )
            urls.append(made["QueueUrl"])
        return urls[1], urls[0]

    def _answer(self, environ: Any, respond: Any) -> Iterable[bytes]:
        if environ.get("HTTP_USER_AGENT", "").startswith("aiobotocore"):  # the command line
            operation = environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2]
            if hook := self.before.get(operation):
                hook()
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(body)
            self.calls.append((operation, json.loads(body)))
            if self.refusals[operation]:
                return _refuse(respond, self.refusals[operation].popleft())
            if "MessageMoveTask" in operation:
                told = getattr(self, f"_{operation}")(json.loads(body))
                return _respond(respond, "200 OK", told)
        answer: Iterable[bytes] = self._moto(environ, respond)
        return answer

    def _StartMessageMoveTask(self, asked: Any) -> Any:  # noqa: N802  # SQS's name
        self.task = {
            "TaskHandle": "task",
            "Status": "RUNNING",
            "StartedTimestamp": 1,
            "ApproximateNumberOfMessagesMoved": 0,
            "SourceArn": asked["SourceArn"],
            "DestinationArn": asked["DestinationArn"],
        }
        return {"TaskHandle": "task"}

    def _ListMessageMoveTasks(self, asked: Any) -> Any:  # noqa: N802
        if self.task.get("Status") == "RUNNING":
            self._move()
        return {"Results": [self.task] if self.task else []}

    def _CancelMessageMoveTask(self, asked: Any) -> Any:  # noqa: N802
        assert asked == {"TaskHandle": "task"}
        self.task["Status"] = "CANCELLED"
        moved = self.task["ApproximateNumberOfMessagesMoved"]
        return {"ApproximateNumberOfMessagesMoved": moved}

    def _move(self) -> None:
        source, target = (
            self.sqs.get_queue_url(QueueName=self.task[end].rpartition(":")[2])["QueueUrl"]
            for end in ("SourceArn", "DestinationArn")
        )
        for _ in range(self.per_look):
            messages = self._receive(source, 1)
            if not messages:
                self.task["Status"] = "COMPLETED"
                return
            (message,) = messages
            fifo = {
                "MessageGroupId": message["Attributes"].get("MessageGroupId"),
                "MessageDeduplicationId": message["MessageId"],
            }
            self.sqs.send_message(
                QueueUrl=target,
                MessageBody=message["Body"],
                **(fifo if target.endswith(".fifo") else {}),
            )
            self.sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
            self.task["ApproximateNumberOfMessagesMoved"] += 1


@contextmanager
def staged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage, and this process's environment set to it."""
    monkeypatch.setattr(dead_letters, "WAIT_S", 0)
    monkeypatch.setattr(move_task, "LOOK_S", 0)
    monkeypatch.setattr("aioboto3.Session", lambda: SESSION)
    stage = Stage()
    for name, value in stage.environment.items():
        monkeypatch.setenv(name, value)
    try:
        yield stage
    finally:
        stage.close()


def step(number: int, **changes: Any) -> dict[str, Any]:
    """A well-formed publish step."""
    return step_body(id=f"step-{number}", **changes)


def change(**detail: Any) -> dict[str, Any]:
    """A well-formed notification of EventBridge."""
    return execution_change(**detail)


def _refuse(respond: Any, code: str) -> Iterable[bytes]:
    body = {"__type": f"com.amazonaws.sqs#{code}", "message": "no"}
    return _respond(respond, "400 Bad Request", body)


def _respond(respond: Any, status: str, body: Any) -> Iterable[bytes]:
    respond(status, [("Content-Type", "application/x-amz-json-1.0")])
    return [json.dumps(body).encode()]
