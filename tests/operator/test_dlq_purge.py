"""`statuswire dlq purge`, against moto."""

from collections.abc import Iterator

import pytest

from tests.operator.dlq_stage import Stage, staged, step


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with staged(monkeypatch) as stage:
        stage.bury([step(1), "not JSON", step(2)])
        yield stage


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
@pytest.mark.parametrize("words", [[], ["--malformed-only"]])
def test_nothing_is_deleted_without_a_yes(stage: Stage, words: list[str], answer: str) -> None:
    """Not by Enter, and not where nobody answers."""
    result = stage.run("purge", "--queue", "status", *words, answer=answer)
    assert result.exit_code == 1
    assert ": about 3." in result.stderr
    assert stage.count(stage.status_dead) == 3


@pytest.mark.parametrize(("words", "answer"), [([], "y\n"), (["--yes"], None)])
def test_all_are_deleted_after_a_yes(stage: Stage, words: list[str], answer: str | None) -> None:
    """Asked for, or said beforehand; those of the queue that was named."""
    stage.fail_delivery("not JSON")
    assert stage.run("purge", "--queue", "status", *words, answer=answer).exit_code == 0
    assert (stage.count(stage.status_dead), stage.count(stage.service_dead)) == (0, 1)


def test_only_malformed_ones_are_deleted(stage: Stage) -> None:
    """What the consumer would take stays."""
    (told,) = stage.told("purge", "--queue", "status", "--malformed-only", "--yes")
    assert (told["done"], told["kept"]) == (1, 2)
    assert all("step-" in each["Body"] for each in stage.drain(stage.status_dead))


def test_a_second_purge_within_a_minute_is_explained(stage: Stage) -> None:
    """SQS refuses it."""
    stage.refusals["PurgeQueue"].append("PurgeQueueInProgress")
    result = stage.run("purge", "--queue", "status", "--yes")
    assert result.exit_code == 1
    assert "SQS does it once a minute" in result.stderr
