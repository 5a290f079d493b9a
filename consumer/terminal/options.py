"""What the viewer's commands have in common on the command line."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from consumer.terminal.addresses import Wanted
from consumer.terminal.exits import Exit

PANEL: Final = "Where"
StackName = Annotated[
    str | None,
    typer.Option(
        "--stack", metavar="NAME", rich_help_panel=PANEL,
        help="The CloudFormation stack whose outputs say where; without any of these, statuswire.",
    ),
]  # fmt: skip
Region = Annotated[
    str | None,
    typer.Option("--region", metavar="NAME", rich_help_panel=PANEL, help="The stack's AWS region."),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile", metavar="NAME", rich_help_panel=PANEL, help="The AWS profile to sign with."
    ),
]
StreamUrl = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="WSS", rich_help_panel=PANEL, help="The stream: wss://host/v1/status."
    ),
]
RestUrl = Annotated[
    str | None,
    typer.Option(
        "--rest-url", metavar="HTTPS", rich_help_panel=PANEL, help="The REST API, stage included."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", min=0.0, metavar="SECONDS", help="Give up after so long, with 2."),
]
_WHERE: Final = {
    "stack": StackName,
    "region": Region,
    "profile": Profile,
    "url": StreamUrl,
    "rest_url": RestUrl,
}


class ViewerCommand(TyperCommand):
    """One whose misspelling has an exit code of its own: 2 says that the time ran out."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Click's; what it raises for a wrong command line ends with MISSPELLED."""
        try:
            return super().make_context(*arguments, **options)
        except typer.TyperException as error:
            error.exit_code = Exit.MISSPELLED
            raise


class Misspelled(typer.BadParameter):
    """What only the command itself can see to be wrong."""

    exit_code = Exit.MISSPELLED


def with_where(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where; it gets them as one, `where`."""
    signature = inspect.signature(command)
    own = [each for name, each in signature.parameters.items() if name != "where"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _WHERE.items()
    ]

    @functools.wraps(command)
    def called(*arguments: Any, **options: Any) -> None:
        where = Wanted(**{name: options.pop(name) for name in _WHERE})
        command(*arguments, **options, where=where)

    hints = {name: kind for name, kind in command.__annotations__.items() if name != "where"}
    called.__annotations__ = hints | _WHERE
    called.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    del called.__wrapped__  # or its annotations would be asked for instead
    return called
