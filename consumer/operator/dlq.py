"""`statuswire dlq`: dead letters listed, shown, put back, thrown away.

Exit codes: 0 done; 1 something was refused, failed or not found; 2 usage or settings.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any, Final

import aioboto3
import typer
from aiobotocore.config import AioConfig

from consumer import settings
from consumer.operator import dlq_output as output
from consumer.operator import move_task
from consumer.operator.dead_letters import Counts, DeadLetters, Outcome, Pace
from consumer.operator.letters import Letter, printable
from consumer.operator.refusals import Refused

MAX_LOOK: Final = 1_000  # 100 answers of ten, some 5 s: well within their visibility timeout
CALLS: Final = AioConfig(
    connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 5}
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they hold messages
    help="Dead letters: what the consumer refused, or could not take in time.",
)


class Queue(StrEnum):
    """Whose dead letters."""

    status = "status"
    service = "service"


Job = Callable[[DeadLetters], Awaitable[dict[str, Any]]]
OneQueue = Annotated[Queue | None, typer.Option("--queue", help="Only of this queue.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@app.command("list")
def list_letters(
    queue: OneQueue = None,
    limit: Annotated[
        int, typer.Option(min=1, max=MAX_LOOK, help="See at most so many, per queue.")
    ] = 100,
    as_json: AsJson = False,
) -> None:
    """See dead letters with the reason why they are, and leave them where they are."""

    async def job(dead: DeadLetters) -> dict[str, Any]:
        look = await dead.look(limit)
        if not as_json:
            output.say(output.summary(dead, look))
            output.show_table(look.seen)
        return _told(look.counts) | {
            "is_whole": look.is_whole,
            "letters": [letter.about() for letter in look.seen],
        }

    _visit(queue, job, as_json=as_json)


@app.command()
def show(
    message_id: Annotated[str, typer.Argument(metavar="ID", help="The id, or how it begins.")],
    queue: OneQueue = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter whole: its body, too, whatever that holds."""
    found: list[Letter] = []

    async def job(dead: DeadLetters) -> dict[str, Any]:
        seen = (await dead.look(MAX_LOOK)).seen
        matching = [letter for letter in seen if letter.id.startswith(message_id)]
        found.extend(matching)
        if not as_json:
            for letter in matching:
                output.say(output.page(letter))
        return {"letters": [letter.whole() for letter in matching]}

    _visit(queue, job, as_json=as_json, succeeded=lambda: bool(found))
    if not found:
        output.warn(
            f"no dead letter that can be seen now begins with {printable(message_id)}:"
            " another may hold it, or it is behind others of its message group"
        )
        raise typer.Exit(1)


