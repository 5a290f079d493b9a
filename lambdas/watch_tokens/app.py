"""POST /watch-tokens: a short-lived token that opens the WebSocket for some watch patterns.

A JSON Web Token (RFC 7519), HS256. Its `kid` is the version of the secret that signed it, so
that the next version can take over while tokens of the last one still live.
"""

import json
import os
import re
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import Any

import boto3  # type: ignore[import-untyped]  # it has no types of its own
import jwt
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ISSUER = "statuswire"
# The same as in the consumer's core/watch.py, which reads what is granted here.
PATTERN = re.compile(
    r"\*|instance:i-(?:[0-9a-f]{8}|[0-9a-f]{17})|machine:(?:express|standard)"
    r"|execution:(?:[^\s:]{1,80}"
    r"|arn:aws[a-z-]*:states:[a-z0-9-]+:[0-9]{12}:(?:execution|express):[^\s:]+:\S+)"
)
SHARED_SESSION = "/CognitoIdentityCredentials"  # of whoever has credentials of an identity pool
# One user pool, and again with the person in it.
PERSON = re.compile(
    r"(?P<pool>(?:https://)?cognito-idp\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?/[\w-]+)"
    r",(?P<caller>(?P=pool):CognitoSignIn:[0-9a-f-]{36})"
)
MAX_PATTERN_CHARS = 512
# 64 × 31 B of instances and 0.7 kB of other claims are 2.7 kB, × 4/3 in base64 3.6 kB.
MAX_PATTERNS = 64
# A token is one header line, of which websockets takes 8,192 B; half is left to what stands
# beside it there, and to proxies.
MAX_TOKEN_CHARS = 4096
MIN_KEY_BYTES = 32  # as many as the hash has (RFC 7518, section 3.2)
# How long a rotated key may still sign; its tokens stay valid as AWSPREVIOUS.
KEY_KEPT_S = 60
# Two attempts of at most 2 s each way are 8 s: inside of the function's own 10 s.
PATIENCE = Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 2})
THROTTLED = ("ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded")
# The secret is there and this function cannot use it: only the operator can help.
MISCONFIGURED = (
    *("AccessDeniedException", "DecryptionFailure", "InvalidParameterException"),
    *("InvalidRequestException", "ResourceNotFoundException"),
)

logger = Logger()

Answer = dict[str, Any]


class Refused(Exception):
    """What the caller is told instead of a token."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class SigningKey:
    """`version` is the secret's, `read_at` in seconds since 1970. Its key never shows."""

    version: str
    read_at: float
    key: str = field(repr=False)


class Keys:
    """The secret's current version, read again when it is older than `KEY_KEPT_S`."""

    def __init__(self, client: Any, secret: str) -> None:
        self._client = client
        self._secret = secret
        self._known: SigningKey | None = None

    def current(self, now: float) -> SigningKey:
        """Raises `Refused`."""
        if self._known is None or not 0 <= now - self._known.read_at < KEY_KEPT_S:
            self._known = self._read(now)
        return self._known

    def _read(self, now: float) -> SigningKey:
        try:
            answer = self._client.get_secret_value(SecretId=self._secret)
        except ClientError as error:
            raise _explain(error.response["Error"]["Code"]) from error
        except BotoCoreError as error:
            raise _explain(type(error).__name__) from error
        key = _key_in(answer.get("SecretString"))
        if key is None:
            logger.error("the signing key is not usable")
            raise _misconfigured()
        return SigningKey(answer["VersionId"], now, key)


def _key_in(secret: Any) -> str | None:
    try:
        key = json.loads(secret)["key"]
    except (ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, str) and len(key.encode()) >= MIN_KEY_BYTES else None


