"""The JavaScript example of docs/clients.md as it stands there: run by Node, read by TypeScript."""

import asyncio
import re
from pathlib import Path
from typing import Final

import pytest

from tests.conformance.consumer import serving
from tests.conformance.node import MODULES, NODE
from tests.conformance.stories import Run

ROOT: Final = Path(__file__).parents[2]
CLIENT: Final = ROOT / "consumer" / "dashboard"
ADDRESS: Final = "ws://127.0.0.1:8080/v1/status"
PATIENCE_S: Final = 30.0
(EXAMPLE,) = re.findall(r"```js\n(.*?)```", (ROOT / "docs/clients.md").read_text(), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One with the client in it, as whoever takes it has it."""
    folder = tmp_path / "page"
    folder.mkdir()
    for name in ("statuswire.js", "statuswire.d.ts"):
        (folder / name).write_text((CLIENT / name).read_text())
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


async def test_the_example_runs(folder: Path, tmp_path: Path) -> None:
    """It tells what is known, and each step."""
    run = Run()
    async with serving(tmp_path, asks=False) as consumer:
        program = folder / "example.js"
        program.write_text(EXAMPLE.replace(ADDRESS, consumer.url))
        process = await asyncio.create_subprocess_exec(
            NODE, program, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            told = [await process.stdout.readline()]
            await consumer.publish(run.step("CHECKING"), run.step("SUCCEEDED"))
            told += [await process.stdout.readline() for _ in range(2)]
        process.kill()
        await process.communicate()
    known, first, last = [line.decode().strip() for line in told]
    assert known == "0 executions are known"
    assert (first, last) == (f"{run.name} CHECKING", f"{run.name} SUCCEEDED")


MORE: Final = """
const other = new StatusStream("ws://host/v1/status", {
  token: async (refusal) => (refusal?.wasOpen ? null : "token"),
  on: (item) => item.type === "stopped" && console.error(item.error.code),
  since: stream.cursor,
});
other.open();
"""
PROGRAMS: Final = {
    "as_it_stands": EXAMPLE + MORE,
    "another_items_field": EXAMPLE.replace("item.late", "item.count"),
    "another_option": EXAMPLE.replace("watch:", "wtach:"),
}


async def test_the_types_fit_the_example(folder: Path) -> None:
    """TypeScript, at its strictest, takes the example and more; and nothing that is wrong."""
    for name, program in PROGRAMS.items():
        (folder / f"{name}.ts").write_text(program)
    process = await asyncio.create_subprocess_exec(
        *(NODE, MODULES / "typescript/bin/tsc", "--noEmit", "--strict", "--skipDefaultLibCheck"),
        *("--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"),
        *(f"{name}.ts" for name in PROGRAMS),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    complaints = re.findall(
        r"^(\w+)\.ts.* error TS\d+: .*(count|wtach)", output.decode(), re.MULTILINE
    )
    assert complaints == [("another_items_field", "count"), ("another_option", "wtach")]
    assert output.count(b"error") == 2


def test_the_types_name_what_the_module_has() -> None:
    """Its exports, the streams' members, and every type of item."""
    code = (CLIENT / "statuswire.js").read_text()
    types = (CLIENT / "statuswire.d.ts").read_text()
    exports = r"export class (\w+)"
    assert re.findall(exports, code) == re.findall(exports, types)
    _, _, members = code.partition("export class StatusStream")
    of_code = set(re.findall(r"^  (?:get |async )?([a-z]\w+)\(", members, re.MULTILINE))
    _, _, members = types.partition("export class StatusStream")
    of_types = set(re.findall(r"^  (?:readonly )?([a-z]\w+)[(:]", members, re.MULTILINE))
    assert of_code == of_types
    item = r'\{\s*type: "(\w+)"'
    assert set(re.findall(item, code)) - {"live"} == set(re.findall(item, types)) - {"live"}
