"""The part of the Amazon States Language that our machines use, strict where the emulator is lax.

Time is simulated: tasks, pauses and waits only move a clock. Sources, all in the Step Functions
developer guide: "Handling errors in Step Functions workflows" (Retry, Catch, error names),
"Passing data between states with variables" (Assign), "Accessing execution data from the Context
object", "Step Functions service quotas" (sizes), and the pages of the state types. What they
leave open is taken in the way that is worse for us.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from consumer.core.events import timestamp
from tests.machine.queries import Queries, StateError

Kind = Literal["express", "standard"]
State = dict[str, Any]

STARTED_MS = 1_750_000_000_000
MAX_PAYLOAD_BYTES = 262_144  # input, output and result of a state; all of one Assign
MAX_VARIABLES_BYTES = 10 * 1024 * 1024
MAX_STATES = 10_000  # a run that visits more is going round in circles
# Step Functions' own defaults of a retrier and of a task.
RETRIER = {"IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 2}
TASK_LIMIT_S = 99_999_999

FIELDS = {
    "Pass": {"Assign", "Output", "Next", "End"},
    "Choice": {"Choices", "Default", "Output"},
    "Task": {"Resource", "Arguments", "TimeoutSeconds", "Retry", "Catch"}
    | {"Assign", "Output", "Next", "End"},
    "Wait": {"Seconds", "Assign", "Output", "Next", "End"},
    "Succeed": {"Output"},
    "Fail": {"Error", "Cause"},
}


@dataclass(frozen=True)
class Call:
    """One attempt of a task."""

    state: str
    resource: str
    arguments: Any
    at_s: float
    limit_s: float


@dataclass(frozen=True)
class Answer:
    """What came of it, after `takes_s`; with an `error`, `result` means nothing."""

    result: Any = None
    error: str | None = None
    cause: str | None = None
    takes_s: float = 0


@dataclass
class Run:
    """What became of an execution. `faults`: (state, error) of each attempt that failed."""

    status: str = "RUNNING"
    output: Any = None
    error: str | None = None
    cause: str | None = None
    duration_s: float = 0
    visited: list[str] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Visit:
    name: str
    state: State
    states: dict[str, Any]  # $states


class TimedOut(Exception):
    """The machine's own TimeoutSeconds are over: nothing catches that."""


def matches(error: str, names: list[str]) -> bool:
    """Whether a retrier or catcher for `names` takes the error.

    The wildcards leave out States.DataLimitExceeded, which its own name takes, and
    States.Runtime, which nothing does; States.TaskFailed leaves out States.Timeout too.
    """
    if error == "States.Runtime":
        return False
    if error in names:
        return True
    if error == "States.DataLimitExceeded":
        return False
    return "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout")


def check_size(value: Any, most: int = MAX_PAYLOAD_BYTES) -> None:
    if len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) > most:
        raise StateError("States.DataLimitExceeded", f"more than {most} bytes")


