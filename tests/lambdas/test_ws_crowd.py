"""Many functions at once, each in a thread, on the same tables: what every client is promised."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lambdas.stream.log import LogUnavailable
from tests.core import examples
from tests.lambdas.stand import Stand

WRITERS, EVENTS, VIEWERS = 4, 15, 6


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns a thousand times as often as they would."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def write(stand: Stand, number: int) -> None:
    """A function that gets one run's steps, the first of them twice."""
    for seq in (1, *range(1, EVENTS + 1)):
        while True:
            try:
                stand.arrive(examples.step(seq, run=f"run-{number}"))
            except LogUnavailable:
                continue  # its queue would bring it again
            break


def view(stand: Stand, number: int) -> None:
    """A client that comes while much happens."""
    stand.connect(f"viewer-{number}", watch=["*"])
    stand.ask(f"viewer-{number}", op="subscribe", id="again", watch=["machine:standard"])


def place(message: dict[str, Any]) -> int:
    return int(message["cursor"].partition("-")[2])


@pytest.mark.usefixtures("restless")
def test_everybody_is_told_everything_in_order(stand: Stand) -> None:
    """Whichever function tells it: from the snapshot on, each place once, none left out."""
    stands = []
    for _ in range(WRITERS + VIEWERS):
        other = Stand(stand.client)
        other.sockets = stand.sockets
        other.renew()
        stands.append(other)
    with ThreadPoolExecutor(WRITERS + VIEWERS) as threads:
        work = [threads.submit(write, stands[n], n) for n in range(WRITERS)]
        work += [threads.submit(view, stands[WRITERS + n], n) for n in range(VIEWERS)]
        for done in work:
            done.result()
    for number in range(VIEWERS):
        welcome, first, *rest = stand.told(f"viewer-{number}")
        assert (welcome["op"], first["op"]) == ("welcome", "snapshot")
        assert [each["id"] for each in rest if each["op"] == "snapshot"] == ["again"]
        told = [place(each) for each in rest if each["op"] == "status"]
        assert told == list(range(place(first) + 1, WRITERS * EVENTS + 1))
        cursors = [place(each) for each in rest]
        assert cursors == sorted(cursors)
