"""The stack with SignIn=cognito on the embedded AWS: from an administrator's commands to a run.

The emulator's Cognito makes the accounts, shows the pages and gives credentials; who may do what
with them it does not look at (tests/browser/test_sign_in.py does).
"""

from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

import aioboto3
import pytest
import pytest_asyncio
from playwright.async_api import expect

from infra.local.daemon import Consumer
from infra.local.places import Ports
from infra.local.run import LocalRun
from tests.browser.conftest import open_browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

BO: Final = "bo@example.com"
FIRST: Final = "Temporary-1-password"
CHOSEN: Final = "Correct-horse-7-battery"


@pytest_asyncio.fixture(loop_scope="session")
async def with_people(embedded_aws: LocalRun) -> AsyncIterator[Consumer]:
    """A consumer as docs/sign-in.md sets it up, where the app client lets people come back to."""
    outputs = embedded_aws.stack.outputs
    address = urlsplit(outputs["SignInAddress"])
    settings = {
        "STATUSWIRE_SIGNING_SECRET": outputs["SigningKeyArn"],
        "STATUSWIRE_AUDIENCE": outputs["TokenAudience"],
        "STATUSWIRE_SIGN_IN": f"{embedded_aws.endpoint}{address.path}",
    }
    ports = Ports(consumer=embedded_aws.ports.consumer).settle()
    consumer = embedded_aws.consumer("people", ports=ports, settings=settings)
    await consumer.start()
    yield consumer
    await consumer.stop()


async def test_a_person_is_made_signs_in_and_starts(
    embedded_aws: LocalRun, with_people: Consumer
) -> None:
    """By the guide's own calls, the hosted pages, and a run that goes its way."""
    pool = embedded_aws.stack.outputs["UserPoolId"]
    async with aioboto3.Session().client("cognito-idp", **embedded_aws.client_settings) as idp:
        await idp.admin_create_user(
            UserPoolId=pool,
            Username=BO,
            TemporaryPassword=FIRST,
            MessageAction="SUPPRESS",
            UserAttributes=[
                {"Name": "email", "Value": BO},
                {"Name": "email_verified", "Value": "true"},
            ],
        )
        await idp.admin_add_user_to_group(UserPoolId=pool, Username=BO, GroupName="operators")
    instance = embedded_aws.instances[-1]
    async with aioboto3.Session().client("ec2", **embedded_aws.client_settings) as ec2:
        await ec2.stop_instances(InstanceIds=[instance])  # as other tests may not have left it
    async with open_browser() as browser:
        page = await browser.new_page()
        await page.goto(f"{with_people.url}/")
        form = page.get_by_role("dialog", name="Sign in to watch")
        await form.get_by_role("button", name="Sign in").click()
        await page.get_by_label("Username").fill(BO)
        await page.get_by_label("Password").fill(FIRST)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_label("New password", exact=True).fill(CHOSEN)
        await page.get_by_label("Confirm new password").fill(CHOSEN)
        await page.get_by_role("button").click()
        await expect(page.locator("#person-told")).to_have_text(f"Signed in as {BO}")
        live = page.locator("body[data-connection=live]")
        await expect(live).to_be_visible(timeout=30_000)  # the function's first call is slow
        row = page.locator(f'#instances [data-instance="{instance}"]')
        await expect(row).to_have_attribute("data-status", "stopped", timeout=15_000)
        for word, state in (("Start", "running"), ("Stop", "stopped")):
            await row.get_by_role("button", name=word).click()
            await page.get_by_role("dialog").get_by_role("button", name=word).click()
            await expect(row).to_have_attribute("data-status", state, timeout=15_000)
        await page.get_by_role("button", name="Sign out").click()
        await expect(form).to_be_visible()
