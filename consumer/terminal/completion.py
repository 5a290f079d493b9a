"""What a shell proposes at Tab: scripts for three shells, and the words that only we know.

The scripts ask this program, so they never age, and know the demo's instances. They are our own:
Typer's give bash the words as it splits them, and it splits `instance:i-…` at the colon.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Final

from consumer.core.events import EXECUTION_STATUSES, INSTANCE_STATUSES
from consumer.terminal.addresses import DEMO

KINDS: Final = ("instance:", "execution:", "machine:express", "machine:standard", "*")

# Each of them hands over the line up to the cursor as words, and takes one proposal a line.
_BASH: Final = r"""_statuswire() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$' \t\n' words word
    read -ra words <<< "$line"
    case $line in *[$' \t']) words+=("") ;; esac
    word=${words[-1]}
    IFS=$'\n' read -d '' -ra COMPREPLY < <(
        COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) \
            _STATUSWIRE_COMPLETE=complete_bash "$1" 2>/dev/null
    )
    # bash completes only what follows the last colon
    case $word in *:*) [[ $COMP_WORDBREAKS == *:* ]] &&
        COMPREPLY=("${COMPREPLY[@]#"${word%:*}":}") ;;
    esac
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *: ]] && compopt -o nospace
}
complete -F _statuswire statuswire
"""
_ZSH: Final = r"""#compdef statuswire
_statuswire() {
    local -a found
    found=("${(@f)$(COMP_WORDS="${(j: :)words[1,CURRENT]}" COMP_CWORD=$((CURRENT - 1)) \
        _STATUSWIRE_COMPLETE=complete_bash ${words[1]} 2>/dev/null)}")
    compadd -- ${found:#*:}
    compadd -S '' -- ${(M)found:#*:}
}
compdef _statuswire statuswire
"""
_FISH: Final = r"""function __statuswire_complete
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    COMP_WORDS="$before $word" COMP_CWORD=(count $before) \
        _STATUSWIRE_COMPLETE=complete_bash $before[1] 2>/dev/null
end
complete --command statuswire --no-files --arguments '(__statuswire_complete)'
"""


class Shell(StrEnum):
    """Those that there is a script for."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def prepare() -> None:
    """Have Typer answer the scripts. It does so by itself only where it has its own options."""
    from typer.completion import completion_init  # type: ignore[attr-defined] # not its own

    completion_init()


def script(shell: Shell) -> str:
    """What that shell is to read."""
    return {Shell.bash: _BASH, Shell.zsh: _ZSH, Shell.fish: _FISH}[shell]


def known_patterns(incomplete: str) -> list[str]:
    """How patterns begin, and those of the demo's instances."""
    del incomplete  # Typer keeps those that begin like it
    return [*KINDS, *(f"instance:{each}" for each in known_instances(""))]


def known_instances(incomplete: str) -> list[str]:
    """The demo's."""
    del incomplete
    folder = Path.cwd()
    for parent in (folder, *folder.parents):
        try:
            return [str(each) for each in json.loads((parent / DEMO).read_text())["instances"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return []


def statuses(incomplete: str) -> list[str]:
    """Of executions and of instances."""
    del incomplete
    return sorted(EXECUTION_STATUSES) + sorted(INSTANCE_STATUSES)
