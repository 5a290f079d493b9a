"""A trial: a copy of the sources with one thing broken, and whether its tests there turn red."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

from tests.breaks.catalogue import Break

SOURCES: Final = ("consumer", "infra", "tests", "pyproject.toml")
# The product is installed as editable: were that one imported, no break would be seen.
PLAY: Final = """
import pathlib, sys, consumer, pytest
if pathlib.Path(consumer.__file__).parents[1] != pathlib.Path.cwd():
    sys.exit(f"it would play another consumer: {consumer.__file__}")
sys.exit(pytest.main(sys.argv[1:]))
"""
# To import schemathesis' plugin, which none of these tests needs, takes half of the time.
WITHOUT: Final = ("-p", "no:cacheprovider", "-p", "no:schemathesis")
TEST_S: Final = 60  # a break may make a test wait for ever


class Unplayable(Exception):
    """The tests did not run to their end. Whoever wrote the break must look."""


class Played(NamedTuple):
    """Of the tests that were asked for, those that failed, and those of which all passed."""

    red: list[str]
    green: list[str]


@contextmanager
def copied(root: Path) -> Iterator[Path]:
    """A copy of the sources, gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="break-") as folder:
        tree = Path(folder).resolve()
        for name in SOURCES:
            if (source := root / name).is_dir():
                shutil.copytree(source, tree / name)
            else:
                shutil.copy(source, tree / name)
        yield tree


def play(tree: Path, tests: Sequence[str]) -> Played:
    """Run tests in a copy. Raises `Unplayable`."""
    report = tree / "report.xml"
    options = ("-q", *WITHOUT, f"--timeout={TEST_S}", f"--junitxml={report}")
    done = subprocess.run(
        [sys.executable, "-c", PLAY, *options, "-o", "junit_family=xunit1", *tests],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode > 1 or not report.exists():  # 1: some failed (pytest's "Exit codes")
        raise Unplayable(f"{done.stdout}{done.stderr}")
    outcomes = list(_outcomes(report))
    red, green = [], []
    for test in tests:
        found = {kind for name, kind in outcomes if name == test or name.startswith(f"{test}[")}
        red += [test] * bool(found & {"failure", "error"})
        green += [test] * (found == {"passed"})
    return Played(red, green)


def _outcomes(report: Path) -> Iterator[tuple[str, str]]:
    """Node ids, and `passed`, `failure`, `error` or `skipped`."""
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # our own
        kinds = {part.tag for part in case} & {"failure", "error", "skipped"}
        for kind in kinds or {"passed"}:
            yield f"{case.get('file')}::{case.get('name')}", kind


def break_and_play(root: Path, one: Break) -> Played:
    """Its tests, with the break. Raises `Unplayable`."""
    with copied(root) as tree:
        file = tree / one.file
        file.write_text(one.broken(file.read_text()))
        return play(tree, one.red)


def try_all(
    root: Path, breaks: Sequence[Break], say: Callable[[str], None], *, jobs: int = 1
) -> bool:
    """Whether each break turns all its tests red, which all are green without it."""
    tests = list(dict.fromkeys(test for one in breaks for test in one.red))
    with copied(root) as tree:
        green = play(tree, tests).green
    if not_green := [test for test in tests if test not in green]:
        say(f"NOT GREEN WITHOUT ANY BREAK: {', '.join(not_green)}")
        return False
    are_noticed = True
    with ThreadPoolExecutor(jobs) as pool:
        trials = [pool.submit(break_and_play, root, one) for one in breaks]
        for one, trial in zip(breaks, trials, strict=True):
            try:
                red = trial.result().red
            except Unplayable as error:
                say(f"NOT PLAYED: {one.name}: {error}")
                are_noticed = False
                continue
            if unmoved := [test for test in one.red if test not in red]:
                say(f"NOT NOTICED: {one.name}, by {', '.join(unmoved)}")
                are_noticed = False
            else:
                say(f"{one.name}: red, by {', '.join(red)}")
    return are_noticed
