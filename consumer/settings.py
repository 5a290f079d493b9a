"""Settings: everything an operator can choose, read once from `STATUSWIRE_*`.

Credentials, region and endpoint of AWS are the SDK's own: its usual variables and files count.
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import botocore.session
from botocore.exceptions import BotoCoreError
from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from consumer import redis_address
from consumer.core.limits import Limits
from consumer.sign_in import SignIn, sign_in

PREFIX = "STATUSWIRE_"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# What may stand in an address that goes into the page's Content-Security-Policy: no space, quote,
# comma or semicolon.
_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9.:_~%/$-]*)?")
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\[\]_-]+(:[0-9]{1,5})?")


class BadSettings(Exception):
    """Settings that are missing, wrong or contradict each other. The operator must act."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _http_url(url: str) -> str:
    if not _ADDRESS.fullmatch(url) or not urlsplit(url).hostname:
        raise ValueError("must be an http:// or https:// address without query or user")
    return url.rstrip("/")


def _sign_in_address(address: str) -> str:
    sign_in(address)
    return address


HttpUrl = Annotated[str, AfterValidator(_http_url)]
SignInAddress = Annotated[str, AfterValidator(_sign_in_address)]


class Settings(BaseSettings):
    """One frozen object; the defaults suit one small machine."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        hide_input_in_errors=True,
    )

    queue_url: HttpUrl
    """The FIFO queue of publish steps: the stack's output StatusQueueUrl."""
    service_queue_url: HttpUrl
    """The standard queue of EventBridge's events: the stack's output ServiceQueueUrl."""
    log: str = "sqlite:statuswire.db"
    """Where the status log is: `sqlite:<path>`, one process per file; or Redis or Valkey, for any
    number of processes: `redis://[user@]host[:port][/database]`, `rediss://…` with TLS,
    `rediss+cluster://host,…`, `rediss+sentinel://host,…/name`."""
    log_name: str = Field("statuswire", pattern="^[A-Za-z0-9._-]{1,64}$")
    """The log's name in Redis: several logs may share a server. The keys of one lie in one slot."""
    log_password: SecretStr | None = None
    """Redis' password, which does not belong into an address."""
    log_ca: Path | None = None
    """A PEM file of certificates to trust for Redis, instead of the system's."""
    log_replicas: int = Field(0, ge=0, le=5)
    """How many of Redis' replicas must have an event before its message is acknowledged."""
    log_wait_s: float = Field(1.0, ge=0.05, le=60)
    """How long that may take; after it the event is appended again, as a repeat."""
    log_rest_s: float = Field(0.0, ge=0, le=1)
    """How long to wait after a read of Redis' stream that brought something, before the next: many
    replicas then cost Redis less, and an event that follows another comes up to so much later."""
    signing_secret: str | None = Field(None, pattern="^arn:aws[a-z-]*:secretsmanager:")
    """The secret that signs watch tokens: the stack's output SigningKeyArn. None: no tokens."""
    jwks_url: HttpUrl | None = None
    """The public keys of an OpenID Connect provider, in place of STATUSWIRE_SIGNING_SECRET."""
    issuer: str | None = Field(None, min_length=1)
    """The `iss` that the provider's tokens have."""
    audience: str | None = Field(None, min_length=1)
    """The `aud` that tokens must have: the stack's output TokenAudience."""
    watch_claim: str = Field("watch", min_length=1)
    """The claim that lists what the bearer may watch."""
    tls_certificate: Path | None = None
    """A PEM file, chain included; read again when it changes. None: plain HTTP."""
    tls_key: Path | None = None
    """The certificate's private key, a PEM file without a passphrase."""
    trusted_proxies: Annotated[frozenset[Network], NoDecode] = frozenset()
    """Networks of the proxies whose X-Forwarded-For and -Proto count, separated by commas."""
    host: str = "127.0.0.1"
    """The address to listen on: a loopback one, unless tokens are asked for."""
    port: int = Field(8080, ge=0, le=65_535)
    """Dashboard and WebSockets; 0 lets the system choose."""
    metrics_host: str = "127.0.0.1"
    """The address of Prometheus' `/metrics`, on the same terms as the other."""
    metrics_port: int = Field(9090, ge=0, le=65_535)
    """Its port; of several workers the first one's, each other has the next. 0 lets the system
    choose, and `listening` in the log says what."""
    rest_url: HttpUrl | None = None
    """The REST API, stage included, for the dashboard's buttons; none hides them."""
    sign_in: SignInAddress | None = None
    """Where people sign in on the dashboard: the stack's output SignInAddress. None: nowhere."""
    origins: Annotated[frozenset[str], NoDecode] = frozenset()
    """Origins of other pages that may connect, separated by commas."""
    max_connections: int = Field(20_000, ge=1)
    """In all: × 3 KiB ≈ 60 MB idle; × (64 kB of socket buffer + 100 kB) ≈ 3.3 GB all stalled."""
    max_connections_per_address: int = Field(1_000, ge=1)
    """A large office behind one address. Loopback is this machine itself, and not counted."""
    max_half_open: int = Field(2_000, ge=1)
    """Connections that have not finished their handshake: × ~20 kB ≈ 40 MB; the oldest go."""
    handshake_s: float = Field(10.0, ge=0.05, le=300)
    """How long a connection may take to say who it is."""
    max_handshakes_per_s: float = Field(5_000.0, ge=1)
    """New connections: a handshake takes some 0.2 ms, so 5,000 fill one core. Twice as many may
    come at once, a fleet of viewers after a restart."""
    max_handshakes_per_s_per_address: float = Field(50.0, ge=0.1)
    """1 % of what one core can do; ten times as many may come at once. Not for loopback."""
    max_watches: int = Field(400, ge=1)
    """Patterns of one client: × ~100 B in its session and the index ≈ 40 kB."""
    max_message_bytes: int = Field(64 * 1024, ge=1_024, le=1 << 20)
    """One message: a subscribe with 400 execution ARNs of 160 characters."""
    max_messages_per_s: float = Field(100.0, ge=0.1)
    """Of one client, pings and fragments included: 100 × ~20 µs are 0.2 % of a core. Ten times as
    many may come at once."""
    max_fragments: int = Field(64, ge=1)
    """Of one message: programs that fragment at all do it by kilobytes."""
    max_outbox_events: int = Field(256, ge=1)
    """Events in line for one client before only the newest per key is kept: × ~400 B ≈ 100 kB."""
    max_outbox_bytes: int = Field(1 << 20, ge=64 * 1024)
    """Bytes in line for one client; past them it is closed as too slow: some 2,500 keys."""
    polls: int = Field(8, ge=1, le=64)
    """Long polls at once, per queue, at most: one while it is empty."""
    visibility_s: int = Field(10, ge=2, le=43_200)
    """How long a message stays invisible that a consumer which is killed had in hand."""
    poll_wait_s: int = Field(20, ge=1, le=20)
    """How long SQS holds a poll open."""
    heartbeat_s: float = Field(20.0, ge=0.05, le=300)
    """How often clients hear that all is well, and are pinged."""
    retention_s: float = Field(7 * 86_400, ge=60, le=400 * 86_400)
    """How long events are kept, and ended executions shown."""
    retention_events: int = Field(1_000_000, ge=1)
    """How many events are kept at most: × ~1 kB ≈ 1 GB of disk."""
    recent_events: int = Field(10_000, ge=0)
    """How many of the newest are in memory, too, at most: × ~2 kB = 20 MB. Clients that come back
    within these resume without asking the log."""
    instance_tag: str = "statuswire=managed"
    """Which instances are shown: those with this tag, `key=value`; `*` shows all."""
    sweep_s: float = Field(300.0, ge=1, le=86_400)
    """How often EC2 is asked for all of them."""
    quiet_s: float = Field(60.0, ge=1, le=86_400)
    """How long a Standard execution may be silent before Step Functions is asked about it: its
    delay (29 s), a look (15 s) and a failing publish (3 s) make 47 s."""
    drain_s: float = Field(22.0, ge=1, le=600)
    """How long a shutdown waits for polls under way. With the 5 s that clients have to go, the
    default stays below the 30 s after which supervisors kill."""
    traces: Literal["none", "otlp"] = "none"
    """`otlp`: spans of what X-Ray sampled, as OpenTelemetry's own `OTEL_*` say: docs/tracing.md."""
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """DEBUG, INFO, WARNING or ERROR; logs are JSON lines on standard error."""

    @field_validator("origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [each.strip() for each in value.split(",")] if isinstance(value, str) else value

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, value: frozenset[str]) -> frozenset[str]:
        if not all(_ORIGIN.fullmatch(each) for each in value):
            raise ValueError("must be origins such as https://status.example.com, with no path")
        return value

    @field_validator("queue_url")
    @classmethod
    def _is_fifo(cls, value: str) -> str:
        if not value.endswith(".fifo"):
            raise ValueError("must be the FIFO queue: the stack's output StatusQueueUrl")
        return value

    @field_validator("service_queue_url")
    @classmethod
    def _is_standard(cls, value: str) -> str:
        if value.endswith(".fifo"):
            raise ValueError("must be the standard queue: the stack's output ServiceQueueUrl")
        return value

    @field_validator("metrics_port")
    @classmethod
    def _is_another_port(cls, value: int, info: ValidationInfo) -> int:
        if value and value == info.data.get("port"):
            raise ValueError(f"must not be the port of {PREFIX}PORT")
        return value

    @field_validator("drain_s")
    @classmethod
    def _outlasts_a_poll(cls, value: float, info: ValidationInfo) -> float:
        """A poll that is broken off takes messages with it until their visibility timeout."""
        if value <= info.data.get("poll_wait_s", 0):
            raise ValueError(f"must be longer than {PREFIX}POLL_WAIT_S")
        return value

    @field_validator("instance_tag")
    @classmethod
    def _is_a_tag(cls, value: str) -> str:
        key, _, wanted = value.partition("=")
        if value != "*" and not (key and wanted):
            raise ValueError("must be key=value, or * for all instances")
        return value

    @field_validator("log")
    @classmethod
    def _is_a_log(cls, value: str) -> str:
        scheme, _, path = value.partition(":")
        if scheme == "sqlite" and path not in ("", ":memory:"):
            return value
        if not scheme.startswith("redis"):
            raise ValueError("must be sqlite:<path>, or an address of Redis: redis://host")
        redis_address.address(value)
        return value

    @field_validator("log_password", "log_ca", "log_rest_s")
    @classmethod
    def _is_for_redis(cls, value: object, info: ValidationInfo) -> object:
        if value not in (None, 0) and str(info.data.get("log", "redis")).startswith("sqlite:"):
            raise ValueError(f"needs Redis as {PREFIX}LOG")
        return value

    @field_validator("log_replicas")
    @classmethod
    def _can_be_waited_for(cls, value: int, info: ValidationInfo) -> int:
        """A cluster's library sends WAIT over any connection; it means something on one only."""
        where = str(info.data.get("log", "redis://"))
        if value and (where.startswith("sqlite:") or "+cluster:" in where):
            raise ValueError(f"needs Redis as {PREFIX}LOG, and no cluster")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _is_private(cls, value: str | None) -> str | None:
        """Whoever can change these keys on their way can let anyone in."""
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
                raise ValueError("must be an https:// address")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _is_the_only_issuer(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("signing_secret") is not None:
            raise ValueError(f"not beside {PREFIX}SIGNING_SECRET: tokens have one issuer")
        return value

    @field_validator("issuer")
    @classmethod
    def _is_known(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("jwks_url") is not None:
            raise ValueError(f"is required with {PREFIX}JWKS_URL")
        if value is not None and info.data.get("jwks_url", "wrong") is None:
            raise ValueError(f"needs {PREFIX}JWKS_URL; the stack's own tokens have a fixed one")
        return value

    @field_validator("audience")
    @classmethod
    def _is_asked_for(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Without it, a token for anything else of the same issuer would do."""
        if value is None and _asks_for_tokens(info.data):
            raise ValueError("is required where tokens are asked for")
        if value is not None and not _asks_for_tokens(info.data):
            raise ValueError(f"needs {PREFIX}SIGNING_SECRET or {PREFIX}JWKS_URL beside it")
        return value

    @field_validator("tls_key")
    @classmethod
    def _is_a_pair(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("tls_certificate", value) is None):
            raise ValueError(f"goes together with {PREFIX}TLS_CERTIFICATE")
        return value

    @field_validator("sign_in")
    @classmethod
    def _is_for_the_rest_api(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("rest_url", "wrong") is None:
            raise ValueError(f"needs {PREFIX}REST_URL, which those who have signed in may call")
        if value is not None and info.data.get("jwks_url") is not None:
            raise ValueError(
                f"not beside {PREFIX}JWKS_URL: who has signed in brings a token of the stack's own"
            )
        return value

    @field_validator("host", "metrics_host")
    @classmethod
    def _lets_no_stranger_in(cls, value: str, info: ValidationInfo) -> str:
        if not _is_loopback(value) and not _asks_for_tokens(info.data):
            raise ValueError(
                f"must be a loopback address: without {PREFIX}SIGNING_SECRET or {PREFIX}JWKS_URL,"
                " anyone could watch"
            )
        return value

    @field_validator("host")
    @classmethod
    def _keeps_tokens_secret(cls, value: str, info: ValidationInfo) -> str:
        keeps = info.data.get("tls_certificate", True) or info.data.get("trusted_proxies", True)
        if not _is_loopback(value) and not keeps:
            raise ValueError(
                f"needs {PREFIX}TLS_CERTIFICATE, or {PREFIX}TRUSTED_PROXIES where one of them ends"
                " TLS: tokens must not be overheard"
            )
        return value

    @property
    def asks_for_tokens(self) -> bool:
        """Whether viewers need one."""
        return self.signing_secret is not None or self.jwks_url is not None

    @property
    def limits(self) -> Limits:
        """What one client, one address and all of them together may cost."""
        return Limits(
            connections=self.max_connections,
            connections_per_address=self.max_connections_per_address,
            half_open=self.max_half_open,
            handshake_s=self.handshake_s,
            handshakes_per_s=self.max_handshakes_per_s,
            handshakes_per_s_per_address=self.max_handshakes_per_s_per_address,
            watches=self.max_watches,
            message_bytes=self.max_message_bytes,
            messages_per_s=self.max_messages_per_s,
            fragments=self.max_fragments,
            outbox_events=self.max_outbox_events,
            outbox_bytes=self.max_outbox_bytes,
        )

    @property
    def log_path(self) -> Path | None:
        """The SQLite log's file; None where the log is in Redis."""
        scheme, _, path = self.log.partition(":")
        return Path(path) if scheme == "sqlite" else None

    @property
    def cognito(self) -> SignIn | None:
        """Where people sign in; None where nobody does."""
        return None if self.sign_in is None else sign_in(self.sign_in)

    @property
    def tag(self) -> tuple[str, str] | None:
        """Key and value of the tag that shown instances carry; None where all are shown."""
        key, _, value = self.instance_tag.partition("=")
        return None if self.instance_tag == "*" else (key, value)


def _asks_for_tokens(values: Mapping[str, object]) -> bool:
    """What is not among the values was given, and wrong: that is told already."""
    return any(values.get(name, "wrong") is not None for name in ("signing_secret", "jwks_url"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read() -> Settings:
    """The settings in the environment. Raises `BadSettings` with every problem there is."""
    problems = []
    session = botocore.session.Session()
    try:
        session.get_scoped_config()
        if session.get_config_variable("region") is None:
            problems.append("AWS_DEFAULT_REGION: is required, or a region in the AWS configuration")
    except BotoCoreError as error:  # a profile that is not there, a file that is none
        problems.append(f"AWS_PROFILE, AWS_CONFIG_FILE: {error}")
    try:
        settings = Settings()
    except ValidationError as error:
        problems += [
            f"{PREFIX}{str(each['loc'][0]).upper()}: {_explain(each['type'], each['msg'])}"
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise BadSettings(problems) from error
    if problems:
        raise BadSettings(problems)
    return settings


def _explain(kind: str, message: str) -> str:
    if kind == "missing":
        return "is required"
    return message.removeprefix("Value error, ")
