"""Who watches the same is told together; each once, whatever of it matches."""

from consumer.core.audiences import Audiences
from tests.core import examples

ENTRY = examples.entry(1, examples.step(1))


def _told(audiences: Audiences[str]) -> list[list[str]]:
    return sorted(sorted(audience.members) for audience in audiences.of(ENTRY))


def test_who_watches_the_same_is_together() -> None:
    """In whatever order the patterns were named; one pattern is another audience than two."""
    audiences = Audiences[str]()
    audiences.join("a", ["*", "execution:run-1"])
    audiences.join("b", ["execution:run-1", "*"])
    audiences.join("c", ["*"])
    audiences.join("d", ["execution:run-2", "machine:express"])
    assert _told(audiences) == [["a", "b"], ["c"]]
    assert len(audiences) == 3


def test_nothing_is_left_of_who_has_gone() -> None:
    """The last one takes its audience along, and what it was found by, but not the others'."""
    audiences = Audiences[str]()
    several, one = ["*", "execution:run-1"], ["execution:run-1"]
    for member, watch in (
        ("a", several),
        ("b", several),
        ("c", one),
        ("d", ["*", "machine:express"]),
    ):
        audiences.join(member, watch)
    audiences.leave("a", several)
    assert _told(audiences) == [["b"], ["c"], ["d"]]
    audiences.leave("b", several)
    audiences.leave("c", one)
    assert [audience.members for audience in audiences] == [{"d"}]
    assert audiences._of_several.keys() == {"*", "machine:express"}
    audiences.leave("d", ["*", "machine:express"])
    assert not audiences
    assert not audiences._of_several
