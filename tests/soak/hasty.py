"""`python -m consumer` in a hurry: what it waits minutes for on AWS, it waits seconds for here.

The embedded SQS counts a message at once, so silence means something sooner.
"""

import runpy
from typing import Final

from consumer.core import overdue
from consumer.edges import fleet, reconcile

EXPRESS_S: Final = 4.0


def _hurry() -> None:
    vars(overdue).update(EXPRESS_S=EXPRESS_S, MAX_PAUSE_S=2.0)
    vars(fleet).update(SILENT_S=1.0)
    vars(reconcile).update(LOOK_S=0.2, BACKLOG_S=0.3, RETRY_S=0.3)


if __name__ == "__main__":
    _hurry()
    runpy.run_module("consumer", run_name="__main__")
