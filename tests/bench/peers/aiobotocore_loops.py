"""Receive and delete with plain aiobotocore, the newest: so many loops at the same time."""

import asyncio
import os
import sys
from typing import Any

import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session


async def loop(sqs: Any, url: str) -> None:
    """One of them, for ever."""
    while True:
        answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20)
        if messages := answer.get("Messages"):
            entries = [
                {"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]}
                for place, message in enumerate(messages)
            ]
            await sqs.delete_message_batch(QueueUrl=url, Entries=entries)


async def main(loops: int) -> None:
    url = os.environ["STATUSWIRE_QUEUE_URL"]
    config = AioConfig(max_pool_connections=2 * loops)
    async with get_session().create_client("sqs", config=config) as sqs:
        await asyncio.gather(*(loop(sqs, url) for _ in range(loops)))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
