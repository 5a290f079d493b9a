"""What exists for Node only: JSONata 2.0.6, which Step Functions runs, and two validators."""

import sys
from pathlib import Path

from tests.machine.lines import Lines

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".venv-node/node_modules"


class Node(Lines):
    """node.js, whose functions are asked for by name: `ask(do=…, …)`."""

    def __init__(self) -> None:
        assert MODULES.is_dir(), "make .venv-node/.installed sets this up"
        program = Path(__file__).with_suffix(".js")
        super().__init__(
            [Path(sys.executable).with_name("node"), program], {"NODE_PATH": str(MODULES)}
        )
