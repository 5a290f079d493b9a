"""Replicas of the product on one Redis: one takes the feed, one has the viewers, others follow."""

from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Final

from infra.local import redis
from tests.bench.contestants import TAKER, Contestant, Served, listening, replica
from tests.bench.goals import OURS
from tests.bench.pinned import Cores, Pinned, wait_for
from tests.bench.stand import Sample
from tests.redis_processes import free_port

REDIS: Final = "redis"
FOLLOWER: Final = "follower"  # each with a number; it has no viewers


def fleet(replicas: int, name: str = OURS) -> Contestant:
    """So many replicas; the one that has the viewers is measured, as of others, on the server's
    core. The rest is on the load's: what is to be known of it is what it uses.
    """

    def start(folder: Path, core: int, heartbeat_s: float) -> Served:
        load = Cores.here().load
        with ExitStack() as closing:
            stream, port = redis_server(folder / REDIS, load, closing)
            unseen = [TAKER, *(f"{FOLLOWER}_{number}" for number in range(1, replicas - 1))]
            roles = {"server": core, **dict.fromkeys(unseen[: replicas - 1], load)}
            started = {}
            for role, its_core in roles.items():
                its_folder = folder / role
                its_folder.mkdir()
                log = f"redis://127.0.0.1:{port}"
                started[role] = replica(log, its_folder, its_core, heartbeat_s)
                closing.callback(started[role].kill)
            served = {role: listening(process) for role, process in started.items()}
            closing.pop_all()
        server = started.pop("server")
        feed = served[TAKER if TAKER in served else "server"].feed
        return Served(server, served["server"].port, feed, {REDIS: stream, **started})

    return Contestant(name, "product", start)


def costs(sample: Sample) -> Sample:
    """CPU of a play in µs per event: of each kind of process there is, and of all of them."""
    events = max(1, sample["events"])
    used_s = _used_s(sample)
    each_us = {f"{kind}_us": fmean(each) * 1e6 / events for kind, each in used_s.items()}
    return {**each_us, "all_us": sum(map(sum, used_s.values())) * 1e6 / events}


def shares(sample: Sample) -> Sample:
    """How much of a core each kind of process took, and all that share the load's core."""
    used_s = _used_s(sample)
    seconds = sample["seconds"]
    each_core = {f"{kind}_core": fmean(each) / seconds for kind, each in used_s.items()}
    unseen_s = sum(sum(each) for kind, each in used_s.items() if kind != "server")
    return {**each_core, "load_core": (unseen_s + sample["viewers_cpu_s"]) / seconds}


def _used_s(sample: Sample) -> dict[str, list[float]]:
    """Seconds of CPU of each process, by its kind; `server` has the viewers."""
    found = {"server": [sample["cpu_s"]]}
    for kind in (REDIS, TAKER, FOLLOWER):
        used_s = [
            value
            for name, value in sample.items()
            if name.startswith(kind) and name.endswith("_cpu_s")
        ]
        if used_s:
            found[kind] = used_s
    return found


def redis_server(folder: Path, core: int, closing: ExitStack) -> tuple[Pinned, int]:
    """A server as durable as SQLite with `synchronous=FULL`, once it answers; and its port."""
    folder.mkdir()
    port = free_port()
    command = redis.command(
        redis.system() or redis.bundled(), port, folder,
        "--appendonly", "yes", "--appendfsync", "always", "--logfile", str(folder / "log"),
    )  # fmt: skip
    process = Pinned(command, core, folder / "output")
    closing.callback(process.kill)
    wait_for(lambda: process.is_up() and redis.answers(port))
    return process, port
