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
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast

from consumer.core.audiences import Members
from consumer.core.entries import Batch
from consumer.hub import Spread

if TYPE_CHECKING:
    from consumer.edges.websocket import Connection
    from consumer.ports import Client

log = logging.getLogger(__name__)

MOST: Final = 1_024  # in one call: × 4 µs = 4 ms; fs.aio-max-nr allows 65,536 in all by default
FEW: Final = 8  # below it the call's own 10 µs are not worth it
CHUNK: Final = 1_024  # control blocks are allocated by so many

# io_setup, io_destroy, io_submit, io_getevents: asm/unistd_64.h; asm-generic/unistd.h.
_NUMBERS: Final = {"x86_64": (206, 207, 209, 208), "aarch64": (0, 1, 2, 4)}
# struct iocb of linux/aio_abi.h: data, key, rw_flags, opcode, prio, fildes, buf, nbytes, offset,
# reserved, flags, resfd. Little-endian, as both are.
_IOCB: Final = struct.Struct("<QIiHhIQQqQII")
_IOVEC: Final = struct.Struct("<QQ")
_PWRITEV: Final = 8
_EVENT_WORDS: Final = 4  # struct io_event: data, obj, res, res2


class Crowd:
    """An audience's connections: those first that are ready, and after them those to be asked.

    Who is ready is known beforehand: to ask 1,000 of them, whose memory the kernel's work has
    driven out of the caches, took a sixth of what an event costs.
    """

    __slots__ = ("blocks", "connections")

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.blocks = array("Q")  # the addresses of the ready ones' control blocks

    def __len__(self) -> int:
        return len(self.connections)

    def __iter__(self) -> Iterator["Client"]:
        return iter(self.connections)

    def add(self, member: "Client") -> None:
        """It is to be asked."""
        connection = cast("Connection", member)
        connection.seat = len(self.connections)
        self.connections.append(connection)

    def remove(self, member: "Client") -> None:
        """The last one takes its seat."""
        connection = cast("Connection", member)
        if connection.crowd is not None:
            self.set_aside(connection)
        self._swap(connection, len(self.connections) - 1)
        self.connections.pop()

    def set_aside(self, connection: "Connection") -> None:
        """One that was ready may not be so any more, and is to be asked."""
        last = len(self.blocks) - 1
        self.blocks[connection.seat] = self.blocks[last]
        self.blocks.pop()
        self._swap(connection, last)
        connection.crowd = None

    def ask(self) -> None:
        """Ask those who have to be."""
        for connection in self.others:
            if connection.is_ready:
                self._swap(connection, len(self.blocks))
                self.blocks.append(connection.place)
                connection.crowd = self

    @property
    def ready(self) -> "list[Connection]":
        """In the order of their blocks."""
        return self.connections[: len(self.blocks)]

    @property
    def others(self) -> "list[Connection]":
        """Those who are not, or who have not been asked."""
        return self.connections[len(self.blocks) :]

    def _swap(self, connection: "Connection", seat: int) -> None:
        other = self.connections[seat]
        self.connections[connection.seat], other.seat = other, connection.seat
        self.connections[seat], connection.seat = connection, seat


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
        self._iovec = ctypes.create_string_buffer(_IOVEC.size)
        self._events = ctypes.create_string_buffer(MOST * _EVENT_WORDS * 8)
        self._words = memoryview(self._events).cast("B").cast("q")
        self._chunks: list[ctypes.Array[ctypes.c_char]] = []
        self._free: list[int] = []

    def close(self) -> None:
        """Let go of what the system keeps; nothing can be written any more."""
        self._quick_syscall(self._destroy, self._context)

    def enrol(self, descriptor: int) -> int:
        """A place for a socket: the address of its control block. To be given back."""
        if not self._free:
            chunk = ctypes.create_string_buffer(CHUNK * _IOCB.size)
            self._chunks.append(chunk)
            first = ctypes.addressof(chunk)
            self._free += range(first, first + len(chunk) - 1, _IOCB.size)
        place = self._free.pop()
        iovec = ctypes.addressof(self._iovec)
        block = _IOCB.pack(0, 0, 0, _PWRITEV, 0, descriptor, iovec, 1, 0, 0, 0, 0)
        ctypes.memmove(place, block, _IOCB.size)
        return place

    def give_back(self, place: int) -> None:
        """Before the socket's descriptor can be another's."""
        self._free.append(place)

    def nobody(self) -> Members["Client"]:
        return Crowd()

    def write(self, members: Members["Client"], batch: Batch) -> int:
        crowd = cast("Crowd", members)
        count = len(crowd.connections)
        if count < FEW:
            others = crowd.connections.copy()
        else:
            crowd.ask()
            # To write by a transport changes who is ready: whom it concerns is found before.
            others = crowd.others
            for connection, rest in list(self._write_to_ready(crowd, batch.frames)):
                connection.write_on(rest)
        return count - len(others) + sum([one.deliver(batch) for one in others])

    def _write_to_ready(self, crowd: Crowd, data: bytes) -> Iterator[tuple["Connection", bytes]]:
        """Returns whose sockets did not take all of it, and what is left."""
        address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        _IOVEC.pack_into(self._iovec, 0, address, len(data))
        for start in range(0, len(crowd.blocks), MOST):
            blocks = crowd.blocks[start : start + MOST]
            written = self._submit_blocks(blocks)
            if written.count(len(data)) != len(blocks):
                done = dict(zip(self._words[1::_EVENT_WORDS], written, strict=False))
                for connection in crowd.ready[start : start + MOST]:
                    went = max(0, done.get(connection.place, 0))  # negative: an error's number
                    if went < len(data):
                        yield connection, data[went:]

    def _submit_blocks(self, blocks: "array[int]") -> list[int]:
        """How many bytes the sockets took, or errors' numbers; fewer, if not all were tried."""
        first = ctypes.c_void_p(blocks.buffer_info()[0])
        taken = self._syscall(self._submit, self._context, len(blocks), first)
        taken = max(0, taken)  # fewer: the next one's descriptor is none; its transport will know
        if taken:
            self._quick_syscall(self._getevents, self._context, taken, taken, self._events, None)
        return self._words[2 : taken * _EVENT_WORDS : _EVENT_WORDS].tolist()


def mass_writer() -> MassWriter | None:
    """One, where the system lets us have it."""
    try:
        return MassWriter()
    except OSError as error:
        log.info("sockets are written one by one", extra={"reason": str(error)})
        return None
