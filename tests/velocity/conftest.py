"""The real Apache Velocity, in the long mode alone: it needs a JDK."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.lines import Lines

collect_ignore_glob = [] if "LONG" in os.environ else ["test_*.py"]

PACKAGES = "default-jdk-headless velocity libgoogle-gson-java"
JARS = [
    Path("/usr/share/java") / f"{name}.jar"
    for name in ("velocity", "commons-collections3", "commons-lang", "gson")
]


@pytest.fixture(scope="session")
def velocity() -> Iterator[Lines]:
    """Answers {template, body} with {text, status, headers}, or with {problem}."""
    java = shutil.which("java")
    if java is None or not all(jar.exists() for jar in JARS):
        pytest.fail(f"The long mode needs Apache Velocity: apt-get install {PACKAGES}")
    program = Path(__file__).with_name("Render.java")
    with Lines([java, "-cp", ":".join(map(str, JARS)), program]) as process:
        yield process
