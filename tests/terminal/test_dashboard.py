"""`statuswire dashboard` in a real Chromium."""

import asyncio
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.async_api import expect

from consumer.core import events
from tests.browser.acts import confirm
from tests.browser.conftest import open_browser
from tests.edges.conftest import Service
from tests.terminal.commands import command
from tests.terminal.signed_api import ENVIRONMENT, signed_api
from tests.terminal.telling import INSTANCE, instance

OUTPUT = {"previous_state": "stopped", "state": "pending", "changed": True}


async def test_a_person_starts_an_instance_with_credentials_of_her_own(
    service: Service, tmp_path: Path
) -> None:
    """From the file that lets her in to a signed order; the next browser is not let in."""
    await service.log.append([events.decode(json.dumps(instance("stopped")))])
    async with signed_api() as api, open_browser() as browser:
        api.answers["/express-instance"] = (200, OUTPUT)
        environment = {
            **ENVIRONMENT,
            "STATUSWIRE_REST_URL": api.url,
            "STATUSWIRE_URL": service.url,
            "STATUSWIRE_TOKEN": "none-asked",
            "TMPDIR": str(tmp_path),
        }
        arguments = ("dashboard", "--no-open")
        async with command(*arguments, environment=environment, cwd=tmp_path) as serving:
            assert ".localhost:" in await serving.line()
            told = re.search(r"file://\S+", await serving.line())
            assert told is not None
            page = await browser.new_page()
            complaints: list[str] = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "console",
                lambda told: complaints.append(told.text) if told.type == "error" else None,
            )
            await page.goto(told[0])
            await expect(page.locator("body")).to_have_attribute("data-connection", "live")
            row = page.locator(f'[data-instance="{INSTANCE}"]')
            await expect(row).to_have_attribute("data-status", "stopped")
            form = await confirm(page, "Start")
            await form.get_by_role("button", name="Start").click()
            await expect(page.locator("#answer")).to_contain_text("pending")
            assert json.loads(api.asked[0][2])["instance_id"] == INSTANCE

            assert complaints == []

            stranger = await (await browser.new_context()).new_page()
            answer = await stranger.goto(page.url)
            assert answer is not None
            assert answer.status == 403

            assert await serving.line() == "Ctrl-C ends it."
            file = Path(unquote(urlsplit(told[0]).path))
            assert not await asyncio.to_thread(file.exists)
            serving.process.terminate()
            assert (await serving.end())[0] == 143
            await expect(page.locator("body")).not_to_have_attribute("data-connection", "live")
