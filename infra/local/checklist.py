"""What a demo must show: which statuses of which run or instance are still missing. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

EXPRESS = ("CHECKING", "STARTING", "SUCCEEDED")
STANDARD = ("WAITING", "CHECKING", "STOPPING", "VERIFYING", "SUCCEEDED")
STARTED = ("pending", "running")
STOPPED = ("stopping", "stopped")


class Checklist:
    """Statuses by subject: a run is known by its name, an instance by its id."""

    def __init__(self, wanted: Mapping[str, Iterable[str]]) -> None:
        self._missing = {subject: list(statuses) for subject, statuses in wanted.items()}
        self._failures: list[str] = []

    def note(self, event: Mapping[str, Any]) -> None:
        """Tick off one status event of the contract; of a run, what its own steps said."""
        execution = event["execution"]
        subject = execution["name"] if execution else event["instance_id"]
        missing = self._missing.get(subject)
        if missing is None:
            return
        if event["status"] in missing and event["source"] != "states":
            missing.remove(event["status"])
        elif execution and event["terminal"] and event["status"] != "SUCCEEDED":
            self._failures.append(f"{subject} ended {event['status']}")

    @property
    def missing(self) -> list[str]:
        """One line per subject that still owes a status."""
        return [
            f"{subject}: {', '.join(statuses)}"
            for subject, statuses in self._missing.items()
            if statuses
        ]

    @property
    def failures(self) -> list[str]:
        """Runs that ended as they should not: nothing more will come of them."""
        return self._failures
