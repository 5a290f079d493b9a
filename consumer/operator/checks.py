"""All checks, in the order in which they are told."""

from typing import Final

from consumer.operator import (
    doors,
    log_file,
    log_server,
    machine,
    permissions,
    queues,
    reach,
    rules,
)
from consumer.operator.doctor import Check

ALL: Final[tuple[Check, ...]] = (
    *machine.CHECKS,
    *reach.CHECKS,
    *permissions.CHECKS,
    *queues.CHECKS,
    *rules.CHECKS,
    *log_file.CHECKS,
    *log_server.CHECKS,
    *doors.CHECKS,
)
