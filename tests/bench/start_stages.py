"""A start of the consumer in a row, step by step: prints the CPU seconds of each as JSON.

It calls what the composition root calls, in the same order; what runs there at the same time (and
waits for the mock) is left out.
"""

import time

_took_s = {"interpreter": time.process_time()}
_marked_s = time.process_time()


def _mark(stage: str | None) -> None:
    """The end of a stage; None: of something that is not told."""
    global _marked_s  # noqa: PLW0603 # a process has one clock
    now_s = time.process_time()
    if stage is not None:
        _took_s[stage] = now_s - _marked_s
    _marked_s = now_s


async def _open() -> None:
    chosen = settings.read()
    _mark("settings")
    root = app.App(chosen)
    _mark("App()")
    await root.status_log.open()
    await root.hub.load()
    _mark("log and hub")
    session = aioboto3.Session()
    _mark("session")
    for number, service in enumerate(("sqs", "sqs", "ec2", "stepfunctions")):
        async with session.client(service):
            _mark(f"client {number + 1}: {service}")
        _mark(None)
    await root.hub.close()
    await root.status_log.close()


if __name__ == "__main__":
    from consumer import app, settings

    _mark("import consumer.app")
    import json

    import aioboto3
    import uvloop

    _mark(None)
    uvloop.run(_open())
    print(json.dumps(_took_s))
