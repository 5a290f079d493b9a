"""One's AWS account: credentials, region, and the stack's outputs. All of it blocks.

By botocore, which the AWS CLI is made of: profiles, SSO, roles and IMDS work as they do there.
"""

import re
from typing import Any, Final
from urllib.parse import urlsplit

import botocore.session
import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from consumer.terminal.addresses import Addresses, checked
from consumer.terminal.exits import SIGN_IN, CannotGoOn

SERVICE: Final = "execute-api"  # as API Gateway's requests are signed
PATIENCE: Final = Config(
    connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}
)
# What AWS says of credentials that have ended, or are none (its APIs' "Common errors").
ENDED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
)
_HOST: Final = re.compile(r"[a-z0-9]+\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")


class Account:
    """Lazy: nothing is looked for before it is asked."""

    def __init__(self, region: str | None = None, profile: str | None = None) -> None:
        self._session = botocore.session.Session(profile=profile)
        self._region = region
        self._credentials: Credentials | None = None

    def complete(self, addresses: Addresses) -> Addresses:
        """With the REST API's address, from the stack's outputs. Raises `CannotGoOn`."""
        if addresses.stack is None:
            return addresses
        outputs = self.outputs(addresses.stack)
        if "RestApiUrl" not in outputs:
            raise CannotGoOn(
                f"stack {addresses.stack} has no output RestApiUrl",
                "Is it Statuswire's? Deploy it again (docs/deploy.md), or name another: --stack.",
            )
        return msgspec.structs.replace(
            addresses,
            rest_url=checked(outputs["RestApiUrl"], "http"),
            region=outputs.get("Region", addresses.region),
        )

    def outputs(self, stack: str) -> dict[str, str]:
        """A stack's outputs by name. Raises `CannotGoOn`, with what to do next."""
        try:
            client: Any = self._session.create_client(
                "cloudformation", region_name=self._known_region(), config=PATIENCE
            )
            described = client.describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            told = error.response.get("Error", {})
            if (
                told.get("Code") == "ValidationError"
            ):  # what it says of a name that it does not know
                raise CannotGoOn(
                    f"there is no stack {stack} in {self._known_region()}",
                    "Name it: --stack, --region, --profile. Beside `make demo`, stand in its"
                    " checkout; without a stack, --url and --rest-url say where.",
                ) from error
            if told.get("Code") in ENDED:
                raise CannotGoOn(
                    f"AWS does not know these credentials: {told['Code']}", SIGN_IN
                ) from error
            raise CannotGoOn(
                f"CloudFormation refuses to describe stack {stack}: {told.get('Code')}",
                "It takes cloudformation:DescribeStacks; or say where with --url and --rest-url.",
            ) from error
        except BotoCoreError as error:
            raise _unusable(error) from error
        return {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", [])}

    def sign(self, method: str, url: str, body: bytes) -> dict[str, str]:
        """The headers of a signed request (Signature Version 4); none without credentials.

        Raises `CannotGoOn` where there are some and they cannot be used.
        """
        try:
            if self._credentials is None:
                self._credentials = self._session.get_credentials()
            if self._credentials is None:
                return {}
            region = region_in(url) or self._known_region()
            request = AWSRequest(method, url, {"Content-Type": "application/json"}, body)
            SigV4Auth(self._credentials.get_frozen_credentials(), SERVICE, region).add_auth(request)
        except BotoCoreError as error:
            raise _unusable(error) from error
        return {str(name): str(value) for name, value in request.headers.items()}

    def _known_region(self) -> str:
        region = self._region or self._session.get_config_variable("region")
        if not region:
            raise CannotGoOn("no AWS region is chosen", "Name one: --region, AWS_DEFAULT_REGION.")
        return str(region)


def region_in(url: str) -> str | None:
    """The region that an API Gateway address names; None for a domain of one's own."""
    found = _HOST.fullmatch(urlsplit(url).hostname or "")
    return found[1] if found else None


def _unusable(error: BotoCoreError) -> CannotGoOn:
    if isinstance(error, NoCredentialsError):
        return CannotGoOn("there are no AWS credentials", SIGN_IN)
    return CannotGoOn(f"AWS cannot be asked: {error}", SIGN_IN)