def _explain(code: str) -> Refused:
    logger.warning("Secrets Manager did not give the signing key", extra={"code": code})
    if code in THROTTLED:
        message = "Too many requests; try again later."
        return Refused(HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", message)
    if code.startswith("Kms") or code in MISCONFIGURED:
        return _misconfigured()
    message = "The signing key could not be read; try again later."
    return Refused(HTTPStatus.BAD_GATEWAY, "signing_key_unavailable", message)


def _misconfigured() -> Refused:
    message = "This function cannot sign."
    return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", message)


@cache
def keys() -> Keys:
    """One client and one key for all invocations of this process."""
    client = boto3.client("secretsmanager", config=PATIENCE)
    return Keys(client, os.environ["SIGNING_KEY_ARN"])


@logger.inject_lambda_context
@event_source(data_class=APIGatewayProxyEvent)
def lambda_handler(event: APIGatewayProxyEvent, context: LambdaContext) -> Answer:
    """Entry point. `event` is a proxy event of a REST API (payload format 1.0)."""
    try:
        caller = caller_of(event)
        return _answer(HTTPStatus.CREATED, issue(watch_of(event.body), caller, time.time()))
    except Refused as refused:
        return _refuse(refused)
    except Exception as error:
        # Without its traceback: a library's message might hold what it could not sign.
        logger.error("unexpected", extra={"error": type(error).__name__})  # noqa: TRY400
        return _refuse(_misconfigured())


def caller_of(event: APIGatewayProxyEvent) -> str:
    """Who signed the request: an ARN, or a person, `<user pool>:CognitoSignIn:<sub>`. Raises
    `Refused`: without IAM, or by a role that many share, there is nobody to name.
    """
    identity = event.request_context.identity
    caller = identity.user_arn
    if identity.cognito_identity_pool_id or (caller or "").endswith(SHARED_SESSION):
        # All people of a group are one ARN. Each is named in API Gateway's list of providers
        # (developer guide, "$context variables", cognitoAuthenticationProvider).
        person = PERSON.fullmatch(identity.cognito_authentication_provider or "")
        caller = person and person["caller"]
    if not caller:
        message = "A token is issued to a caller that IAM knows by name."
        raise Refused(HTTPStatus.FORBIDDEN, "forbidden", message)
    return caller


def watch_of(body: str | None) -> list[str]:
    """The patterns asked for, each once. Raises `Refused`, naming the field and not its value."""
    try:
        asked = json.loads(body or "")
    except (ValueError, RecursionError) as error:
        raise _invalid("the body is not JSON") from error
    watch = asked.get("watch") if isinstance(asked, dict) else None
    if not isinstance(watch, list) or not 1 <= len(watch) <= MAX_PATTERNS:
        raise _invalid(f"watch is a list of 1 to {MAX_PATTERNS} patterns")
    for place, pattern in enumerate(watch):
        if not is_pattern(pattern):
            raise _invalid(
                f"watch[{place}] is none of instance:<id>, execution:<ARN or name>,"
                " machine:express|standard, *"
            )
    return list(dict.fromkeys(watch))


def is_pattern(pattern: Any) -> bool:
    """Whether something is a watch pattern of the contract."""
    return (
        isinstance(pattern, str)
        and len(pattern) <= MAX_PATTERN_CHARS
        and PATTERN.fullmatch(pattern) is not None
    )


def issue(watch: list[str], caller: str, now: float) -> dict[str, Any]:
    """A token for these patterns and how to use it. Raises `Refused`."""
    begins = int(now)
    expires = begins + round(float(os.environ["WATCH_TOKEN_MINUTES"]) * 60)
    claims = {
        "iss": ISSUER,
        "aud": os.environ["TOKEN_AUDIENCE"],
        "sub": caller,
        "iat": begins,
        "nbf": begins,
        "exp": expires,
        "jti": str(uuid.uuid4()),
        "watch": watch,
    }
    signing = keys().current(now)
    token = jwt.encode(claims, signing.key, algorithm="HS256", headers={"kid": signing.version})
    if len(token) > MAX_TOKEN_CHARS:
        raise _invalid("watch is too long for one token: ask for fewer or shorter patterns")
    return {
        "token": token,
        "expires": f"{datetime.fromtimestamp(expires, UTC):%Y-%m-%dT%H:%M:%S}.000Z",
        "url": os.environ["WATCH_URL"],
        "watch": watch,
    }


def _invalid(message: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "invalid_input", message)


def _refuse(refused: Refused) -> Answer:
    return _answer(refused.status, {"error": refused.code, "message": str(refused)})


def _answer(status: HTTPStatus, body: dict[str, Any]) -> Answer:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    if origin := os.environ.get("DASHBOARD_ORIGIN"):
        headers["Access-Control-Allow-Origin"] = origin
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = "1"
    return {"statusCode": int(status), "headers": headers, "body": json.dumps(body)}
