"""What a queue's policy says: as much of IAM's language as policies of queues use. Pure."""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

Statement = dict[str, Any]
_POSITIVE: Final = ("ArnEquals", "ArnLike", "StringEquals", "StringLike", "Bool")
_NEGATED: Final = ("ArnNotEquals", "ArnNotLike", "StringNotEquals", "StringNotLike")


def statements(policy: str | None) -> list[Statement]:
    """Of a policy as SQS gives it."""
    return [] if not policy else list(_listed(json.loads(policy)["Statement"]))


def denies_plain_http(found: list[Statement]) -> bool:
    """Whether nobody does anything without TLS."""
    plain = {"aws:SecureTransport": "false"}
    return any(
        each["Effect"] == "Deny"
        and _anyone(each)
        and _covers(each, "sqs:ReceiveMessage")
        and _applies(each, plain)
        for each in found
    )


def open_to_anyone(found: list[Statement]) -> list[Statement]:
    """Those that let in whoever asks."""
    return [
        each
        for each in found
        if each["Effect"] == "Allow" and _anyone(each) and not each.get("Condition")
    ]


def may_send(found: list[Statement], rule_arn: str) -> bool:
    """Whether EventBridge may send for a rule. A service has no permission but by the queue's."""
    context = {"aws:SourceArn": rule_arn, "aws:SecureTransport": "true"}
    if (account := rule_arn.split(":")[4:5]) and account[0]:
        context["aws:SourceAccount"] = account[0]
    ours = [
        each
        for each in found
        if (_anyone(each) or _is_eventbridge(each))
        and _covers(each, "sqs:SendMessage")
        and _applies(each, context)
    ]
    effects = {each["Effect"] for each in ours}
    return effects == {"Allow"}


def _anyone(statement: Statement) -> bool:
    principal = statement.get("Principal")
    if isinstance(principal, dict):
        principal = principal.get("AWS")
    return "*" in _listed(principal)


def _is_eventbridge(statement: Statement) -> bool:
    principal = statement.get("Principal")
    return isinstance(principal, dict) and "events.amazonaws.com" in _listed(
        principal.get("Service")
    )


def _covers(statement: Statement, action: str) -> bool:
    # Action names are compared without case (IAM user guide, "JSON policy elements: Action").
    return any(
        fnmatchcase(action.lower(), each.lower()) for each in _listed(statement.get("Action"))
    )


def _applies(statement: Statement, context: dict[str, str]) -> bool:
    """Whether all its conditions hold; one whose operator we do not know counts as holding not."""
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            given = next((v for k, v in context.items() if k.lower() == key.lower()), None)
            if operator.removesuffix("IfExists") in _POSITIVE:
                holds = _matches(given, values) or (given is None and operator.endswith("IfExists"))
            elif operator.removesuffix("IfExists") in _NEGATED:
                # Holds also where the key is absent (IAM user guide, "Condition operators").
                holds = not _matches(given, values)
            else:
                return False
            if not holds:
                return False
    return True


def _matches(given: str | None, values: Any) -> bool:
    return given is not None and any(fnmatchcase(given, str(each)) for each in _listed(values))


def _listed(value: Any) -> Iterator[Any]:
    if value is None:
        return
    yield from value if isinstance(value, list) else [value]
