"""EC2 and SQS as the machines meet them, in simulated time, with faults put in.

What EC2 says and does: its API reference, "StartInstances", "StopInstances", "DescribeInstances"
and the user guide's "Amazon EC2 instance state changes".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tests.machine.interpreter import Answer, Call

INSTANCE = "i-0123456789abcdef0"
PUBLISH = "arn:aws:states:::sqs:sendMessage"
EC2 = "arn:aws:states:::aws-sdk:ec2:"
NEVER_S = float("inf")
BECOMES = {"pending": "running", "stopping": "stopped", "shutting-down": "terminated"}

# What may become of one attempt. `slow` takes all the time that a task has; `unheard` does the
# work, and its answer is lost on the way.
Fault = Literal["none", "slow", "fails", "hangs", "unheard"]


@dataclass
class Instance:
    """One instance; `absent` is none. A passing state takes `passes_s`, then `becomes`."""

    state: str
    passes_s: float = 20
    becomes: Mapping[str, str] = field(default_factory=lambda: BECOMES)
    since_s: float = 0

    def at(self, now_s: float) -> str:
        if self.state in self.becomes and now_s >= self.since_s + self.passes_s:
            self.state, self.since_s = self.becomes[self.state], now_s
        return self.state

    def __call__(self, call: Call) -> Answer:
        before = self.at(call.at_s)
        match call.resource.removeprefix(EC2):
            case "describeInstances":
                (asked,) = call.arguments["InstanceIds"]
                if before == "absent" or asked != INSTANCE:
                    return refusal(f"The instance ID '{asked}' does not exist")
                told = [{"InstanceId": INSTANCE, "State": {"Name": before}}]
                return Answer({"Reservations": [{"Instances": told}]})
            case "startInstances":
                return self._turn(call, before, ("stopped", "pending"), "started")
            case "stopInstances":
                return self._turn(call, before, ("running", "stopping"), "stopped")
        raise AssertionError(call)

    def _turn(self, call: Call, before: str, turn: tuple[str, str], verb: str) -> Answer:
        """Turning what has turned already is no error."""
        assert call.arguments == {"InstanceIds": [INSTANCE]}
        start, passing = turn
        if before == start:
            self.state, self.since_s = passing, call.at_s
        elif before not in {passing, self.becomes.get(passing)}:
            return refusal(
                f"The instance '{INSTANCE}' is not in a state from which it can be {verb}."
            )
        told = [{"InstanceId": INSTANCE, "CurrentState": {"Name": self.state}}]
        return Answer({"StartingInstances" if verb == "started" else "StoppingInstances": told})


def refusal(words: str) -> Answer:
    """An error of EC2 as Step Functions tells it: without its code."""
    end = "(Service: Ec2, Status Code: 400, Request ID: 6b1c)"
    return Answer(error="Ec2.Ec2Exception", cause=f"{words} {end}")


@dataclass
class Queue:
    """A FIFO queue: a message that repeats a deduplication id is taken and not kept."""

    groups: set[str] = field(default_factory=set)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, call: Call) -> Answer:
        group, key = call.arguments["MessageGroupId"], call.arguments["MessageDeduplicationId"]
        # SQS API reference, SendMessage: up to 128 of these characters.
        assert all(
            0 < len(name) <= 128 and name.isascii() and name.isprintable() for name in (group, key)
        )
        assert " " not in group + key
        self.groups.add(group)
        self.kept.setdefault(key, call.arguments["MessageBody"])
        return Answer({"MessageId": key})

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.kept.values())


class World:
    """Both services; the attempts meet `faults` in turn, and none when those are used up.

    `error` and `cause` are EC2's, where it fails. `tried` has each attempt to publish, `arrived`
    says which of the numbered steps reached the queue.
    """

    def __init__(
        self,
        instance: Callable[[Call], Answer],
        *,
        faults: Iterable[Fault] = (),
        error: str = "Ec2.Ec2Exception",
        cause: str = "no answer",
    ) -> None:
        self.queue = Queue()
        self.tried: list[dict[str, Any]] = []
        self.arrived: set[int] = set()  # their seq
        self._instance, self._faults = instance, iter(faults)
        self._failure = Answer(error=error, cause=cause)

    def __call__(self, call: Call) -> Answer:
        publishes = call.resource == PUBLISH
        if publishes:
            self.tried.append(call.arguments["MessageBody"])
        fault = next(self._faults, "none")
        if fault == "hangs":
            return Answer(takes_s=NEVER_S)
        if fault == "fails":
            return Answer(error="SQS.SqsException") if publishes else self._failure
        answer = self.queue(call) if publishes else self._instance(call)
        if publishes:
            self.arrived.add(self.tried[-1]["execution"]["seq"])
        if fault == "unheard":
            return Answer(takes_s=NEVER_S)
        if fault == "slow":
            return replace(answer, takes_s=call.limit_s)
        return answer
