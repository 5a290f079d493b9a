"""Silence: endings that nobody tells, and a reconciler that finds them through a bad network."""

import asyncio
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from consumer.core import events
from consumer.edges.sqlite_log import SqliteLog
from tests.soak import hasty, load
from tests.soak.load import ENDINGS, Outgoing
from tests.soak.oracle import Evidence, Sent, judge_endings
from tests.soak.outcome import Outcome
from tests.soak.stage import PATIENCE_S, Stage
from tests.soak.trials import Place
from tests.soak.world import World

EACH: Final = 3  # executions of a kind
FLEET: Final = 4
ROUNDS: Final = 4  # of changes behind our back
HOLD_S: Final = (1.0, 4.0)  # how long the network stays bad after the last word
CALM_S: Final = 2.0  # a sweep and several looks more, to see that what is right stays so


@dataclass
class Script:
    """What is told, what is true of each key, and what may be found of it by asking."""

    told: list[list[Outgoing]] = field(default_factory=list)
    told_later: list[Outgoing] = field(default_factory=list)
    truth: dict[str, str | None] = field(default_factory=dict)
    truth_later: dict[str, str | None] = field(default_factory=dict)
    findable: dict[str, list[str]] = field(default_factory=dict)
    in_time: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add(self, dice: random.Random, machine: str, name: str, ending: str | None) -> str:
        """An execution that tells some steps, and its ending if there is one; returns its key."""
        statuses = ["CHECKING", "STARTING", "WAITING"][: dice.randint(1, 3)]
        statuses += [ending] if ending else []
        self.told.append(
            [load.step(name, machine, seq, one) for seq, one in enumerate(statuses, start=1)]
        )
        self.names.append(name)
        key = f"execution:{load.arn_of(machine, name)}"
        self.truth[key] = statuses[-1]
        return key

    def find(self, key: str, status: str) -> None:
        """Asking must bring this out."""
        self.truth[key] = status
        self.findable[key] = [status]

    def speaks_later(self, dice: random.Random, machine: str, name: str, key: str) -> None:
        """What was inferred must give way to this."""
        ending = dice.choice(ENDINGS)
        self.told_later.append(load.step(name, machine, 9, ending))
        self.truth_later[key] = ending


async def silence(place: Place, seed: int) -> Outcome:
    """Executions and instances change and nobody says so, or too late; odd seeds kill -9 too."""
    tag = ("silence", uuid.uuid4().hex)
    async with place.stage(
        "silence", seed, module=hasty.__name__, STATUSWIRE_INSTANCE_TAG="=".join(tag),
        STATUSWIRE_SWEEP_S="1", STATUSWIRE_QUIET_S="1",
    ) as stage, World.at(stage.endpoint, tag) as world:  # fmt: skip
        script = await _write(stage, world)
        fleet = await world.launch(FLEET)
        await stage.consumer.start()
        await _until_right(stage, {f"instance:{id_}": "running" for id_ in fleet})
        # An earlier answer to the same question is a state that is no more: TLS guards from it,
        # and nothing in it tells.
        stage.proxy.plan.pop("replay", None)
        stage.proxy.faulty = True
        stage.watch(["*", "*", "machine:express", f"instance:{stage.dice.choice(fleet)}"])
        stage.watch([f"execution:{stage.dice.choice(script.names)}"])
        await asyncio.gather(_tell(stage, script), _change(stage, world, fleet))
        await asyncio.sleep(stage.dice.uniform(*HOLD_S))
        stage.proxy.faulty = False
        if seed % 2:
            await stage.consumer.kill()
            await stage.consumer.start()
        for id_, states in world.history.items():
            script.truth[f"instance:{id_}"] = states[-1] if id_ in fleet else None
            # A sweep and a question about a doubt may cross: each change may be told twice.
            script.findable[f"instance:{id_}"] = states * 2 if id_ in fleet else []
        await _until_right(stage, script.truth)
        stage.proxy.faulty = True
        await stage.send(script.told_later, pause_s=0.12)
        stage.proxy.faulty = False
        truth = script.truth | script.truth_later
        await _until_right(stage, truth)
        await asyncio.sleep(CALM_S)
        return await stage.judge(truth, script.findable)


async def _write(stage: Stage, world: World) -> Script:
    """What will be told of executions; those that Step Functions knows are begun."""
    dice, script = stage.dice, Script()
    for number in range(EACH):
        name = f"{stage.name}-{number}-"
        ending = dice.choice((*ENDINGS, "ABORTED"))
        await world.begin(f"{name}untold", ending)
        script.find(script.add(dice, "standard", f"{name}untold", None), ending)

        ending = dice.choice(ENDINGS)
        await world.begin(f"{name}told", ending)
        key = script.add(dice, "standard", f"{name}told", ending)
        script.findable[key] = [ending]

        await world.begin(f"{name}open", None)
        script.add(dice, "standard", f"{name}open", None)

        key = script.add(dice, "express", f"{name}told", dice.choice(ENDINGS))
        script.in_time.append(key)

        for machine, inferred in (("express", "TIMED_OUT"), ("standard", "ABORTED")):
            name = f"{stage.name}-{number}-cut-off"
            key = script.add(dice, machine, name, None)
            script.find(key, inferred)
            if dice.random() < 0.6:
                script.speaks_later(dice, machine, name, key)
    await _remember(stage, script)
    return script


async def _remember(stage: Stage, script: Script) -> None:
    """An earlier consumer's log, with an instance that EC2 has forgotten since."""
    id_ = f"i-{stage.dice.getrandbits(68):017x}"
    yesterday = datetime.now(UTC) - timedelta(days=1)
    word = load.state_change(stage.dice, id_, "running", yesterday)
    log = SqliteLog(
        stage.log_path, retention_s=7 * 86_400, retention_events=10**6,
        now_ms=lambda: time.time_ns() // 1_000_000,
    )  # fmt: skip
    await log.open()
    await log.append([events.decode(word.body)])
    await log.close()
    stage.sent.append(Sent("before", word.identity, is_step=False, is_old=False))
    script.find(f"instance:{id_}", "terminated")


async def _tell(stage: Stage, script: Script) -> None:
    """Send all that is told, mixed. Who told its ending within the bound must not be closed."""
    begun_s = time.monotonic()
    messages = []
    while streams := [stream for stream in script.told if stream]:
        messages.append(stage.dice.choice(streams).pop(0))
    await stage.send(messages, pause_s=0.12)
    if time.monotonic() - begun_s >= hasty.EXPRESS_S:  # a slow machine
        script.findable |= {key: ["TIMED_OUT"] for key in script.in_time}


async def _change(stage: Stage, world: World, fleet: list[str]) -> None:
    """Change instances, new ones and those without the tag too; tell of some changes."""
    dice = random.Random(stage.dice.random())
    (stranger,) = await world.launch(1, tagged=False)
    fleet += (late := await world.launch(1))
    for _ in range(ROUNDS):
        for id_ in (*fleet, stranger):
            word = await world.change(dice, id_) if dice.random() < 0.5 else None
            if word is None or dice.random() < 0.5:
                continue
            may_hide = id_ in (stranger, *late)
            await stage.send([replace(word, may_hide=may_hide)])
        await asyncio.sleep(dice.uniform(0.1, 0.7))


async def _until_right(stage: Stage, truth: Mapping[str, str | None]) -> None:
    """Until the log shows what is true, or the oracle will say what does not."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while judge_endings(truth, Evidence.read(stage.log_path)):
                await stage.look()
    except TimeoutError:
        return
