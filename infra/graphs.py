"""consumer/dashboard/machines.json: each machine's graph, made from what is deployed.

The dashboard draws it. It goes with the consumer, which is deployed apart from the stack, and it
holds names and arrows only: nothing of queues, expressions or retries. A state machine is one
definition for both machines, so what one of them can never reach is left out of its graph.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
DEFINITION: Final = ROOT / "statemachines/instance.asl.json"
WRITTEN: Final = ROOT / "consumer/dashboard/machines.json"
MACHINES: Final = ("standard", "express")

_PLACEHOLDER: Final = re.compile(r"\$\{(\w+)\}")
# A condition that the deployment decides: on the machine's name, alone or before others.
_DECIDED: Final = re.compile(r"\{% '(\w+)' = '(\w+)'( and .*)? %\}", re.DOTALL)

State = dict[str, Any]
Arrow = dict[str, str]


def graphs(text: str) -> dict[str, Any]:
    """Machine → `{"startAt", "states": [{"name", "type", "tells", "next": [{"to", "by"}]}]}`.

    `tells` is the status that the state publishes, or null; `by` is next, choice, default or catch.
    What is inside a Parallel or Map state is not looked at. Raises `KeyError` where the definition
    names a state that it does not have.
    """
    return {name: _graph(_rendered(text, name)) for name in MACHINES}


def _rendered(text: str, machine: str) -> dict[str, Any]:
    """The definition with its machine's name; any number will do for what else is filled in."""
    filled = _PLACEHOLDER.sub(lambda match: machine if match[1] == "Machine" else "1", text)
    definition: dict[str, Any] = json.loads(filled)
    return definition


def _graph(definition: dict[str, Any]) -> dict[str, Any]:
    states = definition["States"]
    arrows: dict[str, list[Arrow]] = {}
    waiting = [definition["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name not in arrows:
            arrows[name] = _distinct(_arrows(states[name]))
            waiting += [arrow["to"] for arrow in arrows[name]]
    return {
        "startAt": definition["StartAt"],
        "states": [
            {"name": name, "type": state["Type"], "tells": _told(state), "next": arrows[name]}
            for name, state in states.items()
            if name in arrows
        ],
    }


def _arrows(state: State) -> Iterator[Arrow]:
    for choice in state.get("Choices", ()):
        decided = _DECIDED.fullmatch(choice["Condition"])
        if decided is None or decided[1] == decided[2]:
            yield {"to": choice["Next"], "by": "choice"}
        if decided is not None and decided[1] == decided[2] and decided[3] is None:
            return  # always so: what stands below it is never looked at
    if "Default" in state:
        yield {"to": state["Default"], "by": "default"}
    if "Next" in state:
        yield {"to": state["Next"], "by": "next"}
    for caught in state.get("Catch", ()):
        yield {"to": caught["Next"], "by": "catch"}


def _distinct(arrows: Iterator[Arrow]) -> list[Arrow]:
    """One arrow to each state: the first, so that a caught error that goes on as usual is none."""
    first: dict[str, Arrow] = {}
    for arrow in arrows:
        first.setdefault(arrow["to"], arrow)
    return list(first.values())


def _told(state: State) -> str | None:
    if state.get("Resource") != "arn:aws:states:::sqs:sendMessage":
        return None
    status: str = state["Arguments"]["MessageBody"]["status"]
    return status


def expand() -> str:
    """What consumer/dashboard/machines.json must be."""
    return json.dumps(graphs(DEFINITION.read_text()), indent=1) + "\n"


if __name__ == "__main__":
    WRITTEN.write_text(expand())
