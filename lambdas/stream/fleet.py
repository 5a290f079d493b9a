"""EC2's instances: whose events are shown. EventBridge tells of the account's every instance."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from consumer.core.events import Event

MAX_PAGE: Final = 1000  # DescribeInstances' API reference


class NotDescribed(Exception):
    """EC2 does not answer; asking again may help. The operator must look."""


class Fleet:
    """Asks EC2 which instances carry the stack's tag, once for all events of a batch."""

    def __init__(self, client: Any, tag: tuple[str, str]) -> None:
        self._client = client
        self._tag = tag

    def shown(self, batch: Sequence[Event]) -> list[Event]:
        """Of these events, those to show, with their instance's name. Raises `NotDescribed`."""
        unknown = {one.instance_id for one in batch if one.execution is None and one.instance_id}
        if not unknown:  # executions are the stack's own
            return list(batch)
        tagged = self._describe(sorted(unknown))
        return [
            one if one.execution is not None else _named(one, tagged[one.instance_id or ""])
            for one in batch
            if one.execution is not None or one.instance_id in tagged
        ]

    def _describe(self, ids: list[str]) -> dict[str, str | None]:
        """Names of those that carry the tag, by id."""
        key, value = self._tag
        filters = [
            {"Name": "instance-id", "Values": ids},
            {"Name": f"tag:{key}", "Values": [value]},
        ]
        found: dict[str, str | None] = {}
        more: dict[str, Any] = {}
        try:
            while True:
                answer = self._client.describe_instances(
                    Filters=filters, MaxResults=MAX_PAGE, **more
                )
                for reservation in answer["Reservations"]:
                    for raw in reservation["Instances"]:
                        tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", ())}
                        # A filter's value may hold wildcards, a tag's value the same characters.
                        if tags.get(key) == value:
                            found[raw["InstanceId"]] = tags.get("Name")
                if not answer.get("NextToken"):
                    return found
                more = {"NextToken": answer["NextToken"]}
        except ClientError as error:
            raise NotDescribed(error.response["Error"]["Code"]) from error
        except BotoCoreError as error:
            raise NotDescribed(type(error).__name__) from error


def _named(event: Event, name: str | None) -> Event:
    if name is None:
        return event
    return msgspec.structs.replace(event, detail={**event.detail, "name": name})
