"""All scenarios, in the order in which they are played."""

from typing import Final

from tests.bench.scenario import Scenario
from tests.bench.scenarios.crowd import CROWD
from tests.bench.scenarios.fleet import FLEET
from tests.bench.scenarios.followers import FOLLOWING
from tests.bench.scenarios.frames import FRAMES
from tests.bench.scenarios.idle import IDLE
from tests.bench.scenarios.keys import LOG
from tests.bench.scenarios.paint import PAINT
from tests.bench.scenarios.queue import QUEUE, QUEUE_DELAYED, QUEUE_TLS
from tests.bench.scenarios.replicas import REPLICAS
from tests.bench.scenarios.saturated import SATURATED
from tests.bench.scenarios.screen import SCREEN
from tests.bench.scenarios.start import START
from tests.bench.scenarios.steady import STEADY
from tests.bench.scenarios.storm import STORM
from tests.bench.scenarios.topics import TOPICS
from tests.bench.scenarios.trickle import TRICKLE

SCENARIOS: Final[tuple[Scenario, ...]] = (
    *(*SATURATED, STEADY, TRICKLE, *TOPICS, IDLE, CROWD),
    *(*FLEET, REPLICAS, FOLLOWING, STORM),
    *(QUEUE, QUEUE_TLS, QUEUE_DELAYED, *SCREEN, START, PAINT, FRAMES, LOG),
)
