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


def said(source: str, status: str, second: float, **more: Any) -> Event:
    """Of one execution, at a second; `seq`, `redrive`, `id_` and `inferred` where they matter."""
    run = {"seq": more.get("seq"), "redrive": more.get("redrive", 0)}
    return examples.decode(
        examples.step_body(
            id=more.get("id_", "m"),
            source=source,
            status=status,
            terminal=status in events.EXECUTION_ENDINGS,
            time=events.timestamp(round(second * 1_000)),
            execution={**examples.step_body()["execution"], **run},
            detail={"inferred": more["inferred"]} if "inferred" in more else {},
        )
    )


def test_the_order_of_what_is_said_of_an_execution() -> None:
    """Redrive, who said it, the step, the time, the id: each against what comes behind it."""
    in_order = [
        said("states", "RUNNING", 8, id_="z"),
        said("states", "RUNNING", 9, id_="a"),
        said("states", "RUNNING", 9, id_="b"),
        said("workflow", "STARTING", 7, seq=1),
        said("workflow", "VERIFYING", 6, seq=2),
        said("reconcile", "TIMED_OUT", 5, inferred=True),
        said("workflow", "SUCCEEDED", 4, seq=1),
        said("reconcile", "FAILED", 3, inferred="no"),
        said("states", "ABORTED", 3.5),
        said("states", "RUNNING", 0, redrive=1),
    ]
    backwards = list(reversed(in_order))
    assert sorted(backwards, key=statuses.order) == in_order


def seen(source: str, status: str, second: float, id_: str = "m") -> Event:
    """Of one instance."""
    return examples.decode(
        examples.step_body(
            id=id_,
            source=source,
            execution=None,
            status=status,
            terminal=status == "terminated",
            time=events.timestamp(round(second * 1_000)),
        )
    )


def test_the_order_of_what_is_said_of_an_instance() -> None:
    """The second, who said it, the lifecycle, the id: each against what comes behind it."""
    in_order = [
        seen("ec2", "terminated", 1.9),
        seen("reconcile", "terminated", 2.9),
        seen("ec2", "pending", 2.8),
        seen("ec2", "running", 2.7),
        seen("ec2", "stopping", 2.6),
        seen("ec2", "stopped", 2.5),
        seen("ec2", "shutting-down", 2.4),
        seen("ec2", "terminated", 2.3, id_="a"),
        seen("ec2", "terminated", 2.2, id_="b"),
        seen("reconcile", "pending", 3.0),
    ]
    backwards = list(reversed(in_order))
    assert sorted(backwards, key=statuses.order) == in_order


def test_what_is_sent_is_what_entered_the_log() -> None:
    """Nothing else has a place that a cursor could name."""
    assert {verdict for verdict in Verdict if verdict.is_sent} == {Verdict.APPENDED, Verdict.LATE}


def test_an_instance_is_that_of_the_newest_who_tells_one() -> None:
    """A late event fills in what is missing, and contradicts nobody."""
    newer = said("workflow", "STARTING", 2, seq=2)
    older = examples.decode(
        {**examples.step_body(id="other", instance_id="i-0ffffffffffffffff"), "status": "WAITING"}
    )
    _, standing = statuses.judge(newer, None)
    verdict, after = statuses.judge(older, standing)
    assert (verdict, after.order) == (Verdict.LATE, standing.order)
    assert after.instance_id == examples.INSTANCE


def test_a_confirmation_is_of_the_same_status_and_contradicts_no_error() -> None:
    """Another status, or another error, is news; no error says nothing about it."""
    failed = {"source": "states", "status": "FAILED", "terminal": True}
    first = examples.decode(examples.step_body(**failed, reason={"error": "A", "cause": None}))
    _, standing = statuses.judge(first, None)
    for changed, verdict in (
        ({"reason": None}, Verdict.CONFIRMATION),
        ({"reason": {"error": "A", "cause": "other"}}, Verdict.CONFIRMATION),
        ({"reason": {"error": "B", "cause": None}}, Verdict.APPENDED),
        ({"reason": {"error": "A", "cause": None}, "status": "ABORTED"}, Verdict.APPENDED),
    ):
        body = examples.step_body(**{**failed, **changed}, id="z", time="2026-01-01T00:00:09.000Z")
        found, after = statuses.judge(examples.decode(body), standing)
        assert found is verdict
        if verdict is Verdict.CONFIRMATION:
            assert after.error == "A"


def test_what_our_own_looks_confirm_is_not_remembered() -> None:
    """It is in no queue; what they find out is told, and so is remembered as all that is."""
    found, told = (said(source, "RUNNING", 1) for source in ("reconcile", "states"))
    assert statuses.is_remembered(found, Verdict.APPENDED)
    assert not statuses.is_remembered(found, Verdict.CONFIRMATION)
    assert statuses.is_remembered(told, Verdict.CONFIRMATION)


def test_an_event_that_names_its_instance_keeps_it() -> None:
    """Only what is missing is filled in, from what others of its key told."""
    event = examples.step()
    standing = Standing("CHECKING", None, (), "i-0ffffffffffffffff")
    assert statuses.complete(event, standing) is event
    unnamed = examples.step(instance_id=None)
    assert statuses.complete(unnamed, standing).instance_id == "i-0ffffffffffffffff"
