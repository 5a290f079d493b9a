"""How AWS decides on a resource's policy: IAM user guide, "Policy evaluation logic" and
"IAM JSON policy elements: Condition operators". Only what our policies use; the rest raises.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.template.synthesis import ACCOUNT, as_list

NEGATED = {"ArnNotEquals": "ArnEquals"}


@dataclass(frozen=True)
class Caller:
    """Who asks. `arn` is the role's or user's own; a service that calls as itself has none."""

    arn: str | None = None
    service: str | None = None
    source_arn: str | None = None
    tls: bool = True
    allowed_by_iam: bool = True

    @property
    def is_ours(self) -> bool:
        return self.arn is not None and f":{ACCOUNT}:" in self.arn

    @property
    def context(self) -> dict[str, str]:
        """The condition keys of the request; what does not apply is absent."""
        keys = {"aws:PrincipalArn": self.arn, "aws:SourceArn": self.source_arn}
        present = {key: value for key, value in keys.items() if value is not None}
        return present | {"aws:SecureTransport": str(self.tls).lower()}


def may(caller: Caller, action: str, policy: list[dict[str, Any]]) -> bool:
    """Whether `caller` may do `action` to the resource that `policy` is on.

    An explicit Deny ends it. Within the account one Allow is enough, of IAM or of the policy;
    another account's principal needs both; a service has the policy only.
    """
    matching = [s["Effect"] for s in policy if _applies(s, caller, action)]
    if "Deny" in matching:
        return False
    if caller.service:
        return "Allow" in matching
    if caller.is_ours:
        return "Allow" in matching or caller.allowed_by_iam
    return "Allow" in matching and caller.allowed_by_iam


def _applies(statement: Mapping[str, Any], caller: Caller, action: str) -> bool:
    conditions = statement.get("Condition", {})
    return (
        _is_principal(statement["Principal"], caller)
        and any(fnmatchcase(action, pattern) for pattern in as_list(statement["Action"]))
        and all(
            _holds(operator, as_list(values), caller.context.get(key))
            for operator, keys in conditions.items()
            for key, values in keys.items()
        )
    )


def _is_principal(principal: Any, caller: Caller) -> bool:
    if principal == "*":
        return True
    assert principal.keys() == {"Service"}, principal
    return caller.service in as_list(principal["Service"])


def _holds(operator: str, values: list[str], actual: str | None) -> bool:
    """A plain operator wants its key to be there; a negated one also holds where it is absent."""
    if operator in NEGATED:
        return not _holds(NEGATED[operator], values, actual)
    assert operator in ("ArnEquals", "Bool", "StringEquals"), operator
    return actual is not None and any(fnmatchcase(actual, value) for value in values)
