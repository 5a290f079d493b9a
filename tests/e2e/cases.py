"""Runs of both machines with EC2's and SQS's answers chosen: what is put in, what must come out.

The emulator answers a state of such a run from a script (`answers`), visit by visit; the last
answer holds for all later visits. States without a script meet the emulator's own services.
"""

from dataclasses import dataclass, field
from typing import Any

from infra.local.places import ROOT

INSTANCE = "i-0123456789abcdef0"  # none of the emulator's own: every case scripts what EC2 says
DOCUMENT = ROOT / "docs/workflows.md"
MACHINES = ("express", "standard")
STATES = ("stopped", "running", "pending", "stopping", "shutting-down", "terminated", "absent")
ACTIONS = ("toggle", "start", "stop")

Answer = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """`told`: statuses in the queue, in order. `error` is None where the run succeeds."""

    name: str
    machine: str
    told: tuple[str, ...]
    action: str = "toggle"
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    error: str | None = None
    cause: str = ""
    changed: bool | None = None
    lost: tuple[int, ...] = ()
    body: Any = ...

    @property
    def input(self) -> Any:
        if self.body is not ...:
            return self.body
        return {"instance_id": INSTANCE, "action": self.action}


def instance(state: str, *, reason: str = "") -> Answer:
    """DescribeInstances' answer."""
    told: Answer = {"InstanceId": INSTANCE, "State": {"Name": state}}
    if reason:
        told["StateReason"] = {"Code": reason.partition(":")[0], "Message": reason}
    return {"Return": {"Reservations": [{"Instances": [told]}] if state != "absent" else []}}


def moved(member: str, state: str) -> Answer:
    """StartInstances' or StopInstances' answer."""
    return {"Return": {member: [{"InstanceId": INSTANCE, "CurrentState": {"Name": state}}]}}


def fault(cause: str, error: str = "Ec2.Ec2Exception") -> Answer:
    """An error as Step Functions words those of the AWS SDK for Java."""
    return {
        "Throw": {
            "Error": error,
            "Cause": f"{cause} (Service: Ec2, Status Code: 400, Request ID: 6b1c)",
        }
    }


LOST = {"Throw": {"Error": "SQS.SqsException", "Cause": "no answer"}}

STARTS = {
    "StartInstance": [moved("StartingInstances", "pending")],
    "VerifyInstance": [instance("pending"), instance("running")],
}
STOPS = {
    "StopInstance": [moved("StoppingInstances", "stopping")],
    "VerifyInstance": [instance("stopping"), instance("stopped")],
}


def steps(machine: str, *middle: str, end: str = "SUCCEEDED") -> tuple[str, ...]:
    """A run that does something: the Standard machine waits first and verifies afterwards."""
    first = ("WAITING",) if machine == "standard" else ()
    return (*first, "CHECKING", *middle, end)


def acting(machine: str, state: str) -> tuple[str, ...]:
    """The middle of a run that starts what is stopped, or stops what runs."""
    verb = "STARTING" if state == "stopped" else "STOPPING"
    return (verb, "VERIFYING") if machine == "standard" else (verb,)


def table_case(machine: str, state: str, action: str, happens: str) -> Case:
    """One field of the table of docs/workflows.md; `happens` is its text."""
    name = f"{state}-{action}"
    answers = {"DescribeInstance": [instance(state)]}
    lasting = {"pending": "running", "stopping": "stopped"}
    match happens:
        case "starts it" | "stops it":
            chosen = STARTS if state == "stopped" else STOPS
            told = steps(machine, *acting(machine, state))
            return Case(name, machine, told, action, answers | chosen, changed=True)
        case "no change":
            return Case(name, machine, steps(machine), action, answers, changed=False)
        case "waits, then starts it" | "waits, then stops it":
            then = lasting[state]
            answers = {"DescribeInstance": [instance(state), instance(then)]}
            told = steps(machine, "WAITING", *acting(machine, then))
            chosen = STARTS if then == "stopped" else STOPS
            return Case(name, machine, told, action, answers | chosen, changed=True)
        case "waits, then no change":
            answers = {"DescribeInstance": [instance(state), instance(lasting[state])]}
            return Case(name, machine, steps(machine, "WAITING"), action, answers, changed=False)
        case error:
            told = steps(machine, end="FAILED")
            cause = INSTANCE if error == "InstanceNotFound" else state
            return Case(name, machine, told, action, answers, error=error, cause=cause)


KEY = "The KMS key provided is in an incorrect state"
DENIED = "You are not authorized to perform this operation. User: arn:aws:sts::1:assumed-role/m/x"
CAPACITY = "We currently do not have sufficient t3.micro capacity in the Availability Zone"
THROTTLED = "Request limit exceeded."
CONFLICT = f"The instance '{INSTANCE}' is not in a state from which it can be started."
NEVER_RAN = f"Instance '{INSTANCE}' cannot be stopped as it has never reached the 'running' state."
PROTECTED = (
    f"The instance '{INSTANCE}' may not be stopped. Modify its 'disableApiStop' instance attribute"
)
GONE = f"The instance ID '{INSTANCE}' does not exist"

