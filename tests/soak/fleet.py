"""Trials of several consumers on one Redis: whoever fails, and whoever is renewed."""

import asyncio
from collections import Counter
from typing import Final

from tests.soak import load
from tests.soak.oracle import DRAINING, judge_farewells
from tests.soak.outcome import ALL_TOLD, AT_REST, Outcome
from tests.soak.replicas import ANYTHING, REPLICAS, FleetStage
from tests.soak.trials import Place, patterns

FAULTS: Final = 5  # of one trial
STAY_S: Final = 60.0  # of viewers that do not leave by themselves, as a rule


async def fleet(place: Place, seed: int) -> Outcome:
    """Replicas, their ways and Redis fail in turn under load; odd seeds have a replica of Redis,
    and fail over to it: then an event counts as committed once both have it.
    """
    with_replica = bool(seed % 2)
    settings = {"STATUSWIRE_LOG_REPLICAS": "1"} if with_replica else {}
    async with place.stage("fleet", seed, FleetStage, **settings) as stage:
        assert isinstance(stage, FleetStage)
        if with_replica:
            await stage.back_up()
        made = load.make(stage.dice, runs=60)
        stage.watch(patterns(stage.dice, made))
        sending = asyncio.create_task(stage.send(made.messages, pause_s=0.15))
        faults = stage.dice.sample(ANYTHING, FAULTS - with_replica)
        if with_replica:  # a restart would come before its replica has heard of it
            faults = [each for each in faults if each is not FleetStage.restart_redis]
            faults.insert(stage.dice.randrange(len(faults) + 1), FleetStage.fail_over)
        for fault in faults:
            await asyncio.sleep(stage.dice.uniform(0.0, 0.5))
            await fault(stage, stage.dice.randrange(REPLICAS))
        await sending
        outcome = await stage.judge(made.endings)
        outcome.figures["faults"] = len(faults)
        outcome.figures |= Counter(fault.__name__.replace("_", " ") for fault in faults)
        return outcome


async def rolling(place: Place, seed: int) -> Outcome:
    """Each consumer in turn is told to end, drains, and is started again, under load. Half of the
    viewers stay for as long as they may, and come back with their cursor when they were told to.
    """
    async with place.stage("rolling", seed, FleetStage) as stage:
        assert isinstance(stage, FleetStage)
        made = load.make(stage.dice, runs=60)
        stage.watch(patterns(stage.dice, made))
        stage.watch(patterns(stage.dice, made), stay_s=STAY_S, forgets=0.0)
        part = -(-len(made.messages) // REPLICAS)
        codes = []
        for turn, number in enumerate(stage.dice.sample(range(REPLICAS), REPLICAS)):
            messages = made.messages[turn * part : (turn + 1) * part]
            sending = asyncio.create_task(stage.send(messages, pause_s=0.15))
            await asyncio.sleep(stage.dice.uniform(0.2, 0.7))
            codes.append(await stage.replicas[number].drain())
            await stage.replicas[number].start()
            await sending
        # Before they are stopped to be judged, with less patience.
        visits = [visit for viewer in stage.viewers for visit in viewer.visits]
        unkind = judge_farewells(visits, expected=True)
        drained = sum(visit.closed == DRAINING for visit in visits)
        outcome = await stage.judge(made.endings)
        outcome.object_to(ALL_TOLD, unkind)
        outcome.object_to(AT_REST, [f"a drain ended with {code}" for code in codes if code])
        if (epochs := len((await stage.evidence()).epochs)) > 1:
            outcome.object_to(ALL_TOLD, [f"{epochs} epochs, though Redis went on"])
        if not drained:
            outcome.object_to(ALL_TOLD, ["nobody was there to be told of a drain"])
        outcome.figures |= {"renewed": len(codes), "told to come back": drained}
        return outcome
