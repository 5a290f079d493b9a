"""Both machines, as deployed with the template's defaults, run by the interpreter."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.machine.interpreter import Answer, Call, Execution, Run
from tests.machine.node import Node
from tests.machine.queries import Queries
from tests.template.conftest import definition, definition_text, machine, template

__all__ = ["definition", "definition_text", "machine", "template"]

Play = Callable[[Any, Callable[[Call], Answer]], Run]


@pytest.fixture(scope="session")
def queries() -> Iterator[Queries]:
    with Node() as node:
        yield Queries(node)


@pytest.fixture(scope="session")
def play(queries: Queries, machine: dict[str, Any], definition: dict[str, Any]) -> Play:
    """Runs a machine with an input and the services that its tasks meet."""
    kind = machine["DefinitionSubstitutions"]["Machine"]
    return lambda given, service: Execution(definition, kind, queries, service).run(given)
