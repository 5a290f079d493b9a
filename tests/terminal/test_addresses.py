"""Where the stream and the REST API are said to be."""

import json
from pathlib import Path

import pytest

from consumer.terminal.addresses import Addresses, Wanted, find
from consumer.terminal.exits import CannotGoOn

STREAM, REST = "wss://status.example.com/v1/status", "https://abc.example.com/live"
LOCAL = {
    "websocket_url": "ws://127.0.0.1:8080/v1/status",
    "rest_url": "http://127.0.0.1:8081/live",
}


def demo(folder: Path, **changes: str) -> Path:
    """A checkout with a demo in it; where one stands, deep in it."""
    (folder / ".local").mkdir()
    (folder / ".local" / "demo.json").write_text(json.dumps(LOCAL | changes))
    inside = folder / "docs" / "more"
    inside.mkdir(parents=True)
    return inside


def test_beside_a_demo_it_is_the_demo(tmp_path: Path) -> None:
    """From any folder of the checkout."""
    found = find(Wanted(), {}, demo(tmp_path))
    assert found == Addresses(LOCAL["websocket_url"], LOCAL["rest_url"], "demo", is_demo=True)


def test_without_a_demo_it_is_the_stack(tmp_path: Path) -> None:
    """By the name that the documents give it."""
    found = find(Wanted(region="eu-central-1"), {}, tmp_path)
    assert (found.stack, found.region, found.stream_url) == ("statuswire", "eu-central-1", None)


def test_the_environment_goes_before_the_demo(tmp_path: Path) -> None:
    """And an option before the environment."""
    inside = demo(tmp_path)
    environment = {"STATUSWIRE_URL": STREAM, "STATUSWIRE_REST_URL": REST}
    found = find(Wanted(), environment, inside)
    assert (found.stream_url, found.rest_url, found.is_demo) == (STREAM, REST, False)
    found = find(Wanted(url="wss://other.example/v1/status"), environment, inside)
    assert found.stream_url == "wss://other.example/v1/status"
    assert find(Wanted(), {"STATUSWIRE_STACK": "mine"}, inside).stack == "mine"


def test_a_stack_that_is_named_goes_before_the_environment(tmp_path: Path) -> None:
    """Or one would start something in another account than one named."""
    environment = {"STATUSWIRE_URL": STREAM, "STATUSWIRE_REST_URL": REST}
    found = find(Wanted(stack="mine"), environment, tmp_path)
    assert (found.stack, found.stream_url, found.rest_url) == ("mine", None, None)


def test_a_stream_may_be_named_beside_a_stack(tmp_path: Path) -> None:
    """Where the consumer is reached by another name than the stack knows."""
    found = find(Wanted(stack="mine", url=STREAM), {}, tmp_path)
    assert (found.stack, found.stream_url) == ("mine", STREAM)


@pytest.mark.parametrize(
    "url",
    [
        "ws://status.example.com/v1/status",  # shown to whoever listens
        "https://status.example.com/v1/status",
        "wss://user:secret@status.example.com/v1/status",
        "wss://status.example.com/v1/status?token=secret",
        "status.example.com",
    ],
)
def test_an_address_that_will_not_do_is_refused(url: str, tmp_path: Path) -> None:
    """With a word on what to do; no secret of it is repeated."""
    with pytest.raises(CannotGoOn) as refused:
        find(Wanted(url=url), {}, tmp_path)
    assert refused.value.fix
    assert "secret" not in str(refused.value)


def test_this_machines_own_addresses_need_no_tls(tmp_path: Path) -> None:
    """There is nobody on the way."""
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert find(Wanted(url=f"ws://{host}:8080/v1/status"), {}, tmp_path).stream_url


def test_a_demo_on_another_machine_is_none(tmp_path: Path) -> None:
    """The file of a folder that one happens to stand in sends nobody elsewhere."""
    inside = demo(tmp_path, rest_url="https://evil.example/live")
    with pytest.raises(CannotGoOn, match="no demo does"):
        find(Wanted(), {}, inside)


def test_a_demo_file_that_is_none_is_told(tmp_path: Path) -> None:
    """By its name."""
    inside = demo(tmp_path)
    (tmp_path / ".local" / "demo.json").write_text("{")
    with pytest.raises(CannotGoOn, match=r"demo\.json cannot be read"):
        find(Wanted(), {}, inside)
