"""Audiences: who watches exactly the same. What is due to one is made once, for all who are in it.

Pure: who the members are is the hub's to know.
"""

from collections.abc import Callable, Collection, Iterator, Set
from typing import Generic, Protocol, TypeVar

from consumer.core.entries import Entry

M = TypeVar("M")


class Members(Protocol[M]):
    """Those of one audience. A `set` will do."""

    def add(self, member: M, /) -> None: ...

    def remove(self, member: M, /) -> None: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[M]: ...


class Audience(Generic[M]):
    """Whoever watches one and the same."""

    __slots__ = ("members",)

    def __init__(self, members: Members[M]) -> None:
        self.members = members


class Audiences(Generic[M]):
    """All of them; none is empty. A member is in one at most, so that it gets an entry once."""

    def __init__(self, nobody: Callable[[], Members[M]] = set) -> None:
        """`nobody` makes an audience's members, before the first has joined."""
        self._nobody = nobody
        # By what they watch: the one pattern, or all of them.
        self._by_watch: dict[str | frozenset[str], Audience[M]] = {}
        self._of_several: dict[str, set[Audience[M]]] = {}  # by each pattern of those with several

    def __len__(self) -> int:
        return len(self._by_watch)

    def __iter__(self) -> Iterator[Audience[M]]:
        return iter(self._by_watch.values())

    def join(self, member: M, watch: Collection[str]) -> None:
        """Have a member told of what it watches: at least one pattern."""
        watched = _key(watch)
        if (audience := self._by_watch.get(watched)) is None:
            audience = self._by_watch[watched] = Audience(self._nobody())
            if not isinstance(watched, str):
                for pattern in watched:
                    self._of_several.setdefault(pattern, set()).add(audience)
        audience.members.add(member)

    def leave(self, member: M, watch: Collection[str]) -> None:
        """Tell a member no more; `watch` is what it joined with."""
        watched = _key(watch)
        audience = self._by_watch[watched]
        audience.members.remove(member)
        if len(audience.members):
            return
        del self._by_watch[watched]
        if not isinstance(watched, str):
            for pattern in watched:
                several = self._of_several[pattern]
                several.remove(audience)
                if not several:
                    del self._of_several[pattern]

    def of(self, entry: Entry) -> Set[Audience[M]]:
        """Found by its five patterns at most, however many members and patterns there are."""
        found: set[Audience[M]] = set()
        for pattern in entry.patterns:
            if (audience := self._by_watch.get(pattern)) is not None:
                found.add(audience)
            if (several := self._of_several.get(pattern)) is not None:
                found |= several
        return found


def _key(watch: Collection[str]) -> str | frozenset[str]:
    return next(iter(watch)) if len(watch) == 1 else frozenset(watch)
