"""Grants: what a signed token's claims let its bearer watch."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core import grant
from consumer.core.grant import EVERYTHING, BadClaims, Grant, Terms
from tests.core import examples

NOW_S = 1_800_000_000.0
TERMS = Terms(issuer="statuswire", audience="stack-1")
STANDARD = "execution:arn:aws:states:us-east-1:123456789012:execution:machine:run-1"
EXPRESS = "execution:arn:aws:states:us-east-1:123456789012:express:machine:run-1:5cf2"


def claims(**changed: Any) -> dict[str, Any]:
    """Good ones, but for what is changed; `None` takes one out."""
    good = {
        "iss": "statuswire", "aud": "stack-1", "watch": ["machine:express"],
        "iat": NOW_S - 60, "nbf": NOW_S - 60, "exp": NOW_S + 60,
    }  # fmt: skip
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def test_good_claims_grant_what_they_list_until_they_expire() -> None:
    """Patterns and end, as the token says."""
    assert TERMS.grant(claims(), NOW_S) == Grant(frozenset({"machine:express"}), NOW_S + 60)


def test_the_claim_with_the_patterns_has_the_name_of_the_setting() -> None:
    """Providers put their own claims under names of their own."""
    terms = Terms(issuer="statuswire", audience="stack-1", watch_claim="https://example.com/w")
    asked = claims(**{"https://example.com/w": ["*"]})
    assert terms.grant(asked, NOW_S).watch == {"*"}


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_need_not_say_when_it_began(name: str) -> None:
    """Only its end is required."""
    assert TERMS.grant(claims(**{name: None}), NOW_S)


def test_an_audience_among_several_is_enough() -> None:
    """RFC 7519, section 4.1.3: `aud` may be a list."""
    assert TERMS.grant(claims(aud=["other", "stack-1"]), NOW_S)


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_clock_may_be_a_little_ahead(name: str) -> None:
    """Of the machine that issued the token."""
    assert TERMS.grant(claims(**{name: NOW_S + grant.MAX_SKEW_S}), NOW_S)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": None}, {"iss": "other"}, {"iss": ["statuswire"]}, {"iss": True},
        {"aud": None}, {"aud": "stack-2"}, {"aud": "stack"}, {"aud": []}, {"aud": ["stack-2"]},
        {"aud": {"stack-1": 1}}, {"aud": [["stack-1"]]}, {"aud": 1},
        {"exp": None}, {"exp": NOW_S}, {"exp": NOW_S - 1}, {"exp": "1900000000"}, {"exp": True},
        {"exp": math.nan}, {"exp": math.inf}, {"exp": 10**400}, {"exp": -1}, {"exp": [1]},
        {"exp": NOW_S + grant.MAX_LIFETIME_S + grant.MAX_SKEW_S + 1},
        {"nbf": NOW_S + grant.MAX_SKEW_S + 1}, {"nbf": True}, {"nbf": "0"}, {"nbf": -math.inf},
        {"nbf": math.nan}, {"iat": NOW_S + grant.MAX_SKEW_S + 1}, {"iat": False}, {"iat": {}},
        {"iat": 10**400},
        {"watch": None}, {"watch": []}, {"watch": "*"}, {"watch": {"*": 1}}, {"watch": [1]},
        {"watch": [["*"]]}, {"watch": ["*", "instance:i-1"]}, {"watch": ["*\n"]},
        {"watch": ["*"] * 65},
    ],
)  # fmt: skip
def test_other_claims_grant_nothing(changed: dict[str, Any]) -> None:
    """One that is missing, wrong, of another type or out of bounds is enough."""
    with pytest.raises(BadClaims):
        TERMS.grant(claims(**changed), NOW_S)


def test_a_time_that_is_null_is_none() -> None:
    """It is there, so it counts."""
    with pytest.raises(BadClaims):
        TERMS.grant(claims() | {"nbf": None}, NOW_S)


def test_what_is_refused_is_not_repeated() -> None:
    """The reason names the claim; its value may be somebody's."""
    with pytest.raises(BadClaims) as caught:
        TERMS.grant(claims(aud="PRIVATE"), NOW_S)
    assert "aud" in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


def test_a_grant_ends_when_its_token_does() -> None:
    """At that instant, with no leeway."""
    granted = Grant(frozenset({"*"}), NOW_S)
    assert not granted.has_expired(NOW_S - 0.001)
    assert granted.has_expired(NOW_S)


def test_without_tokens_everything_is_granted_for_ever() -> None:
    """Of a server on loopback."""
    assert not EVERYTHING.has_expired(NOW_S)
    assert EVERYTHING.refused(["*", STANDARD, "machine:express"]) == []


@pytest.mark.parametrize(
    ("granted", "asked"),
    [
        ("*", "*"),
        ("*", f"instance:{examples.INSTANCE}"),
        ("machine:express", "machine:express"),
        (f"instance:{examples.INSTANCE}", f"instance:{examples.INSTANCE}"),
        ("execution:run-1", "execution:run-1"),
        ("execution:run-1", STANDARD),
        ("execution:run-1", EXPRESS),
        (STANDARD, STANDARD),
        ("machine:standard", STANDARD),
        ("machine:express", EXPRESS),
    ],
)
def test_a_pattern_is_covered_by_itself_and_by_wider_ones(granted: str, asked: str) -> None:
    """An execution's ARN also by its name and by its machine's type."""
    assert Grant(frozenset({granted}), None).refused([asked]) == []


@pytest.mark.parametrize(
    ("granted", "asked"),
    [
        ("machine:express", "*"),
        ("machine:express", "machine:standard"),
        ("machine:express", STANDARD),
        ("machine:standard", EXPRESS),
        ("machine:standard", f"instance:{examples.INSTANCE}"),
        ("execution:run-2", STANDARD),
        ("execution:machine", STANDARD),
        ("execution:5cf2", EXPRESS),
        (STANDARD, "execution:run-1"),
        (STANDARD, EXPRESS),
        (f"instance:{examples.INSTANCE}", "instance:i-12345678"),
    ],
)
def test_no_pattern_is_covered_by_a_narrower_or_another_one(granted: str, asked: str) -> None:
    """An ARN is not the name of every run of that name."""
    assert Grant(frozenset({granted}), None).refused([asked]) == [asked]


def test_each_pattern_is_judged_by_itself() -> None:
    """Those that are refused are named, and only those."""
    granted = Grant(frozenset({"machine:express", "execution:run-1"}), None)
    assert granted.refused(["*", "machine:express", STANDARD, "execution:x"]) == [
        "*",
        "execution:x",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(claims())), JSON)
def test_a_claim_of_any_shape_is_taken_or_refused(name: str, value: Any) -> None:
    """Nothing but `BadClaims` is raised."""
    try:
        TERMS.grant(claims() | {name: value}, NOW_S)
    except BadClaims:
        return
    assert name != "exp" or NOW_S < value <= NOW_S + grant.MAX_LIFETIME_S + grant.MAX_SKEW_S