# What EC2 says → the name that the run ends with.
REFUSALS = {
    "denied": (fault(DENIED), "NotPermitted"),
    "denied-by-code": (fault("no", "Ec2.UnauthorizedOperation"), "NotPermitted"),
    "capacity": (fault(CAPACITY), "InsufficientCapacity"),
    "capacity-in-short": (fault("Insufficient capacity."), "InsufficientCapacity"),
    "capacity-by-code": (fault("no", "Ec2.InsufficientInstanceCapacity"), "InsufficientCapacity"),
    "key": (fault(KEY), "VolumeKeyUnusable"),
    "key-denied": (fault(f"{DENIED} ... kms:CreateGrant on the resource"), "VolumeKeyUnusable"),
    "throttled": (fault(THROTTLED), "RequestLimitExceeded"),
    "throttled-by-code": (fault("no", "Ec2.RequestLimitExceeded"), "RequestLimitExceeded"),
    "raced": (fault(CONFLICT), "InstanceStateConflict"),
    "never-ran": (fault(NEVER_RAN), "InstanceStateConflict"),
    "protected": (fault(PROTECTED), "NotPermitted"),
    "gone": (fault(GONE), "InstanceNotFound"),
    "other": (fault("Surprise"), "Ec2.Ec2Exception"),
}


def refusal_cases(machine: str) -> list[Case]:
    """EC2 says no: to looking, to starting, to stopping."""
    found = []
    for name, (answer, error) in REFUSALS.items():
        cause = answer["Throw"]["Cause"]
        for task, state, middle in (
            ("DescribeInstance", None, ()),
            ("StartInstance", "stopped", ("STARTING",)),
            ("StopInstance", "running", ("STOPPING",)),
        ):
            answers = {"DescribeInstance": [instance(state)]} if state else {}
            told = steps(machine, *middle, end="FAILED")
            answers[task] = [answer]
            found.append(
                Case(f"{task}-{name}", machine, told, answers=answers, error=error, cause=cause)
            )
    return found


def following_cases() -> list[Case]:
    """What a Standard run meets while it waits for the instance: EC2's waiter rules."""

    # A look is tried four times, and each may meet the next answer.
    def follow(name: str, start: bool, looks: list[Answer], **ends: Any) -> Case:
        state, task = ("stopped", "StartInstance") if start else ("running", "StopInstance")
        answers = {
            "DescribeInstance": [instance(state)],
            task: STARTS[task] if start else STOPS[task],
            "VerifyInstance": looks,
        }
        told = (*acting("standard", state), *ends.pop("also", ()))
        end = "FAILED" if "error" in ends else "SUCCEEDED"
        ends.setdefault("changed", None if "error" in ends else True)
        return Case(name, "standard", steps("standard", *told, end=end), answers=answers, **ends)

    conflict = {"error": "InstanceStateConflict"}
    late = {"error": "TargetStateTimeout"}
    blind = [fault(THROTTLED), instance("running")]
    key = instance("stopped", reason="Client.InternalError: Client error on launch")
    full = instance("stopped", reason="Server.InsufficientInstanceCapacity: no room")
    before = instance("stopped", reason="Client.UserInitiatedShutdown: User initiated shutdown")
    failing_starts = [
        follow(f"start-meets-{state}", True, [instance(state)], cause=state, **conflict)
        for state in ("stopping", "shutting-down", "terminated")
    ]
    failing_stops = [
        follow(f"stop-meets-{state}", False, [instance(state)], cause=state, **conflict)
        for state in ("pending", "terminated", "absent")
    ]
    return [
        *failing_starts,
        *failing_stops,
        follow("start-not-seen-yet", True, [before, instance("running")], also=["VERIFYING"]),
        follow(
            "start-unknown-for-a-moment",
            True,
            [instance("absent"), instance("running")],
            also=["VERIFYING"],
        ),
        follow("one-look-fails", True, blind),
        follow(
            "key-fails-late",
            True,
            [key],
            also=["VERIFYING"],
            error="VolumeKeyUnusable",
            cause="Client error",
        ),
        follow(
            "no-room-after-all",
            True,
            [full],
            also=["VERIFYING"],
            error="InsufficientCapacity",
            cause="no room",
        ),
        follow(
            "stopped-again-meanwhile",
            True,
            [before],
            also=["VERIFYING"],
            cause="User initiated",
            **conflict,
        ),
        follow(
            "started-again-meanwhile",
            False,
            [instance("running")],
            also=["VERIFYING"],
            cause="is running",
            **conflict,
        ),
        follow(
            "seen-once-is-not-twice",
            True,
            [before, *[fault(THROTTLED)] * 4, instance("running")],
            also=["VERIFYING"],
        ),
        follow("stop-meets-nothing", False, [fault(GONE)], error="InstanceNotFound", cause=GONE),
        follow(
            "start-finds-nothing-for-a-moment",
            True,
            [*[fault(GONE)] * 4, instance("running")],
            also=["VERIFYING"],
        ),
        follow(
            "an-older-failure-still-shows", True, [key, instance("running")], also=["VERIFYING"]
        ),
        follow("start-takes-too-long", True, [instance("pending")], cause="still pending", **late),
        follow("stop-takes-too-long", False, [instance("stopping")], cause="still stop", **late),
        follow("blind-to-the-end", True, [fault(THROTTLED)], cause=THROTTLED, **late),
        follow(
            "a-stop-that-reverses",
            False,
            [instance("running"), instance("stopped")],
            also=["VERIFYING"],
        ),
    ]


