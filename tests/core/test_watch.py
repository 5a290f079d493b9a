"""Watch patterns."""

import pytest

from consumer.core import watch
from consumer.core.watch import BadWatch
from tests.core import examples


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "instance:i-12345678",
        "instance:i-0123456789abcdef0",
        "execution:run-1",
        f"execution:{examples.ARN}",
        "execution:arn:aws-cn:states:cn-north-1:000000000000:express:machine:run:5cf2",
        "machine:express",
        "machine:standard",
        f"execution:{'x' * 80}",
        f"execution:{examples.ARN}".ljust(512, "x"),
    ],
)
def test_patterns_of_the_contract_are_taken(pattern: str) -> None:
    """Each form that the contract names."""
    assert watch.check(pattern) == pattern


@pytest.mark.parametrize(
    "pattern",
    ["", "**", "*:", "instance:", "instance:*", "instance:i-1", "instance:i-0123456789ABCDEF0",
     "execution:", "execution:a b", "execution:arn:aws:ec2:x", "machine:", "machine:fast",
     "i-12345678",     f"execution:{'x' * 81}", f"execution:{examples.ARN}".ljust(513, "x"),
     "x:express", "x:run-1", "x:i-12345678", f"execution:{examples.ARN}\n",
     "execution:arn:aws:states:us-east-1:00000000000:execution:machine:run",
     "execution:arn:aws:states:us-east-1:000000000000:activity:machine:run",
     "execution:arn:aws:states:us-east-1:000000000000:execution:machine"],
)  # fmt: skip
def test_anything_else_is_refused(pattern: str) -> None:
    """A pattern that can match nothing is a mistake, and is said to be one."""
    with pytest.raises(BadWatch):
        watch.check(pattern)


def test_an_event_matches_what_it_is_about() -> None:
    """An execution's event matches by instance, ARN, name and machine."""
    event = examples.step()
    assert set(watch.matching(event, event.key)) == {
        "*",
        f"instance:{examples.INSTANCE}",
        f"execution:{examples.ARN}",
        "execution:run-1",
        "machine:standard",
    }


def test_an_event_may_lack_an_instance_or_an_execution() -> None:
    """What is not there is not matched."""
    change, silent = examples.decode(examples.instance_change()), examples.step(instance_id=None)
    assert watch.matching(change, change.key) == ("*", f"instance:{examples.INSTANCE}")
    assert watch.matching(silent, silent.key) == (
        "*",
        f"execution:{examples.ARN}",
        "execution:run-1",
        "machine:standard",
    )


def test_a_key_is_kept_once() -> None:
    """An entry's key is one of its patterns, and no second copy of it: 150 B of each key."""
    for event in (examples.step(), examples.decode(examples.instance_change())):
        entry = examples.entry(1, event)
        assert any(pattern is entry.key for pattern in entry.patterns)


def test_single_executions_are_told_apart() -> None:
    """Only patterns that name an execution are told in full."""
    assert watch.single_executions(["*", "execution:a", "machine:express"]) == {"execution:a"}
