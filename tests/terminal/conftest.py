"""A real server for the viewer's commands, fed by hand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.edges.conftest import Service, serving


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path) as service:
        yield service
