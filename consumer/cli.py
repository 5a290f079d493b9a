"""The command line: the daemon, and what an operator runs beside it."""

import asyncio
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from consumer import daemon
from consumer.operator import dlq, doctor, reference, report
from consumer.operator.checks import ALL
from consumer.operator.scene import CHECK_S, Scene
from consumer.workers import MAX_WORKERS

app = typer.Typer(
    help="Live statuses of EC2 workflows, from Step Functions to WebSocket clients.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(dlq.app, name="dlq")


@app.command()
def run(
    *,
    workers: Annotated[
        int,
        typer.Option(
            min=1, max=MAX_WORKERS, help="Processes, on one port and one log, which is then Redis."
        ),
    ] = 1,
) -> None:
    """Run the daemon, as its environment sets it up. So does no command at all."""
    raise typer.Exit(daemon.run(workers))


@app.command()
def settings(
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="As in docs/settings.md.")] = False,
) -> None:
    """List every setting: its variable, its default and what it means."""
    if markdown:
        sys.stdout.write(reference.markdown())
        return
    console = Console()
    for row in reference.rows():
        default = " (required)" if row.default is None else f"={row.default}"
        console.print(Text.assemble((row.variable, "bold"), default), soft_wrap=True)
        console.print(Padding(Text(row.meaning), (0, 0, 0, 4)))


@app.command("doctor")
def examine(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    strict: Annotated[bool, typer.Option(help="Let warnings count as errors.")] = False,
    receive: Annotated[
        bool,
        typer.Option(help="Also receive: it may cost one message one of its twenty receives."),
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a check may take.")
    ] = CHECK_S,
) -> None:
    """Look for what is wrong, and say how to mend it. Changes nothing.

    Exit code 0: nothing is; 1: something is; 2: this command was misspelled.
    """
    found = asyncio.run(_examine(may_receive=receive, check_s=timeout))
    if as_json:
        sys.stdout.write(found.as_json(strict=strict).decode() + "\n")
    else:
        report.show(found, Console())
    raise typer.Exit(found.exit_code(strict=strict))


async def _examine(*, may_receive: bool, check_s: float) -> doctor.Report:
    async with Scene(may_receive=may_receive, check_s=check_s) as scene:
        return await doctor.examine(scene, ALL)
