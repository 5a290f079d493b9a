"""The same bytes to many sockets in one system call: Linux's asynchronous I/O, io_submit(2).

For sockets it is not asynchronous at all: each write is done, as far as it goes, before the call
returns. What it saves is everything around a write: Python's loop over the clients, the event
loop's queue of writes, and an entry into the kernel for each (docs/architecture.md has figures).

Whatever cannot be done like this (TLS, a socket that is full, one that has something in line) is
left to the transport, and where the kernel has no io_submit, everything is.
"""

import ctypes
import errno
import logging
import os
import platform
import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, cast

from consumer.core.audiences import Members
from consumer.core.entries import Batch
from consumer.core.session import Tally
from consumer.hub import Spread

if TYPE_CHECKING:
    from consumer.edges.websocket import Connection
    from consumer.ports import Client

log = logging.getLogger(__name__)

MOST: Final = 1_024  # in one call: × 4 µs = 4 ms; fs.aio-max-nr allows 65,536 in all by default
FEW: Final = 8  # below it the call's own 10 µs are not worth it
CHUNK: Final = 1_024  # blocks of memory are allocated by so many

# io_setup, io_destroy, io_submit, io_getevents: asm/unistd_64.h; asm-generic/unistd.h.
_NUMBERS: Final = {"x86_64": (206, 207, 209, 208), "aarch64": (0, 1, 2, 4)}
# struct iocb of linux/aio_abi.h: data, key, rw_flags, opcode, prio, fildes, buf, nbytes, offset,
# reserved, flags, resfd. Little-endian, as both are.
_IOCB: Final = struct.Struct("<QIiHhIQQqQII")
_BUF: Final = 24  # where `buf` is in it
_IOVEC: Final = struct.Struct("<QQ")
_ADDRESS: Final = struct.Struct("<Q")
_PWRITEV: Final = 8
_EVENT_WORDS: Final = 4  # struct io_event: data, obj, res, res2


class Pool:
    """Room for many small blocks of memory that stay where they are, which system calls ask for."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._chunks: list[ctypes.Array[ctypes.c_char]] = []
        self._free: list[int] = []

    def take(self) -> int:
        """A block's address. To be given back."""
        if not self._free:
            chunk = ctypes.create_string_buffer(CHUNK * self._size)
            self._chunks.append(chunk)
            first = ctypes.addressof(chunk)
            self._free += range(first, first + CHUNK * self._size, self._size)
        return self._free.pop()

    def give_back(self, address: int) -> None:
        """Let another have it."""
        self._free.append(address)


class Crowd:
    """An audience's connections: those first that are ready, and after them those to be asked.

    Who is ready is known beforehand: to ask 1,000 of them, whose memory the kernel's work has
    driven out of the caches, took a sixth of what an event costs.
    """

    __slots__ = ("_connections", "_vector", "_vectors", "blocks")

    def __init__(self, vectors: Pool) -> None:
        self._vectors = vectors
        self._vector = 0  # the address of the `struct iovec` that all control blocks share
        self._connections: list[Connection] = []
        self.blocks = array("Q")  # the addresses of the ready ones' control blocks

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator["Client"]:
        return iter(self._connections)

    def add(self, member: "Client") -> None:
        """It is to be asked."""
        connection = cast("Connection", member)
        if not self._connections:
            self._vector = self._vectors.take()
        if connection.place:
            ctypes.memmove(connection.place + _BUF, _ADDRESS.pack(self._vector), _ADDRESS.size)
        connection.crowd, connection.seat = self, len(self._connections)
        self._connections.append(connection)

    def remove(self, member: "Client") -> None:
        """The last one takes its seat."""
        connection = cast("Connection", member)
        self.set_aside(connection)
        self._swap(connection, len(self._connections) - 1)
        self._connections.pop()
        connection.crowd = None
        if not self._connections:
            self._vectors.give_back(self._vector)

    def set_aside(self, connection: "Connection") -> None:
        """It may not be ready any more, and is to be asked."""
        last = len(self.blocks) - 1
        if connection.seat <= last:
            self.blocks[connection.seat] = self.blocks[last]
            self.blocks.pop()
            self._swap(connection, last)

    def ask(self) -> None:
        """Ask those who have to be."""
        for connection in self.others:
            if connection.is_ready:
                self._swap(connection, len(self.blocks))
                self.blocks.append(connection.place)

    @property
    def ready(self) -> "list[Connection]":
        """In the order of their blocks."""
        return self._connections[: len(self.blocks)]

    @property
    def others(self) -> "list[Connection]":
        """Those who are not, or who have not been asked."""
        return self._connections[len(self.blocks) :]

    def point_at(self, data: bytes) -> None:
        """Have the control blocks write this. It must be kept until they did."""
        address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        ctypes.memmove(self._vector, _IOVEC.pack(address, len(data)), _IOVEC.size)

    def _swap(self, connection: "Connection", seat: int) -> None:
        other = self._connections[seat]
        self._connections[connection.seat], other.seat = other, connection.seat
        self._connections[seat], connection.seat = connection, seat


