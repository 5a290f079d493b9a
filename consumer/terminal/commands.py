"""The viewer's commands as the command line has them. What they do is loaded when they run."""

import re
import sys
from enum import StrEnum
from typing import Annotated, Final

import typer

from consumer.core import watch as watching
from consumer.core.events import INSTANCE_ID
from consumer.terminal import completion
from consumer.terminal.addresses import Wanted
from consumer.terminal.goal import BadGoal, check
from consumer.terminal.options import AsJson, Misspelled, Timeout, ViewerCommand, with_where

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")

app = typer.Typer()


class Action(StrEnum):
    """What a run does."""

    start = "start"
    stop = "stop"
    toggle = "toggle"


def _patterns(given: list[str] | None) -> list[str]:
    for pattern in given or ():
        try:
            watching.check(pattern)
        except watching.BadWatch as error:
            hint = f"; is it instance:{pattern}?" if INSTANCE_ID.fullmatch(pattern) else ""
            raise Misspelled(f"{error}{hint}") from None
    return given or ["*"]


def _instance(given: str) -> str:
    if not INSTANCE_ID.fullmatch(given):
        raise Misspelled("an instance is i- and 8 or 17 hexadecimal digits")
    return given


def _name(given: str | None) -> str | None:
    if given is not None and not NAME.fullmatch(given):
        raise Misspelled("a name has 1 to 80 of A-Z a-z 0-9 _ -")
    return given


Patterns = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATTERN",
        callback=_patterns,
        autocompletion=completion.known_patterns,
        show_default=False,
        help="instance:ID, execution:NAME or :ARN, machine:express or :standard, or * for all,"
        " which is the default.",
    ),
]


@app.command(
    cls=ViewerCommand,
    epilog="""Examples:
  statuswire watch
  statuswire watch instance:i-0abc12345678def90 machine:standard
  statuswire watch instance:i-0abc12345678def90 --until running --timeout 300 && ./next-step
  statuswire watch --json | jq -r 'select(.op == "status") | .event.status'""",
)
@with_where
def watch(
    patterns: Patterns = None,
    *,
    until: Annotated[
        list[str] | None,
        typer.Option(
            "--until",
            metavar="STATUS",
            autocompletion=completion.statuses,
            help="End once every pattern has been there. Given again: any of them will do.",
        ),
    ] = None,
    timeout: Timeout = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="CURSOR", help="Begin after this cursor.")
    ] = None,
    as_json: AsJson = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show nothing but how it failed: for --until.")
    ] = False,
    where: Wanted,
) -> None:
    """Watch statuses as they come: a live table, lines in a file, or JSON for programs.

    Exit codes: 0 reached; 1 it ended otherwise; 2 timed out; 3 cannot be watched; 64 misspelled;
    130 Ctrl-C. docs/terminal.md says what --until looks at.
    """
    from consumer.terminal import watching as viewer
    from consumer.terminal.running import run

    chosen = patterns or ["*"]
    if quiet and not until:
        raise Misspelled("it shows nothing, and waits for nothing without --until", param_hint="-q")
    try:
        check(chosen, until or ())
    except BadGoal as error:
        raise Misspelled(str(error), param_hint="--until") from None
    wanted = viewer.Watch(chosen, until or (), timeout, since, as_json, quiet)
    raise typer.Exit(run(viewer.watch(where, wanted)))


