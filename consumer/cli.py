"""The command line: the daemon, what an operator runs beside it, and what a viewer runs.

What a command needs is loaded when it runs: `statuswire --help` and a shell's Tab load no AWS SDK.
"""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from consumer.core.limits import MAX_WORKERS
from consumer.operator.finding import CHECK_S
from consumer.terminal import commands

if TYPE_CHECKING:
    from consumer.operator.doctor import Report


class Lazy(TyperGroup):
    """Loads the group `dlq`, and with it the AWS SDK, only where it is named."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Whose turn it is, and with what."""
        if args[0] == "dlq":
            from consumer.operator import dlq

            self.commands["dlq"] = typer.main.get_command(dlq.app)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Lazy,
    help="Live statuses of EC2 workflows, from Step Functions to WebSocket clients.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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
    from consumer import daemon

    raise typer.Exit(daemon.run(workers))


@app.command()
def settings(
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="As in docs/settings.md.")] = False,
) -> None:
    """List every setting: its variable, its default and what it means."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from consumer.operator import reference

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
    from rich.console import Console

    from consumer.operator import report

    found = asyncio.run(_examine(may_receive=receive, check_s=timeout))
    if as_json:
        sys.stdout.write(found.as_json(strict=strict).decode() + "\n")
    else:
        report.show(found, Console())
    raise typer.Exit(found.exit_code(strict=strict))


async def _examine(*, may_receive: bool, check_s: float) -> "Report":
    from consumer.operator import doctor
    from consumer.operator.checks import ALL
    from consumer.operator.scene import Scene

    async with Scene(may_receive=may_receive, check_s=check_s) as scene:
        return await doctor.examine(scene, ALL)


@app.command("dlq")
def dead_letters() -> None:
    """Dead letters: what the consumer refused, or could not take in time."""
    raise NotImplementedError  # a stand-in for help: `Lazy` has the group


app.add_typer(commands.app)
