"""Starting a run over the REST API, and following it to its end."""

import sys
from typing import Any

import msgspec
from msgspec import Struct
from rich.text import Text

from consumer.terminal.addresses import Wanted
from consumer.terminal.exits import CannotGoOn, Exit
from consumer.terminal.looks import Output, plain, status
from consumer.terminal.place import open_place
from consumer.terminal.rest import Answer, NoAnswer, refusal
from consumer.terminal.running import complain, say
from consumer.terminal.watching import Watch, watch_at


class Start(Struct, frozen=True):
    """What to start. `name` None: Step Functions gives one."""

    instance_id: str
    action: str = "start"
    name: str | None = None
    is_standard: bool = False
    waits: bool = False
    timeout_s: float | None = None
    as_json: bool = False

    def body(self) -> dict[str, str]:
        """As the REST API takes it."""
        named = {"name": self.name} if self.name else {}
        return {"instance_id": self.instance_id, "action": self.action, **named}


async def start(where: Wanted, wanted: Start) -> Exit:
    """Raises `CannotGoOn`."""
    route = "/standard-instance" if wanted.is_standard else "/express-instance"
    async with open_place(where) as place:
        if place.api is None:
            raise CannotGoOn("the REST API's address is not known", "Name it: --rest-url, --stack.")
        try:
            answer = await place.api.post(route, wanted.body())
        except NoAnswer as error:
            complain(str(error), _look(wanted))
            return Exit.TIMED_OUT
        if wanted.as_json:
            sys.stdout.buffer.write(msgspec.json.encode(answer.body) + b"\n")
            sys.stdout.buffer.flush()
        if not answer.is_ok:
            return _failed(wanted, answer)
        if not wanted.as_json:
            _show(wanted, answer)
        if not (wanted.is_standard and wanted.waits and answer.arn):
            return Exit.DONE  # an Express run has ended when its answer comes
        follow = Watch(
            (f"execution:{answer.arn}",),
            until=("SUCCEEDED",),
            timeout_s=wanted.timeout_s,
            as_json=wanted.as_json,
            has_just_begun=True,
        )
        return await watch_at(place, follow)


def _failed(wanted: Start, answer: Answer) -> Exit:
    """An answer with an execution is about a run that ended; without one, none began."""
    if answer.arn:
        told = Text.assemble(
            status("TIMED_OUT" if answer.status == 504 else "FAILED"),
            plain(f"  {wanted.instance_id}: {answer.code}: {answer.message}"),
        )
        console = Output(stderr=True)
        console.print(told, soft_wrap=True)
        console.print(plain(answer.arn, "dim"), soft_wrap=True)
        return Exit.OTHERWISE
    if answer.status == 504:
        complain(f"{answer.code}: {answer.message}", _look(wanted))
        return Exit.TIMED_OUT
    error = refusal(answer, f"{wanted.action} {wanted.instance_id}")
    complain(str(error), error.fix)
    return Exit.REFUSED


def _look(wanted: Start) -> str:
    what = f"execution:{wanted.name}" if wanted.name else f"instance:{wanted.instance_id}"
    return f"It may go on all the same. Look: statuswire watch {what}"


def _show(wanted: Start, answer: Answer) -> None:
    console = Output()
    if wanted.is_standard:
        name = (answer.arn or "").rpartition(":")[2]
        console.print(
            Text.assemble(("STARTED", "bold blue"), plain(f"  standard run {name}")), soft_wrap=True
        )
        if not wanted.waits:
            say(f"Follow it: statuswire watch execution:{answer.arn} --until SUCCEEDED")
        return
    console.print(
        Text.assemble(
            status("SUCCEEDED"), plain(f"  {wanted.instance_id}: "), _change(answer.body)
        ),
        soft_wrap=True,
    )


def _change(output: Any) -> Text:
    """What an Express run's output says: docs/workflows.md has its fields."""
    told = output if isinstance(output, dict) else {}
    before, after = str(told.get("previous_state", "")), str(told.get("state", ""))
    if told.get("changed") is False and after:
        return Text.assemble("no change, it is ", status(after))
    if before and after:
        return Text.assemble(status(before), " → ", status(after))
    return plain(msgspec.json.encode(output).decode())
