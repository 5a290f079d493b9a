"""Checks of the way to AWS: region, endpoints step by step, clock, credentials."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from consumer.edges import aws
from consumer.operator.doctor import Check
from consumer.operator.finding import Finding, error, ok, skipped, warning
from consumer.operator.scene import Scene

# IAM user guide, "AWS Signature Version 4 for API requests": a request must reach AWS within five
# minutes of its time stamp.
REFUSED_AFTER_S: Final = 300
DRIFTS_AFTER_S: Final = 60
REGION: Final = "AWS_DEFAULT_REGION"
NO_ROUTE: Final = "Look at the route, the security groups, and HTTPS_PROXY and NO_PROXY."


async def region(scene: Scene) -> list[Finding]:
    """One is chosen, and both queues are in it."""
    try:
        chosen = scene.session.region_name
    except BotoCoreError as failure:
        spelled = "AWS_PROFILE, AWS_CONFIG_FILE: a profile that is there, in a file that is whole."
        return [error("the AWS configuration cannot be used", f"{failure}.", spelled)]
    if not chosen:
        return [
            error(
                "no AWS region is chosen",
                "Neither the environment nor the AWS configuration names one.",
                f"export {REGION}=<the stack's output Region>",
            )
        ]
    found = [
        error(
            f"the {queue.name} queue is in another region than {chosen}",
            f"{queue.setting} names {urlsplit(queue.url).hostname}.",
            f"{REGION}: the stack's output Region; or {queue.setting} of the stack in {chosen}.",
        )
        for queue in scene.queues
        if (named := _region_in(queue.url)) and named != chosen
    ]
    return found or [ok(f"region {chosen}")]


def _region_in(url: str) -> str | None:
    """Of a queue's address as AWS gives it: sqs.<region>.amazonaws.com (or .cn)."""
    parts = (urlsplit(url).hostname or "").split(".")
    return parts[1] if parts[0] == "sqs" and "amazonaws" in parts[2:3] else None


def _endpoint_of(service: str) -> Callable[[Scene], Awaitable[list[Finding]]]:
    async def endpoint(scene: Scene) -> list[Finding]:
        if service == "secretsmanager" and scene.settings.signing_secret is None:
            return [ok("secretsmanager is not needed")]
        url = (await scene.client(service)).meta.endpoint_url
        parts = urlsplit(url)
        proxy = getproxies().get(parts.scheme)
        if proxy and not proxy_bypass(parts.hostname or ""):
            return await _steps(service, proxy, " by its proxy", scene)
        return await _steps(service, url, "", scene)

    return endpoint


async def _steps(service: str, url: str, how: str, scene: Scene) -> list[Finding]:
    """DNS, TCP, TLS: the first that fails is told."""
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    step, fix = "DNS", f"Is {host} spelled right? Look at the resolver (`getent hosts {host}`)."
    try:
        async with asyncio.timeout(scene.check_s * 0.3):
            loop = asyncio.get_running_loop()
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        step, fix = "TCP", NO_ROUTE
        async with asyncio.timeout(scene.check_s * 0.3):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
        if is_tls:
            step, fix = "TLS", "A proxy that opens TLS? AWS_CA_BUNDLE: its certificate authority."
            async with asyncio.timeout(scene.check_s * 0.3):
                _, writer = await asyncio.open_connection(host, port, ssl=_trust(scene))
                writer.close()
    except (OSError, TimeoutError) as failure:  # ssl.SSLError is an OSError
        told = getattr(failure, "reason", None) or getattr(failure, "strerror", None)
        return [
            error(
                f"{service} cannot be reached{how}: {step} fails",
                f"{host}:{port}: {told or type(failure).__name__}.",
                fix,
            )
        ]
    return [ok(f"{service} can be reached{how} ({addresses[0][4][0]}:{port})")]


def _trust(scene: Scene) -> ssl.SSLContext:
    """The certificate authorities that the SDK trusts, as far as they were chosen."""
    bundle = os.environ.get("AWS_CA_BUNDLE") or scene.session._session.get_config_variable(
        "ca_bundle"
    )
    return ssl.create_default_context(cafile=bundle)


async def clock(scene: Scene) -> list[Finding]:
    """Ours against that of SQS, to the second that its Date header tells."""
    url = (await scene.client("sqs")).meta.endpoint_url
    timeout = aiohttp.ClientTimeout(total=scene.check_s * 0.5)
    begun_s = scene.now_s()
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=True) as http,
        http.get(url, allow_redirects=False) as answer,
    ):
        told = answer.headers.get("Date")
    if told is None:
        return [skipped("the endpoint told no time")]
    theirs_s = parsedate_to_datetime(told).timestamp()
    off_s = round((begun_s + scene.now_s()) / 2 - theirs_s)
    title = f"this clock is {abs(off_s)} s {'ahead of' if off_s > 0 else 'behind'} AWS's"
    fix = "Start a time service: `timedatectl set-ntp true`, or chrony."
    if abs(off_s) > REFUSED_AFTER_S:
        refused = "AWS refuses signatures that are five minutes off, and viewers' tokens fail too."
        return [error(title, refused, fix)]
    if abs(off_s) > DRIFTS_AFTER_S:
        soon = "At five minutes AWS refuses every call; tokens and lags are judged wrongly before."
        return [warning(title, soon, fix)]
    return [ok("the clock is right")]


async def credentials(scene: Scene) -> list[Finding]:
    """There, and known to AWS."""
    role = "Run as a role (instance profile, task role), or `aws configure`."
    try:
        if await scene.session.get_credentials() is None:
            nowhere = (
                "Neither the environment, nor the AWS configuration, nor a role of this machine."
            )
            return [error("there are no AWS credentials", nowhere, role)]
    except BotoCoreError as failure:
        return [error("the AWS credentials cannot be used", f"{failure}.", role)]
    try:
        identity = await scene.identity()
    except ClientError as failure:
        return [_refused(aws.name_of(failure))]
    except aws.FAILURES as failure:
        return [
            warning(
                f"STS did not say who we are: {aws.name_of(failure)}",
                "The consumer does not need STS; what follows may tell less.",
                NO_ROUTE,
            )
        ]
    return [ok(f"we are {identity['Arn']}")]


def _refused(code: str) -> Finding:
    if code.startswith("Expired"):
        fix = "Renew them: log in again, or use a role, whose credentials renew themselves."
    elif "Signature" in code or code == "RequestExpired":
        fix = "Look at `aws.clock` first; else the secret key does not belong to the key id."
    else:
        fix = "`aws sts get-caller-identity`; is it the right AWS_PROFILE, is the key deleted?"
    return error(f"AWS refuses these credentials: {code}", "No call can succeed.", fix)


SERVICES: Final = ("sqs", "stepfunctions", "ec2", "secretsmanager")
CHECKS: Final = (
    Check("aws.region", region),
    *(Check(f"endpoint.{each}", _endpoint_of(each), needs=("aws.region",)) for each in SERVICES),
    Check("aws.clock", clock, needs=("endpoint.sqs",)),
    Check("aws.credentials", credentials, needs=("aws.region",)),
)
