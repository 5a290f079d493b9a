"""What the functions of the WebSocket API stand on, for one test each."""

from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from tests.lambdas.dynamo import Dynamo
from tests.lambdas.stand import CONNECTIONS, LOG, Stand


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def moto(credentials: None) -> Iterator[None]:
    """moto's AWS."""
    with mock_aws():
        yield


@pytest.fixture
def tables() -> Any:
    """A DynamoDB with both tables of the WebSocket API."""
    return Dynamo(LOG, CONNECTIONS)


@pytest.fixture
def stand(tables: Any) -> Stand:
    """Functions on empty tables."""
    return Stand(tables)
