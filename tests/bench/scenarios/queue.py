"""Messages per second that one core receives, decodes, logs and deletes; peers log nothing.

All contestants stay up, each with a mock of its own that gives nothing unless it is their turn: so
a turn is short, and nobody's start or warming is measured.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from tests.bench import receivers, rounds, tls_front
from tests.bench.goals import PEERS, Goal
from tests.bench.receivers import Entrant, Receiver, entered
from tests.bench.scenario import Results, Run, Scenario
from tests.bench.stand import Sample

SETTLE_S: Final = 0.3  # from the first message of a turn to what is counted
DRAIN_S: Final = 60.0
DELAY_MS: Final = 20
FEWER_POLLS: Final = (2, 4, 8)
_COLUMNS: Final = {
    "messages_per_s": "messages/s",
    "cpu_us": "CPU µs/message",
    "messages_per_cpu_s": "messages per CPU second",
    "core": "share of its core",
    "mock_core": "the mock's share of its core",
}


def take_turn(entrant: Entrant, seconds: float, delay_ms: float) -> Sample:
    """Let one contestant work, and count.

    With so many polls under way, each of which brings ten messages at most and is answered so late,
    latency allows no more than `polls × 10 / delay`.
    """
    mock = entrant.mock
    begun = mock.pace(None)
    time.sleep(SETTLE_S)
    used_s, before = entrant.process.cpu_s(), mock.counts()
    time.sleep(seconds)
    used_s, after = entrant.process.cpu_s() - used_s, mock.counts()
    mock.pace(0)
    ended = mock.drained(DRAIN_S)
    took_s = (after.at_ns - before.at_ns) / 1e9
    messages = max(1, after.deleted - before.deleted)
    sample = {
        "messages": ended.deleted - begun.deleted,
        "messages_per_s": messages / took_s,
        "cpu_us": used_s * 1e6 / messages,
        "messages_per_cpu_s": messages / max(used_s, 1e-9),
        "core": used_s / took_s,
        "mock_core": (after.cpu_us - before.cpu_us) / 1e6 / took_s,
    }
    if delay_s := delay_ms / 1000:
        allowed_per_s = entrant.receiver.polls * 10 / delay_s
        sample["of_latency"] = sample["messages_per_s"] / allowed_per_s
        # Little's law: as many as are answered per second, times how long each is under way.
        sample["under_way"] = (after.receives - before.receives) / took_s * delay_s
    return sample


def compare(
    run: Run, contestants: Sequence[Receiver], *, delay_ms: float = 0, tls: bool = False
) -> Results:
    """Rounds of turns."""
    results = Results(lacks={each.name: each.lacks for each in contestants if each.lacks})
    warm = max(10, receivers.WARM_MESSAGES // run.scale.part)
    with ExitStack() as closing:
        found = [
            closing.enter_context(
                entered(each, run.folder / str(n), warm, tls=tls, delay_ms=delay_ms)
            )
            for n, each in enumerate(contestants)
            if each.lacks is None
        ]
        for number, each in rounds.turns(found, run.scale.rounds):
            sample = take_turn(each, run.scale.seconds, delay_ms)
            results.add(each.receiver.name, sample)
            run.tell(
                f"queue, {delay_ms:g} ms {number + 1}/{run.scale.rounds} {each.receiver.name}:"
                f" {sample['messages_per_s']:,.0f}/s, {sample['cpu_us']:.0f} µs of CPU"
            )
    return results


def _play_at_once(run: Run) -> Results:
    return compare(run, [receivers.product(), *receivers.peers()])


def _play_delayed(run: Run) -> Results:
    fewer = FEWER_POLLS if run.scale.part == 1 else ()
    ours = [receivers.product(), *map(receivers.product, fewer)]
    return compare(run, [*ours, *receivers.peers()], delay_ms=DELAY_MS)


def _play_tls(run: Run) -> Results:
    if tls_front.program() is None:
        return Results(lacks={"TLS": "nginx is not installed"})
    return compare(run, [receivers.product(), *receivers.peers()], tls=True)


QUEUE: Final = Scenario(
    "queue",
    "SQS answers at once: received and deleted on one core; the product decodes and logs, too",
    _play_at_once,
    _COLUMNS,
    (
        Goal("messages/s, of sqs-consumer", "messages_per_s", "at least", 2.0, "sqs-consumer, 16"),
        Goal("messages/s, of aioboto3", "messages_per_s", "at least", 3.0, "aioboto3, 16 loops"),
        Goal("messages/s", "messages_per_s", "at least", 20_000),
        Goal("CPU per message, of the best peer", "cpu_us", "at most", 1.0, PEERS),
    ),
    ("messages_per_s", "cpu_us"),
)
QUEUE_TLS: Final = Scenario(
    "queue-tls",
    "SQS answers at once, over TLS (nginx beside the mock)",
    _play_tls,
    _COLUMNS,
    (),
    ("messages_per_s",),
)
QUEUE_DELAYED: Final = Scenario(
    "queue-delayed",
    f"SQS answers after {DELAY_MS} ms",
    _play_delayed,
    {**_COLUMNS, "of_latency": "of what latency allows", "under_way": "polls under way"},
    (Goal(f"of what latency allows, {receivers.POLLS} polls", "of_latency", "at least", 0.95),),
    ("messages_per_s",),
)