@app.command()
def redrive(
    queue: OneQueue = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Malformed ones too; they will be refused again.")
    ] = False,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help="One by one, never by SQS's own move task.")
    ] = False,
    rate: Annotated[
        int, typer.Option(min=1, max=move_task.MAX_PER_S, help="At most so many a second.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back into their queue: those that are well-formed."""

    async def job(dead: DeadLetters) -> dict[str, Any]:
        look = await dead.look(MAX_LOOK)
        going = [letter for letter in look.seen if everything or letter.is_well_formed]
        # A task cannot choose: it serves where all are to go, and are known.
        is_task = not by_hand and (everything or (look.is_whole and len(going) == len(look.seen)))
        way = "none" if not going else "move task" if is_task else "by hand"
        told = {"way": way, "dry_run": dry_run, **_told(look.counts), "seen": len(look.seen)}
        if dry_run:
            if not as_json:
                output.say(output.summary(dead, look))
                output.say(f"{len(going)} of them would go back, {_HOW[way]}.")
                output.show_table(going)
            return told | {"letters": [letter.about() for letter in going]}
        if way == "none":
            done = _outcome(Outcome(kept=len(look.seen)))
        else:
            done = await _redrive(dead, way, rate, everything=everything)
        if not as_json:
            output.say(output.result(dead, "put back", done))
        return told | done

    _visit(queue, job, as_json=as_json)


@app.command()
def purge(
    queue: Annotated[Queue, typer.Option(help="Whose dead letters.")],
    malformed_only: Annotated[
        bool, typer.Option("--malformed-only", help="Only what the consumer refuses.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete dead letters for good."""

    async def job(dead: DeadLetters) -> dict[str, Any]:
        counts = await dead.counts()
        which = "the malformed ones among them" if malformed_only else "them all"
        if not yes:
            output.warn(f"Dead letters in {dead.dead.arn}: {output.number(counts)}.")
            typer.confirm(f"Delete {which} for good?", abort=True, err=True)
        if not malformed_only:
            await dead.purge()
            if not as_json:
                output.say(f"{dead.name}: SQS deletes them all within a minute.")
            return _told(counts) | {"purged": True}
        with output.counting("deleting") as tell:
            outcome = await dead.discard(lambda letter: not letter.is_well_formed, tell)
        if not as_json:
            output.say(output.result(dead, "deleted", _outcome(outcome)))
        return _told(counts) | _outcome(outcome)

    _visit(queue, job, as_json=as_json)


_HOW: Final = {
    "none": "so nothing is to be done",
    "move task": "by a message move task of SQS",
    "by hand": "one by one",
}


async def _redrive(dead: DeadLetters, way: str, rate: int, *, everything: bool) -> dict[str, Any]:
    with output.counting("putting back") as tell:
        if way == "by hand":
            chosen = lambda letter: everything or letter.is_well_formed  # noqa: E731  # one line
            return _outcome(await dead.redrive(chosen, Pace(rate), tell))
        moved = await move_task.move(dead, rate, tell)
    if moved.status == "FAILED":
        raise Refused(
            f"SQS gave up after {moved.moved} messages: {moved.reason}; mend that, or add --by-hand"
        )
    return _outcome(Outcome(done=moved.moved, is_interrupted=moved.status != "COMPLETED"))


def _visit(
    queue: Queue | None,
    job: Job,
    *,
    as_json: bool,
    succeeded: Callable[[], bool] = lambda: True,
) -> None:
    """Do a job on the dead letters of one queue or both; exits with 1 where it was not done."""
    chosen = _settings()
    urls = {Queue.status: chosen.queue_url, Queue.service: chosen.service_queue_url}
    told = asyncio.run(_each({queue: urls[queue]} if queue else urls, job))
    if as_json:
        typer.echo(json.dumps({"queues": told}, indent=2))  # escapes all but ASCII
    for each in told:
        for trouble in (each.get("error"), *each.get("trouble", ())):
            if trouble:
                output.warn(printable(f"{each['queue']}: {trouble}"))
    is_done = not any(
        each.get(name) for each in told for name in ("error", "trouble", "failed", "interrupted")
    )
    if not is_done:
        raise typer.Exit(1)


async def _each(urls: dict[Queue, str], job: Job) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    async with aioboto3.Session().client("sqs", config=CALLS) as client:
        for name, url in urls.items():
            try:
                dead = await DeadLetters.find(client, name.value, url)
                answer = await job(dead)
            except Refused as error:
                told.append({"queue": name.value, "error": str(error)})
            else:
                place = {"queue": name.value, "dead_letters": dead.dead.arn}
                told.append({**place, **answer, "trouble": dead.trouble})
    return told


def _told(counts: Counts) -> dict[str, Any]:
    return {
        "visible": counts.visible,
        "in_flight": counts.in_flight,
        "delayed": counts.delayed,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "done": outcome.done,
        "kept": outcome.kept,
        "failed": outcome.failed,
        "interrupted": outcome.is_interrupted,
    }


def _settings() -> settings.Settings:
    try:
        return settings.read()
    except settings.BadSettings as error:
        for problem in error.problems:
            output.warn(problem)
        raise typer.Exit(2) from None