def passing_cases() -> list[Case]:
    """What a Standard run meets while it waits for a passing state to pass."""

    def passing(name: str, looks: list[Answer], *middle: str, **rest: Any) -> Case:
        end = "FAILED" if "error" in rest else "SUCCEEDED"
        told = steps("standard", *middle, end=end)
        return Case(name, "standard", told, answers={"DescribeInstance": looks}, **rest)

    flapping = [instance(state) for state in ("pending", "pending", "stopping", "stopped")]
    return [
        passing(
            "stays-pending",
            [instance("pending")],
            "WAITING",
            action="stop",
            error="TargetStateTimeout",
            cause="still pending",
        ),
        passing(
            "turns-while-we-wait", flapping, "WAITING", "WAITING", action="stop", changed=False
        ),
        passing(
            "ends-while-we-wait",
            [instance("pending"), instance("terminated")],
            "WAITING",
            action="start",
            error="InstanceStateConflict",
            cause="terminated",
        ),
    ]


def mute_cases(machine: str) -> list[Case]:
    """No publish gets through, and the work goes on as if all had."""
    silent = {
        f"Publish{name}": [LOST]
        for name in (
            *("Waiting", "Checking", "PassingState", "Starting", "Stopping"),
            *("Verifying", "Succeeded", "Failed"),
        )
    }
    found = []
    for state in ("stopped", "running", "terminated"):
        acts = state != "terminated"
        chosen = (STARTS if state == "stopped" else STOPS) if acts else {}
        answers = {"DescribeInstance": [instance(state)]} | chosen
        middle = acting(machine, state) if acts else ()
        lost = tuple(range(1, len(steps(machine, *middle)) + 1))
        ends: dict[str, Any] = {"changed": True} if acts else {"error": "InstanceStateConflict"}
        found.append(
            Case(f"mute-{state}", machine, (), answers=answers | silent, lost=lost, **ends)
        )
    one = {"DescribeInstance": [instance("stopped")]} | STARTS | {"PublishStarting": [LOST]}
    told = tuple(status for status in steps(machine, *acting(machine, "stopped")))
    hole = told.index("STARTING") + 1
    told = tuple(status for status in told if status != "STARTING")
    found.append(Case("one-lost", machine, told, answers=one, lost=(hole,), changed=True))
    return found


def mute_while_waiting() -> Case:
    """The one publish step that the others do not pass."""
    answers = {
        "DescribeInstance": [instance("stopping"), instance("stopped")],
        "PublishPassingState": [LOST],
    }
    told = steps("standard", "WAITING")
    hole = 3
    kept = tuple(status for number, status in enumerate(told, 1) if number != hole)
    return Case("mute-waiting", "standard", kept, "stop", answers, changed=False, lost=(hole,))


def bad_input_cases(machine: str) -> list[Case]:
    """What reaches a machine by another way than the REST API is checked again."""
    bodies: dict[str, Any] = {
        "list": [],
        "text": "i-0123456789abcdef0",
        "number": {"instance_id": 5},
        "long": {"instance_id": INSTANCE + "\n"},
        "upper": {"instance_id": "i-ABCDEF12"},
        "action": {"instance_id": INSTANCE, "action": "reboot"},
        "null": {"instance_id": INSTANCE, "action": None},
        "huge": {"instance_id": INSTANCE, "note": "é" * 60_000},
    }
    return [
        Case(f"bad-{name}", machine, ("FAILED",), error="InvalidInput", body=body)
        for name, body in bodies.items()
    ]


def fault_cases() -> list[Case]:
    """All but the table of docs/workflows.md."""
    return [
        *following_cases(),
        *passing_cases(),
        mute_while_waiting(),
        *(case for machine in MACHINES for case in refusal_cases(machine)),
        *(case for machine in MACHINES for case in mute_cases(machine)),
        *(case for machine in MACHINES for case in bad_input_cases(machine)),
    ]


def documented_table(machine: str) -> dict[tuple[str, str], str]:
    """(state, action) → what happens, as docs/workflows.md says it."""
    section = DOCUMENT.read_text().split(f"### {machine.capitalize()}\n")[1].split("\n#")[0]
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    return {
        (row[0], action): happens
        for row in rows
        for action, happens in zip(ACTIONS, row[1:], strict=True)
    }


def table_cases() -> list[Case]:
    return [
        table_case(machine, state, action, documented_table(machine)[state, action])
        for machine in MACHINES
        for state in STATES
        for action in ACTIONS
    ]


CASES = {f"{case.machine}-{case.name}": case for case in (*table_cases(), *fault_cases())}
