"""Where things are: the checkout, the two environments, ports. Loopback only."""

import os
import secrets
import socket
import sys
from dataclasses import dataclass, fields
from pathlib import Path

HOST = "127.0.0.1"
REGION = "us-east-1"
ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".venv-tools" / "bin"
# What may stay between runs: build caches and the SAM CLI's home.
CACHE = ROOT / ".local"

# Above what services are known by, and below what Linux (from 32,768 on) gives to connections.
UNGIVEN = range(20_000, 32_768)

# The emulator takes any credentials. These keep an engineer's real ones out of it.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


class LocalRunError(RuntimeError):
    """The local run cannot go on; the message is for the person who started it."""


@dataclass(frozen=True)
class Ports:
    """TCP ports of a run; 0 asks for a free one."""

    consumer: int = 0
    rest: int = 0
    aws: int = 0
    metrics: int = 0
    redis: int = 0

    def settle(self) -> "Ports":
        """The same with every 0 replaced by a port that is free now."""
        wanted = [getattr(self, field.name) for field in fields(self)]
        free = set[int]()
        while len(free) < wanted.count(0):
            free.add(free_port())
        return Ports(*(port or free.pop() for port in wanted))


def free_port() -> int:
    """A port on which nobody listens, and which no connection is given.

    One that the system chooses (port 0) is of those that it gives to connections, too: another
    program's could have it before it is used, or between a server's end and its next start.
    """
    while is_taken(port := secrets.choice(UNGIVEN)):
        pass
    return port


def is_taken(port: int) -> bool:
    """Whether something already listens on the port (or we may not)."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return True
    return False


def child_environment(endpoint: str, folder: Path) -> dict[str, str]:
    """What every child gets: our environment, but its AWS is `endpoint`, and its temporary
    files stay in the run's folder.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": REGION,
        # One profile of an engineer's own would be enough to lead a client elsewhere.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "TMPDIR": str(temporary_folder(folder)),
    }


def temporary_folder(folder: Path) -> Path:
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return temporary


def client_settings(endpoint: str) -> dict[str, str]:
    """Keyword arguments for boto3's and aioboto3's `client`."""
    return {
        "endpoint_url": endpoint,
        "region_name": REGION,
        "aws_access_key_id": CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    }


def python_runtime() -> str:
    """Lambda's name for the Python at hand; both environments are made from the same one."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"
