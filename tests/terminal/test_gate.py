"""Who may use the dashboard of this machine."""

from typing import Final

import pytest

from consumer.terminal.gate import Gate, new_host

HOST: Final = "statuswire-0123456789abcdef.localhost"


@pytest.fixture
def gate() -> Gate:
    return Gate(HOST, 4321)


def right(gate: Gate, **changes: str | None) -> dict[str, str]:
    """The headers of the page itself, once it was let in."""
    cookie = gate.enter({"Host": gate.authority}, gate.key)
    assert cookie is not None
    headers: dict[str, str | None] = {
        "Host": gate.authority,
        "Origin": gate.origin,
        "Sec-Fetch-Site": "same-origin",
        "Cookie": f"other=1; {cookie.split(';')[0]}",
        **changes,
    }
    return {name: value for name, value in headers.items() if value is not None}


def test_who_brought_the_key_is_let_in(gate: Gate) -> None:
    """The page may read, and change things."""
    headers = right(gate)
    assert gate.refusal(headers, changes=False) is None
    assert gate.refusal(headers, changes=True) is None


def test_the_cookie_is_for_this_page_alone(gate: Gate) -> None:
    """No script reads it, and no other site's request carries it."""
    cookie = gate.enter({"Host": gate.authority}, gate.key)
    assert cookie is not None
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")
    assert gate.key not in cookie


def test_the_key_works_once(gate: Gate) -> None:
    """Who finds the file later comes too late."""
    assert gate.enter({"Host": gate.authority}, gate.key)
    assert gate.enter({"Host": gate.authority}, gate.key) is None


@pytest.mark.parametrize(("host", "key"), [(None, ""), (None, "guess"), ("evil.example", "right")])
def test_a_wrong_key_or_address_is_refused_and_uses_nothing_up(
    host: str | None, key: str, gate: Gate
) -> None:
    """The right one still works."""
    given = gate.key if key == "right" else key
    assert gate.enter({"Host": host or gate.authority}, given) is None
    assert gate.enter({"Host": gate.authority}, gate.key)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Host", "evil.example"),  # a name that its owner lets resolve to 127.0.0.1
        ("Host", "127.0.0.1:4321"),
        ("Host", None),
        ("Origin", "https://evil.example"),
        ("Origin", "http://127.0.0.1:4321"),
        ("Origin", f"http://{HOST}:9999"),  # another server of this machine
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Cookie", None),
        ("Cookie", "statuswire-dashboard=guess"),
        ("Cookie", "statuswire-dashboard="),
        ("Cookie", "\x00; ="),
    ],
)
def test_anything_that_is_not_the_page_is_refused(
    header: str, value: str | None, gate: Gate
) -> None:
    """Whether it reads or changes something."""
    headers = right(gate, **{header: value})
    assert gate.refusal(headers, changes=False)
    assert gate.refusal(headers, changes=True)


def test_what_changes_something_must_say_where_it_comes_from(gate: Gate) -> None:
    """A navigation says no origin; a POST and a WebSocket of a browser's always do."""
    headers = right(gate, **{"Origin": None, "Sec-Fetch-Site": "none"})
    assert gate.refusal(headers, changes=False) is None
    assert gate.refusal(headers, changes=True)


def test_a_host_name_is_guessed_by_nobody() -> None:
    """Another user's server under the same name would be sent the cookie."""
    assert new_host() != new_host()
    assert new_host().endswith(".localhost")
