"""Signature Version 4: ours is botocore's, byte for byte."""

import os
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.edges.signature import Signer

URLS = [
    "https://sqs.eu-west-1.amazonaws.com",
    "https://sqs-fips.us-gov-west-1.amazonaws.com/",
    "https://sqs.cn-north-1.amazonaws.com.cn",
    "http://127.0.0.1:4566",
    "http://[::1]:4566/under/a path/./x/../%2F",
    "https://vpce-0a1b.sqs.us-east-1.vpce.amazonaws.com:8443/~a",
]
WORD = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40)
CREDENTIALS = st.builds(
    ReadOnlyCredentials,
    WORD,
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=60),
    st.none() | WORD,
)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001  # UTC is added
HEADERS = {"content-type": "application/x-amz-json-1.0", "x-amzn-query-mode": "true"}


class Case:
    """A request that is signed by both."""

    def __init__(self, url: str, region: str, target: str, body: bytes, now: datetime) -> None:
        self.url, self.region, self.target, self.body, self.now = url, region, target, body, now

    def botocores(self, credentials: Any) -> dict[str, str]:
        asked = AWSRequest(
            "POST", self.url, {**HEADERS, "x-amz-target": self.target}, data=self.body
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(auth, "get_current_datetime", lambda: self.now)
            auth.SigV4Auth(credentials, "sqs", self.region).add_auth(asked)
        return {name.lower(): value for name, value in asked.headers.items()}


CASES = st.builds(
    Case,
    st.sampled_from(URLS),
    WORD,
    WORD.map("AmazonSQS.%s{}".format),
    st.binary(min_size=1, max_size=200),
    MOMENTS,
)


@settings(max_examples=1_000 if os.environ.get("LONG") else 100, deadline=None)
@given(st.lists(st.tuples(CASES, CREDENTIALS), min_size=10, max_size=10))
def test_every_signature_is_botocores(signed: list[tuple[Case, ReadOnlyCredentials]]) -> None:
    """1,000 requests, 10,000 in long mode; temporary credentials, those that are renewed and days
    that end among them: the ten of an example are signed by one signer.
    """
    url, region, target = signed[0][0].url, signed[0][0].region, signed[0][0].target
    signer = Signer(url, region, "sqs", {**HEADERS, "x-amz-target": target})
    for case, credentials in signed:
        case.url, case.region, case.target = url, region, target
        now_s = case.now.replace(tzinfo=UTC).timestamp()
        ours = {**signer.fixed, **signer.headers(case.body, credentials, now_s)}
        assert {**ours, "host": None} == {**case.botocores(credentials), "host": None}


def test_a_key_is_of_its_day_and_its_secret() -> None:
    """Deriving it takes four hashes, so it is kept; never for another's secret."""
    signer = Signer(URLS[0], "eu-west-1", "sqs", HEADERS)
    signatures = {
        signer.headers(b"", SimpleNamespace(access_key="a", secret_key=key, token=None), day)[
            "authorization"
        ]
        for key in ("one", "two")
        for day in (0, 86_399, 86_400)
    }
    assert len(signatures) == 6
