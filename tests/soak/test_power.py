"""The quick form of `make soak ONLY=power`, and whether it would notice."""

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.soak import power
from tests.soak.power import Disk, File, Note

needs_compiler = pytest.mark.skipif(
    not (shutil.which("cc") or os.environ.get("CI")), reason="needs a C compiler"
)


@needs_compiler
async def test_what_was_promised_survives_power_cuts(tmp_path: Path) -> None:
    """Forty moments of two sittings, the second of which is killed."""
    outcome = await power.play(tmp_path / "power", 1, moments=40, sittings=2)
    assert not outcome.objections


@needs_compiler
@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
async def test_what_is_not_synced_is_seen_to_be_lost(tmp_path: Path, synchronous: str) -> None:
    """With less than the log's own setting the cuts show what was lost."""
    outcome = await power.play(
        tmp_path / "power", 1, moments=10, sittings=1, synchronous=synchronous
    )
    assert any("acknowledged events are lost" in problem for _, problem in outcome.objections)
    assert not any("recorder" in problem for _, problem in outcome.objections)


def _leavings(notes: list[Note], name: str = "a") -> set[bytes | None]:
    """All that cuts leave of a file."""
    disk = Disk()
    for note in notes:
        disk.take(note)
    return {disk.after_cut(random.Random(seed)).get(name) for seed in range(300)}


MADE = [Note("c", "a", 0, b""), Note("s", ".", 0, b"")]
OLD, NEW = b"o" * power.SECTOR_BYTES, b"n" * power.SECTOR_BYTES


def test_what_was_synced_stays() -> None:
    """A file and its name, once both are synced, are all that a cut can leave."""
    assert _leavings([*MADE, Note("w", "a", 0, OLD), Note("s", "a", 0, b"")]) == {OLD}


def test_sectors_are_lost_one_by_one() -> None:
    """Of a write over two sectors, either may be on the disk without the other."""
    synced = [*MADE, Note("w", "a", 0, OLD + OLD), Note("s", "a", 0, b"")]
    assert _leavings([*synced, Note("w", "a", 0, NEW + NEW)]) == {
        OLD + OLD, OLD + NEW, NEW + OLD, NEW + NEW,
    }  # fmt: skip


def test_a_later_write_may_be_there_without_an_earlier_one() -> None:
    """The order in which they were written binds no disk."""
    synced = [*MADE, Note("w", "a", 0, OLD + OLD), Note("s", "a", 0, b"")]
    later = [Note("w", "a", 0, NEW), Note("w", "a", power.SECTOR_BYTES, NEW)]
    assert OLD + NEW in _leavings([*synced, *later])


def test_a_name_lasts_once_its_folder_is_synced() -> None:
    """Before that a new file may be gone, and a removed one back."""
    assert None in _leavings([MADE[0], Note("w", "a", 0, OLD), Note("s", "a", 0, b"")])
    assert _leavings([*MADE, Note("u", "a", 0, b"")]) == {b"", None}


def test_a_file_is_read_as_it_was_written() -> None:
    """Writes past the end leave zeros before them, and a truncation takes the rest away."""
    file = File()
    for note in (Note("w", "a", 2, b"xyz"), Note("t", "a", 4, b""), Note("t", "a", 6, b"")):
        file.take(note)
    assert file.seen() == b"\0\0xy\0\0"