@app.command(
    cls=ViewerCommand,
    epilog="""Examples:
  statuswire start i-0abc12345678def90
  statuswire start i-0abc12345678def90 --action stop --standard --name nightly-7 --wait
  statuswire start i-0abc12345678def90 --json | jq -r .state""",
)
@with_where
def start(  # noqa: PLR0913 # one per option
    instance: Annotated[
        str,
        typer.Argument(
            metavar="INSTANCE",
            callback=_instance,
            autocompletion=completion.known_instances,
            help="Its id: i-0abc12345678def90.",
        ),
    ],
    *,
    action: Annotated[
        Action, typer.Option("--action", help="What the run does; toggle: the other of both.")
    ] = Action.start,
    standard: Annotated[
        bool,
        typer.Option("--standard", help="Let the Standard machine do it, which follows it up."),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", callback=_name,
            help="The run's name: a Standard one begins once under it.",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Watch a Standard run until it has ended. Express ones have."),
    ] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    where: Wanted,
) -> None:  # fmt: skip
    """Start a run that starts or stops an instance, and tell what became of it.

    Exit codes: 0 it succeeded, or began; 1 it failed; 2 nobody knows yet; 3 it was not begun; 64
    misspelled; 130 Ctrl-C, which ends no run.
    """
    from consumer.terminal import starting
    from consumer.terminal.running import run

    wanted = starting.Start(instance, action.value, name, standard, wait, timeout, as_json)
    raise typer.Exit(run(starting.start(where, wanted)))


@app.command(
    cls=ViewerCommand,
    epilog="""Examples:
  statuswire executions
  statuswire executions nightly-7 --json | jq -r .output""",
)
@with_where
def executions(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", callback=_name, help="Of a Standard one."),
    ] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="List at most so many.")] = 50,
    as_json: AsJson = False,
    where: Wanted,
) -> None:
    """Show one execution as Step Functions knows it; without a name, all that were heard of.

    Exit codes: 0 shown; 1 there is none; 3 it could not be asked for; 64 misspelled; 130 Ctrl-C.
    """
    from consumer.terminal import executions as view
    from consumer.terminal.running import run

    if name is None:
        raise typer.Exit(run(view.list_known(where, limit=limit, as_json=as_json)))
    raise typer.Exit(run(view.describe(where, name, as_json=as_json)))


@app.command(
    cls=ViewerCommand,
    epilog="""Examples:
  export STATUSWIRE_TOKEN=$(statuswire token)
  statuswire token instance:i-0abc12345678def90""",
)
@with_where
def token(patterns: Patterns = None, *, where: Wanted) -> None:
    """Print a watch token for another program, and nothing else on standard output.

    Exit codes: 0 printed; 3 refused; 64 misspelled; 130 Ctrl-C.
    """
    from consumer.terminal.running import run
    from consumer.terminal.watch_token import print_token

    raise typer.Exit(run(print_token(where, patterns or ["*"])))


@app.command(
    cls=ViewerCommand,
    epilog="""Examples:
  statuswire dashboard
  statuswire dashboard --stack statuswire-staging --region eu-central-1 --no-open""",
)
@with_where
def dashboard(
    *,
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0 finds a free one.")] = 0,
    opens: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the browser, or say what to open.")
    ] = True,
    plain_host: Annotated[
        bool,
        typer.Option(
            "--plain-host",
            help="As 127.0.0.1, for browsers that find no name below localhost.",
        ),
    ] = False,
    where: Wanted,
) -> None:
    """Serve the dashboard on this machine, for this user's browser, signed with AWS credentials.

    Exit codes: 3 it cannot be served; 64 misspelled; 130 Ctrl-C, which ends it.
    """
    from consumer.terminal import dashboard as page
    from consumer.terminal.running import run

    raise typer.Exit(run(page.serve(where, port=port, opens=opens, is_plain=plain_host)))


@app.command(
    "completion",
    cls=ViewerCommand,
    epilog="""Examples:
  eval "$(statuswire completion bash)"                                    in ~/.bashrc
  statuswire completion zsh > "${fpath[1]}/_statuswire"
  statuswire completion fish > ~/.config/fish/completions/statuswire.fish""",
)
def complete(shell: Annotated[completion.Shell, typer.Argument(metavar="SHELL")]) -> None:
    """Print what makes bash, zsh or fish complete these commands at Tab."""
    sys.stdout.write(completion.script(shell))
