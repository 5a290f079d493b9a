"""`statuswire`, or `python -m consumer`: the daemon, unless a command for operators is named."""

import os
import sys

ASKED = "_STATUSWIRE_COMPLETE"  # as Typer calls it
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> int:
    """Run what the command line says; returns the process's exit code."""
    # Each imported only where it runs: the daemon comes up sooner without the command line.
    try:
        # A shell that asks what may follow names no command either.
        if sys.argv[1:] in ([], ["run"]) and ASKED not in os.environ:
            from consumer import daemon  # noqa: PLC0415

            return daemon.run()
        from consumer import cli  # noqa: PLC0415
        from consumer.terminal import completion  # noqa: PLC0415

        if ASKED in os.environ:
            completion.prepare()
        cli.app(prog_name="statuswire")
    except KeyboardInterrupt:  # while it is loaded, which takes a second
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
