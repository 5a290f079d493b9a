"""What the checks look at: settings as far as they can be used, AWS, and the clock.

What several checks ask AWS for is asked once.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aioboto3
from aiobotocore.config import AioConfig
from pydantic import create_model
from pydantic_settings import BaseSettings

from consumer import settings as product
from consumer.edges import aws
from consumer.operator.finding import CHECK_S
from consumer.settings import PREFIX, BadSettings, Settings

# Opened before the checks begin: reading their models takes a second of CPU, most of it EC2's.
SERVICES: Final = ("sqs", "stepfunctions", "ec2", "sts", "events")
# What AWS says to those who may not, by service (their API references, "Common errors").
DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}
)
# In the place of settings that cannot be used and whose default would not do.
_STAND_INS: Final[dict[str, Any]] = {
    "queue_url": "https://absent.invalid/0/absent.fifo",
    "service_queue_url": "https://absent.invalid/0/absent",
    "metrics_port": 0,
}
# Lists, which the settings' own validators split; no check looks at them.
_LISTS: Final = ("origins", "trusted_proxies")
# The settings without what ties them together: a contradiction is told, and each of its sides is
# still looked at.
_Loose: Final = create_model(
    "_Loose",
    __base__=type("_Base", (BaseSettings,), {"model_config": Settings.model_config}),
    **{
        name: (field.annotation, field)
        for name, field in Settings.model_fields.items()
        if name not in _LISTS
    },  # type: ignore[call-overload]
)


class Queue(NamedTuple):
    """One of the two queues: what we call it, where it is, and the setting that says so."""

    name: str
    url: str
    setting: str

    @property
    def is_fifo(self) -> bool:
        return self.name == "status"

    @property
    def short_name(self) -> str:
        """Its name in SQS."""
        return self.url.rsplit("/", 1)[-1]


class Scene:
    """An async context manager: its clients are closed at the end."""

    def __init__(
        self,
        *,
        now_s: Callable[[], float] = time.time,
        may_receive: bool = False,
        check_s: float = CHECK_S,
    ) -> None:
        """`check_s`: how long one check may take. `may_receive`: whether it may cost a receive."""
        self.problems = _problems()
        self.settings, self.unusable = tolerant(self.problems)
        self.now_s = now_s
        self.may_receive = may_receive
        self.check_s = check_s
        self._asked: dict[str, asyncio.Task[Any]] = {}
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        with suppress(*aws.FAILURES):  # told by the checks that need it
            for service in SERVICES if self.session.region_name else ():
                await self.client(service)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        await self._closing.aclose()

    @functools.cached_property
    def session(self) -> aioboto3.Session:
        """Raises BotoCoreError where the AWS configuration cannot be used; `aws.region` tells."""
        return aioboto3.Session()

    @property
    def queues(self) -> list[Queue]:
        """Those whose setting can be used."""
        chosen = self.settings
        both = [
            Queue("status", chosen.queue_url, f"{PREFIX}QUEUE_URL"),
            Queue("service", chosen.service_queue_url, f"{PREFIX}SERVICE_QUEUE_URL"),
        ]
        names = ("queue_url", "service_queue_url")
        return [one for one, name in zip(both, names, strict=True) if name not in self.unusable]

    async def once(self, about: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        """The answer to a question that others ask too. Whoever stops waiting disturbs nobody."""
        if about not in self._asked:
            self._asked[about] = asyncio.ensure_future(ask())
        return await asyncio.shield(self._asked[about])

    async def client(self, service: str) -> Any:
        """A client of an AWS service."""

        async def open_() -> Any:
            # Two attempts and their pause fit in a check.
            brief = AioConfig(
                connect_timeout=self.check_s * 0.3,
                read_timeout=self.check_s * 0.4,
                retries={"mode": "standard", "total_max_attempts": 2},
            )
            return await self._closing.enter_async_context(
                self.session.client(service, config=brief)
            )

        return await self.once(f"client {service}", open_)

    async def attributes(self, url: str) -> dict[str, str]:
        """Of a queue. Raises what the SDK raises."""

        async def ask() -> dict[str, str]:
            sqs = await self.client("sqs")
            answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
            found: dict[str, str] = answer["Attributes"]
            return found

        found: dict[str, str] = await self.once(f"attributes {url}", ask)
        return found

    async def readable(self) -> list[tuple[Queue, dict[str, str]]]:
        """The queues whose attributes could be read; `queue.found` tells of the others."""
        found = []
        for queue in self.queues:
            try:
                found.append((queue, await self.attributes(queue.url)))
            except aws.FAILURES:
                continue
        return found

    async def identity(self) -> dict[str, str]:
        """Who we are to AWS. Raises what the SDK raises."""

        async def ask() -> dict[str, str]:
            sts = await self.client("sts")
            found: dict[str, str] = await sts.get_caller_identity()
            return found

        found: dict[str, str] = await self.once("identity", ask)
        return found


def tolerant(problems: list[str]) -> tuple[Settings, frozenset[str]]:
    """The settings, and the names of those that cannot be used: defaults stand in for them.

    `problems` are those that `consumer.settings.read` told.
    """
    refused = {problem.split(":")[0].removeprefix(PREFIX).lower() for problem in problems}
    unusable = frozenset(refused & Settings.model_fields.keys())
    instead = {name: _STAND_INS.get(name, Settings.model_fields[name].default) for name in unusable}
    loose = _Loose(**{name: value for name, value in instead.items() if name not in _LISTS})
    return Settings.model_construct(**loose.model_dump()), unusable


def _problems() -> list[str]:
    try:
        product.read()
    except BadSettings as error:
        return error.problems
    return []
