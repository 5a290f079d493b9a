"""`statuswire`, or `python -m consumer`: the daemon, unless a command for operators is named."""

import os
import sys

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> int:
    """Run what the command line says; returns the process's exit code."""
    # Each imported only where it runs: the daemon comes up sooner without the command line.
    try:
        if sys.argv[1:] in ([], ["run"]):
            from consumer import daemon  # noqa: PLC0415

            return daemon.run()
        from consumer import cli  # noqa: PLC0415
        from consumer.terminal import completion  # noqa: PLC0415

        completion.prepare(os.environ)
        cli.app(prog_name="statuswire")
    except KeyboardInterrupt:  # while it is loaded, which takes a second
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