class MassWriter(Spread):
    """Where a connection has a place, it can be written to together with others."""

    def __init__(self) -> None:
        """Raises `OSError` where the kernel does not have it, or does not let us."""
        numbers = _NUMBERS.get(platform.machine())
        if numbers is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        setup, self._destroy, self._submit, self._getevents = numbers
        # The one lets others run meanwhile, the other is over at once.
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._quick_syscall = ctypes.PyDLL(None, use_errno=True).syscall
        self._context = ctypes.c_ulong(0)
        if self._quick_syscall(setup, MOST, ctypes.byref(self._context)) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._events = ctypes.create_string_buffer(MOST * _EVENT_WORDS * 8)
        self._words = memoryview(self._events).cast("B").cast("q")
        self._places = Pool(_IOCB.size)
        self._vectors = Pool(_IOVEC.size)

    def close(self) -> None:
        """Let go of what the system keeps; nothing can be written any more."""
        self._quick_syscall(self._destroy, self._context)

    def enrol(self, descriptor: int) -> int:
        """A place for a socket: the address of its control block. To be given back."""
        place = self._places.take()
        block = _IOCB.pack(0, 0, 0, _PWRITEV, 0, descriptor, 0, 1, 0, 0, 0, 0)
        ctypes.memmove(place, block, _IOCB.size)
        return place

    def give_back(self, place: int) -> None:
        """Before the socket's descriptor can be another's."""
        self._places.give_back(place)

    def nobody(self) -> Members["Client"]:
        return Crowd(self._vectors)

    def write(self, due: Sequence[tuple[Members["Client"], Batch]], tally: Tally) -> None:
        if sum([len(members) for members, _ in due]) < FEW:
            super().write(due, tally)
            return
        crowds = cast("Sequence[tuple[Crowd, Batch]]", due)
        blocks, sizes = array("Q"), list[int]()
        for crowd, batch in crowds:
            crowd.ask()
            crowd.point_at(batch.frames)
            blocks += crowd.blocks
            sizes += [len(batch.frames)] * len(crowd.blocks)
        written: list[int] = []
        for start in range(0, len(blocks), MOST):
            end = start + MOST
            written += self._submit_blocks(blocks[start:end], sizes[start:end])
        # To write by a transport changes who is ready: so all whom it concerns are found first.
        others = [crowd.others for crowd, _ in crowds]
        for connection, rest in [] if written == sizes else list(_cut_short(crowds, written)):
            connection.write_on(rest)
        for (crowd, batch), left in zip(crowds, others, strict=True):
            tally.add(batch, len(crowd) - len(left) + sum([one.deliver(batch) for one in left]))

    def _submit_blocks(self, blocks: "array[int]", sizes: list[int]) -> list[int]:
        """How much of each block's data its socket took: none, where that failed."""
        count = len(blocks)
        first = ctypes.c_void_p(blocks.buffer_info()[0])
        taken = self._syscall(self._submit, self._context, count, first)
        taken = max(0, taken)  # fewer: the next one's descriptor is none; its transport will know
        if taken:
            self._quick_syscall(self._getevents, self._context, taken, taken, self._events, None)
        written = self._words[2 : taken * _EVENT_WORDS : _EVENT_WORDS].tolist()
        if written == sizes:
            return written
        done = dict(zip(self._words[1 : taken * _EVENT_WORDS : _EVENT_WORDS], written, strict=True))
        return [max(0, done.get(block, 0)) for block in blocks]  # negative: an error's number


def _cut_short(
    crowds: Sequence[tuple[Crowd, Batch]], written: Sequence[int]
) -> Iterator[tuple["Connection", bytes]]:
    """Of the ready ones, those whose sockets did not take all, and what is left of it."""
    each = iter(written)
    for crowd, batch in crowds:
        for connection, went in zip(crowd.ready, each, strict=False):
            if went < len(batch.frames):
                yield connection, batch.frames[went:]


def mass_writer() -> MassWriter | None:
    """One, where the system lets us have it."""
    try:
        return MassWriter()
    except OSError as error:
        log.info("sockets are written one by one", extra={"reason": str(error)})
        return None
