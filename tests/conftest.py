"""Which tests share a worker: `make test` runs several beside each other."""

from pathlib import Path

import pytest

TOGETHER = ("e2e",)  # folders whose modules share what is slow to start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module's tests stay together, for what it starts once; some folders' do."""
    for item in items:
        folder = item.path.parent
        group = folder if folder.name in TOGETHER else item.path
        item.add_marker(pytest.mark.xdist_group(str(Path(group).relative_to(item.config.rootpath))))
