"""nats-server, with viewers on its WebSocket listener and the feed on its own protocol."""

import json
from pathlib import Path
from typing import Any

from infra.local.places import HOST

PROGRAM = "nats-server"


def command(program: str, folder: Path, port: int, feed: int) -> list[str | Path]:
    """How it is started; writes its settings."""
    settings: dict[str, Any] = {
        "host": HOST,
        "port": feed,
        "max_connections": 100_000,
        "websocket": {"host": HOST, "port": port, "no_tls": True, "compression": False},
    }
    file = folder / "nats.json"  # its own format takes JSON
    file.write_text(json.dumps(settings))
    return [program, "-c", file]
