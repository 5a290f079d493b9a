"""`make breaks`: break the product, one thing at a time, and see which tests notice.

ONLY=words tries the breaks whose name has them; WRITE=1 puts the table into docs/reliability.md.
"""

import argparse
import sys

from infra.local.places import ROOT
from tests.breaks import catalogue
from tests.breaks.trial import try_all


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Returns 0 when every break was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.breaks")
    parser.add_argument("--only", default="", help="words of the names of breaks")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    breaks = catalogue.read()
    chosen = [one for one in breaks if asked.only in one.name]
    if not chosen:
        parser.error(f"no break's name has {asked.only!r}")
    are_noticed = try_all(ROOT, chosen, _say, jobs=asked.jobs)
    if asked.write and are_noticed:
        catalogue.write(breaks)
    return 0 if are_noticed else 1


if __name__ == "__main__":
    sys.exit(main())
