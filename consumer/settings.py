"""Settings: everything an operator can choose, read once from `STATUSWIRE_*`.

Credentials, region and endpoint of AWS are the SDK's own: its usual variables and files count.
"""

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import botocore.session
from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "STATUSWIRE_"


class BadSettings(Exception):
    """Settings that are missing, wrong or contradict each other. The operator must act."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("must be an http:// or https:// address")
    return url.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_http_url)]


class Settings(BaseSettings):
    """One frozen object; the defaults suit one small machine."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True
    )

    queue_url: HttpUrl
    """The FIFO queue of publish steps: the stack's output StatusQueueUrl."""
    service_queue_url: HttpUrl
    """The standard queue of EventBridge's events: the stack's output ServiceQueueUrl."""
    log: str = "sqlite:statuswire.db"
    """Where the status log is: `sqlite:<path>`."""
    host: str = "127.0.0.1"
    """The address to listen on: a loopback one."""
    port: int = Field(8080, ge=0, le=65_535)
    """Dashboard and WebSockets; 0 lets the system choose."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(9090, ge=0, le=65_535)
    rest_url: HttpUrl | None = None
    """The REST API, stage included, for the dashboard's buttons; none hides them."""
    origins: Annotated[frozenset[str], NoDecode] = frozenset()
    """Origins of other pages that may connect, separated by commas."""
    polls: int = Field(8, ge=1, le=64)
    """Long polls at once, per queue, at most: one while it is empty."""
    visibility_s: int = Field(10, ge=2, le=43_200)
    """How long a message stays invisible that a consumer which is killed had in hand."""
    poll_wait_s: int = Field(20, ge=1, le=20)
    """How long SQS holds a poll open."""
    heartbeat_s: float = Field(20.0, ge=0.05, le=300)
    retention_s: float = Field(7 * 86_400, ge=60, le=400 * 86_400)
    """How long events are kept, and ended executions shown."""
    retention_events: int = Field(1_000_000, ge=1)
    """How many events are kept at most: × ~1 kB ≈ 1 GB of disk."""
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
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @field_validator("origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [each.strip() for each in value.split(",")] if isinstance(value, str) else value

    @field_validator("service_queue_url")
    @classmethod
    def _is_another_queue(cls, value: str, info: ValidationInfo) -> str:
        if value == info.data.get("queue_url"):
            raise ValueError(f"must not be the queue of {PREFIX}QUEUE_URL")
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
        if scheme != "sqlite" or path in ("", ":memory:"):
            raise ValueError("must be sqlite:<path>")
        return value

    @field_validator("host", "metrics_host")
    @classmethod
    def _is_loopback(cls, value: str) -> str:
        """Nobody is asked for a token yet, so nobody from elsewhere may come in."""
        try:
            loopback = ipaddress.ip_address(value).is_loopback
        except ValueError:
            loopback = value == "localhost"
        if not loopback:
            raise ValueError("must be a loopback address: without a key, anyone could watch")
        return value

    @property
    def log_path(self) -> Path:
        """The SQLite log's file."""
        return Path(self.log.removeprefix("sqlite:"))

    @property
    def tag(self) -> tuple[str, str] | None:
        """Key and value of the tag that shown instances carry; None where all are shown."""
        key, _, value = self.instance_tag.partition("=")
        return None if self.instance_tag == "*" else (key, value)


def read() -> Settings:
    """The settings in the environment. Raises `BadSettings` with every problem there is."""
    problems = []
    if botocore.session.Session().get_config_variable("region") is None:
        problems.append("AWS_DEFAULT_REGION: is required, or a region in the AWS configuration")
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
