"""A way over TCP that can be cut, or go silent, as networks do."""

import asyncio
import contextlib

from infra.local.places import HOST


class Wire:
    """Passes everything on to a port, which may change or not be there; while silent, nothing."""

    def __init__(self, port: int | None = None) -> None:
        self.upstream = port
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._is_cut = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listens on a free port; `port` is known then."""
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hang up and accept no more."""
        self._server.close()
        self._hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset what is connected; whoever connects is reset too."""
        self._is_cut = True
        self._hang_up()

    def silence(self) -> None:
        """Nothing arrives any more, and nothing says so."""
        self._speaks.clear()

    def mend(self) -> None:
        """As before. What was silent stays connected, and what was sent arrives."""
        self._is_cut = False
        self._speaks.set()

    def lead_to(self, port: int | None) -> None:
        """Somewhere else from now on, or nowhere."""
        self.upstream = port
        self._hang_up()

    def _hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._join(reader, writer)
        except asyncio.CancelledError:  # by `stop`; raised, asyncio would print it
            return

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        onward: asyncio.StreamWriter | None = None
        has_ended = False
        try:
            if self._is_cut or self.upstream is None:
                return
            back, onward = await asyncio.open_connection(HOST, self.upstream)
            self._writers.add(onward)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass_on(reader, onward))
                tasks.create_task(self._pass_on(back, writer))
        except* EOFError:
            has_ended = True  # one side has said all: what it said last still arrives
        except* OSError:
            pass
        finally:
            for each in (writer, onward):
                if each is not None:
                    self._writers.discard(each)
                    self._end(each, softly=has_ended and not self._is_cut)

    @staticmethod
    def _end(writer: asyncio.StreamWriter, *, softly: bool) -> None:
        with contextlib.suppress(OSError):
            if softly:
                writer.close()
            else:
                writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._speaks.wait()
            writer.write(data)
            await writer.drain()
        await self._speaks.wait()
        raise EOFError
