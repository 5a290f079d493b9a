"""Addresses of Redis, as the settings have them."""

from typing import Literal, NamedTuple
from urllib.parse import urlsplit

Topology = Literal["single", "cluster", "sentinel"]


class Address(NamedTuple):
    """What a `redis://` setting says."""

    topology: Topology
    hosts: tuple[tuple[str, int], ...]
    tls: bool
    username: str | None
    database: int
    service: str
    """The name that Sentinel knows the primary by."""


def address(url: str) -> Address:
    """`redis[s][+cluster|+sentinel]://[user@]host[:port][,host…][/database or service]`.

    Raises `ValueError`, naming what is wrong and not its value.
    """
    scheme, _, rest = url.partition("://")
    name, _, kind = scheme.partition("+")
    if name not in ("redis", "rediss") or kind not in ("", "cluster", "sentinel"):
        raise ValueError("the scheme is none of redis, rediss, and these with +cluster, +sentinel")
    parts = urlsplit(f"redis://{rest}")
    if parts.password is not None:
        raise ValueError("a password does not belong into an address; there is a setting for it")
    if parts.query or parts.fragment:
        raise ValueError("nothing is understood after a ? or #")
    topology: Topology = "single" if not kind else "cluster" if kind == "cluster" else "sentinel"
    names = parts.netloc.rpartition("@")[2]
    hosts = tuple(_host(each, 26379 if kind == "sentinel" else 6379) for each in names.split(","))
    path = parts.path.removeprefix("/")
    if topology == "sentinel" and not path:
        raise ValueError("the name of Sentinel's primary is missing: …/name")
    if topology == "cluster" and path:
        raise ValueError("a cluster has one database")
    if topology == "single" and len(hosts) != 1:
        raise ValueError("several hosts, but neither +cluster nor +sentinel")
    if topology == "single" and path and not path.isdecimal():
        raise ValueError("the database is a number")
    database = int(path) if topology == "single" and path else 0
    service = path if topology == "sentinel" else ""
    return Address(topology, hosts, name == "rediss", parts.username, database, service)


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"redis://{text}")
    if not parts.hostname:
        raise ValueError("a host is missing")
    return parts.hostname, parts.port or port
