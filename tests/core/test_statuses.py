"""Newest wins, in whatever order events arrive."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consumer.core import events, statuses
from consumer.core.events import Event
from consumer.core.statuses import Standing, Verdict
from tests.core import examples

ERRORS = st.sampled_from([None, "A", "B"])


@st.composite
def execution_events(draw: st.DrawFn) -> Event:
    """Anything that anyone may say of one execution."""
    source = draw(st.sampled_from(["workflow", "states", "reconcile"]))
    status = draw(
        st.sampled_from(sorted(events.EXECUTION_STATUSES))
        if source == "workflow"
        else st.sampled_from(["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])
    )
    error = draw(ERRORS)
    seq = draw(st.integers(1, 4)) if source == "workflow" else None
    redrive = draw(st.integers(0, 1))
    return examples.decode(
        examples.step_body(
            id=draw(st.uuids()).hex,
            source=source,
            status=status,
            terminal=status in events.EXECUTION_ENDINGS,
            time=events.timestamp(draw(st.integers(0, 3)) * 1000),
            execution={
                **examples.step_body()["execution"], "seq": seq, "redrive": redrive,
            },
            reason=error and {"error": error, "cause": None},
            detail={"inferred": True} if source == "reconcile" and draw(st.booleans()) else {},
        )
    )  # fmt: skip


@st.composite
def instance_events(draw: st.DrawFn) -> Event:
    """Anything that anyone may say of one instance."""
    status = draw(st.sampled_from(sorted(events.INSTANCE_STATUSES)))
    return examples.decode(
        examples.step_body(
            id=draw(st.uuids()).hex,
            source=draw(st.sampled_from(["ec2", "reconcile"])),
            execution=None,
            status=status,
            terminal=status == "terminated",
            time=events.timestamp(draw(st.integers(0, 3_000))),
        )
    )


def settle(arrivals: list[Event]) -> tuple[Standing, list[Verdict]]:
    """Judge events one after another, as a log does."""
    standing: Standing | None = None
    verdicts = []
    for event in arrivals:
        verdict, standing = statuses.judge(event, standing)
        verdicts.append(verdict)
    assert standing is not None
    return standing, verdicts


HISTORIES = st.lists(
    execution_events(), min_size=1, max_size=8, unique_by=lambda event: event.step or event.id
) | st.lists(instance_events(), min_size=1, max_size=8)


@given(HISTORIES, st.randoms())
def test_any_order_ends_in_the_same_status(history: list[Event], random: Any) -> None:
    """Shuffled input ends in the status of the newest event."""
    shuffled = random.sample(history, len(history))
    newest = max(history, key=statuses.order)
    assert settle(history)[0].status == settle(shuffled)[0].status == newest.status


@given(HISTORIES)
def test_every_step_is_told(history: list[Event]) -> None:
    """No publish step is taken for a confirmation, and what is late never is the newest."""
    standing = None
    for event in history:
        before = standing
        verdict, standing = statuses.judge(event, standing)
        if event.source == "workflow":
            assert verdict.is_sent
        if verdict is Verdict.LATE:
            assert before is not None
            assert statuses.order(event) <= before.order
            assert standing == structs.replace(before, steps=standing.steps)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), max_size=40))
def test_a_step_that_comes_again_is_a_repeat(arrivals: list[tuple[int, int]]) -> None:
    """By its drive and number, whatever came between; and it changes nothing."""
    taken: set[tuple[int, int]] = set()
    standing = None
    for redrive, seq in arrivals:
        before = standing
        verdict, standing = statuses.judge(_step(redrive, seq), standing)
        assert (verdict is Verdict.REPEAT) == ((redrive, seq) in taken)
        if verdict is Verdict.REPEAT:
            assert standing is before
        taken.add((redrive, seq))
        assert taken == {
            (drive, number)
            for drive, first, last in standing.steps
            for number in range(first, last + 1)
        }


@given(st.permutations(range(1, 10)))
def test_steps_without_a_hole_are_kept_as_one(seqs: list[int]) -> None:
    """However long a run is and in whatever order its steps arrive, what is kept stays small."""
    standing, _ = settle([_step(1, seq) for seq in seqs])
    assert standing.steps == ((1, 1, 9),)


def _step(redrive: int, seq: int) -> Event:
    run = {**examples.step_body()["execution"], "redrive": redrive, "seq": seq}
    return examples.decode(examples.step_body(execution=run))


def test_an_ending_that_nobody_reported_ranks_below_one_that_the_workflow_told() -> None:
    """What we infer from silence gives way; what the service describes does not."""
    told = examples.step(seq=3, status="SUCCEEDED")
    ended = {"source": "reconcile", "status": "TIMED_OUT", "terminal": True}
    inferred = examples.decode(examples.step_body(**ended, detail={"inferred": True}))
    described = examples.decode(examples.step_body(**ended))
    assert statuses.order(inferred) < statuses.order(told) < statuses.order(described)


def test_a_confirmation_raises_the_order_and_changes_nothing_else() -> None:
    """What is older than the confirmation is late from then on."""
    ended = {"source": "reconcile", "status": "SUCCEEDED", "terminal": True}
    told = examples.step(3, "SUCCEEDED")
    _, standing = statuses.judge(told, None)
    described = examples.decode(examples.step_body(**ended, instance_id=None))
    verdict, raised = statuses.judge(described, standing)
    assert verdict is Verdict.CONFIRMATION
    assert raised == structs.replace(standing, order=statuses.order(described))
    assert raised.instance_id == examples.INSTANCE
    again = examples.decode(examples.step_body(**ended, id="0"))
    assert statuses.judge(again, raised) == (Verdict.CONFIRMATION, raised)


def test_any_event_of_a_run_tells_its_instance() -> None:
    """Newest, late or a confirmation: what was never told an instance is completed by it."""
    silent = examples.step(2, instance_id=None)
    _, standing = statuses.judge(silent, None)
    assert statuses.complete(silent, standing) is silent
    for teller in (examples.step(1), examples.step(3)):
        _, taught = statuses.judge(teller, standing)
        assert statuses.complete(teller, taught) is teller
        assert statuses.complete(silent, taught) == examples.step(2)
