"""JSONata in a state machine's fields, as Step Functions evaluates it.

Sources: Step Functions developer guide, "Transforming data with JSONata in Step Functions" and
"Passing data between states with variables".
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from tests.machine.node import Node

# JSONata 2.0.6 without $eval, which Step Functions leaves out.
FUNCTIONS = frozenset(
    """
    abs append assert average base64decode base64encode boolean ceil contains count
    decodeUrl decodeUrlComponent distinct each encodeUrl encodeUrlComponent error exists filter
    floor formatBase formatInteger formatNumber fromMillis join keys length lookup lowercase map
    match max merge millis min not now number pad parseInteger power random reduce replace reverse
    round shuffle sift single sort split spread sqrt string substring substringAfter
    substringBefore sum toMillis trim type uppercase zip
    """.split()  # noqa: SIM905 - as a list, it would fill a page
)


class StateError(Exception):
    """What a state fails with. `cause` is None where Step Functions gives none."""

    def __init__(self, error: str, cause: str | None = None) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


def expressions(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, JSONata) of each string in `{% %}`, which must be its very first and last signs."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from expressions(item, f"{path}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from expressions(item, f"{path}/{index}")
    elif isinstance(value, str) and value.startswith("{%") and value.endswith("%}"):
        yield path, value[2:-2].strip()


def _replaced(value: Any, path: str, results: Mapping[str, Any]) -> Any:
    if path in results:
        return results[path]
    if isinstance(value, dict):
        return {key: _replaced(item, f"{path}/{key}", results) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, f"{path}/{i}", results) for i, item in enumerate(value)]
    return value


class Queries:
    """Evaluates with the real JSONata; the clock is the caller's."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._names = cache(self._ask_names)

    def _ask_names(self, text: str) -> frozenset[str]:
        (answer,) = self._node.ask(do="compile", texts=[text])
        if "problem" in answer:
            raise StateError("States.QueryEvaluationError", f"{text}: {answer['problem']}")
        return frozenset(answer["names"])

    def fill(self, template: Any, variables: Mapping[str, Any], now_ms: int, path: str) -> Any:
        """`template` with each expression replaced by its value.

        Raises StateError where one yields nothing; its words are those recorded from AWS. Stricter
        than AWS: a variable that no state has assigned is an error wherever it stands.
        """
        found = dict(expressions(template, path))
        for place, text in found.items():
            unknown = self._names(text) - FUNCTIONS - variables.keys()
            if unknown:
                raise StateError(
                    "States.QueryEvaluationError", f"{place}: nothing is called {sorted(unknown)}"
                )
        if not found:
            return template
        answers = self._node.ask(
            do="evaluate", texts=list(found.values()), variables=variables, now_ms=now_ms
        )
        for (place, text), answer in zip(found.items(), answers, strict=True):
            if "value" not in answer:
                problem = answer.get("problem", "returned nothing (undefined)")
                raise StateError(
                    "States.QueryEvaluationError",
                    f"The JSONata expression '{text}' specified for the field '{place}' {problem}.",
                )
        values = (answer["value"] for answer in answers)
        return _replaced(template, path, dict(zip(found, values, strict=True)))