class Execution:
    """One run of a definition; `service` answers its tasks."""

    def __init__(
        self, definition: State, kind: Kind, queries: Queries, service: Callable[[Call], Answer]
    ) -> None:
        assert definition["QueryLanguage"] == "JSONata"
        self._definition, self._queries, self._service = definition, queries, service
        self._express = kind == "express"
        self._variables: dict[str, Any] = {}
        self._now_s = 0.0
        self._run = Run()

    def run(self, given: Any) -> Run:
        run = self._run
        try:
            check_size(given)
            run.output = self._walk(given)
            run.status = "SUCCEEDED"
        except StateError as failure:
            run.status, run.error, run.cause = "FAILED", failure.error, failure.cause
        except TimedOut:
            run.status = "TIMED_OUT"
        run.duration_s = self._now_s
        return run

    def _walk(self, given: Any) -> Any:
        context = {"Execution": self._execution(given), "StateMachine": {"Name": "machine"}}
        name, value = self._definition["StartAt"], given
        while True:
            assert len(self._run.visited) < MAX_STATES, self._run.visited[-20:]
            self._run.visited.append(name)
            state = self._definition["States"][name]
            unknown = state.keys() - FIELDS[state["Type"]] - {"Type", "Comment"}
            assert not unknown, f"{name} has {unknown}, which this interpreter does not know"
            here = {"Name": name, "EnteredTime": timestamp(self._now_ms())}
            visit = Visit(name, state, {"input": value, "context": {**context, "State": here}})
            next_name, value = STATES[state["Type"]](self, visit)
            if next_name is None:
                return value
            name = next_name

    def _execution(self, given: Any) -> dict[str, Any]:
        """$states.context.Execution. RedriveCount: Express runs have none, or may have none."""
        kind = "express:machine:run:0f3d" if self._express else "execution:machine:run"
        told = {
            "Id": f"arn:aws:states:us-east-1:123456789012:{kind}",
            "Name": "run",
            "Input": given,
            "StartTime": timestamp(STARTED_MS),
        }
        return told if self._express else {**told, "RedriveCount": 0}

    def _now_ms(self) -> int:
        return STARTED_MS + round(self._now_s * 1000)

    def _pass_time(self, seconds: float) -> None:
        end_s = self._definition.get("TimeoutSeconds", TASK_LIMIT_S)
        self._now_s = min(self._now_s + seconds, end_s)
        if self._now_s == end_s:
            raise TimedOut

    def _fill(self, template: Any, visit: Visit, path: str, **also: Any) -> Any:
        variables = {**self._variables, "states": visit.states | also}
        return self._queries.fill(template, variables, self._now_ms(), path)

    def _leave(
        self, visit: Visit, way: Mapping[str, Any], path: str, default: Any, **also: Any
    ) -> tuple[str | None, Any]:
        """Go on by `way` (the state, a catcher or a rule), whose Assign and Output are evaluated
        side by side, from the variables as they were on entry.
        """
        assigned = self._fill(way.get("Assign", {}), visit, f"{path}/Assign", **also)
        output = default
        if "Output" in way:
            output = self._fill(way["Output"], visit, f"{path}/Output", **also)
        check_size(output)
        check_size(assigned)
        self._variables = {**self._variables, **assigned}
        check_size(self._variables, MAX_VARIABLES_BYTES)
        return way.get("Next"), output

    def _pass(self, visit: Visit) -> tuple[str | None, Any]:
        return self._leave(visit, visit.state, visit.name, visit.states["input"])

    def _wait(self, visit: Visit) -> tuple[str | None, Any]:
        seconds = self._fill(visit.state["Seconds"], visit, f"{visit.name}/Seconds")
        if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
            raise StateError("States.QueryEvaluationError", f"{visit.name} cannot wait {seconds}")
        self._pass_time(seconds)
        return self._pass(visit)

    def _choice(self, visit: Visit) -> tuple[str | None, Any]:
        """The first rule that holds. Its Assign alone counts: AWS's pages disagree about one of
        the state itself, so that has no place here.
        """
        state, given = visit.state, visit.states["input"]
        for number, rule in enumerate(state["Choices"]):
            path = f"{visit.name}/Choices/{number}"
            holds = self._fill(rule["Condition"], visit, f"{path}/Condition")
            if not isinstance(holds, bool):
                raise StateError("States.QueryEvaluationError", f"{path} is {holds!r}")
            if holds:
                return self._leave(visit, rule, path, given)
        if "Default" not in state:
            raise StateError("States.NoChoiceMatched", visit.name)
        return self._leave(visit, {**state, "Next": state["Default"]}, visit.name, given)

    def _task(self, visit: Visit) -> tuple[str | None, Any]:
        retries = Counter[int]()
        while True:
            try:
                result = self._attempt(visit)
                return self._leave(visit, visit.state, visit.name, result, result=result)
            except StateError as failure:
                self._run.faults.append((visit.name, failure.error))
                pause_s = self._pause_s(visit.state, failure.error, retries)
                if pause_s is None:
                    return self._catch(visit, failure)
                self._pass_time(pause_s)

    def _attempt(self, visit: Visit) -> Any:
        state, name = visit.state, visit.name
        arguments = self._fill(state.get("Arguments", {}), visit, f"{name}/Arguments")
        check_size(arguments)
        limit_s = state.get("TimeoutSeconds", TASK_LIMIT_S)
        limit_s = self._fill(limit_s, visit, f"{name}/TimeoutSeconds")
        answer = self._service(Call(name, state["Resource"], arguments, self._now_s, limit_s))
        self._pass_time(min(answer.takes_s, limit_s))
        if answer.takes_s > limit_s:
            raise StateError("States.Timeout")
        if answer.error is not None:
            raise StateError(answer.error, answer.cause)
        check_size(answer.result)
        return answer.result

    def _pause_s(self, state: State, error: str, retries: Counter[int]) -> float | None:
        """How long to wait before the next attempt; None when there is none.

        Each retrier counts for itself. Full jitter takes anything up to the pause: the longest.
        """
        for number, given in enumerate(state.get("Retry", ())):
            retrier = {**RETRIER, **given}
            if matches(error, retrier["ErrorEquals"]):
                if retries[number] >= retrier["MaxAttempts"]:
                    return None
                pause_s = retrier["IntervalSeconds"] * retrier["BackoffRate"] ** retries[number]
                retries[number] += 1
                return float(min(pause_s, retrier.get("MaxDelaySeconds", pause_s)))
        return None

    def _catch(self, visit: Visit, failure: StateError) -> tuple[str | None, Any]:
        """The first catcher that takes the error, which a timeout gives without a Cause."""
        told = {"Error": failure.error, "Cause": failure.cause}
        told = {key: value for key, value in told.items() if value is not None}
        for number, catcher in enumerate(visit.state.get("Catch", ())):
            if matches(failure.error, catcher["ErrorEquals"]):
                path = f"{visit.name}/Catch/{number}"
                return self._leave(visit, catcher, path, told, errorOutput=told)
        raise failure

    def _fail(self, visit: Visit) -> tuple[str | None, Any]:
        words = {key: visit.state[key] for key in ("Error", "Cause") if key in visit.state}
        words = self._fill(words, visit, visit.name)
        raise StateError(words.get("Error", ""), words.get("Cause"))


STATES: dict[str, Callable[[Execution, Visit], tuple[str | None, Any]]] = {
    "Pass": Execution._pass,
    "Succeed": Execution._pass,
    "Wait": Execution._wait,
    "Choice": Execution._choice,
    "Task": Execution._task,
    "Fail": Execution._fail,
}
