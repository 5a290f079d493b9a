"""What the page signs in the browser, judged by AWS's description of a signature."""

import asyncio
import json
import time
from pathlib import Path
from typing import Final

import pytest

from tests.conformance.node import NODE
from tests.terminal.signed_api import ACCESS_KEY, REGION, SECRET, SESSION, fault

MODULE: Final = Path(__file__).parents[2] / "consumer/dashboard/signature.js"
PROGRAM: Final = """
const { signedHeaders } = await import(process.argv[1]);
const [credentials, asked] = JSON.parse(process.argv[2]);
console.log(JSON.stringify(await signedHeaders(credentials, asked)));
"""


async def signed(url: str, body: str) -> dict[str, str]:
    credentials = {"accessKeyId": ACCESS_KEY, "secretKey": SECRET, "sessionToken": SESSION}
    asked = {"method": "POST", "url": url, "body": body, "region": REGION}
    given = json.dumps([credentials, asked | {"nowMs": time.time() * 1000}])
    process = await asyncio.create_subprocess_exec(
        *(NODE, "--input-type=module", "--eval", PROGRAM, MODULE.as_uri(), given),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    made: dict[str, str] = json.loads(out)
    return made


@pytest.mark.parametrize("path", ["/live/express-instance", "/a b/(c)*/%2F/é/watch-tokens"])
@pytest.mark.parametrize("body", ["", '{"instance_id": "i-0abc12345678def90"}', "é😀\n"])
async def test_a_signature_is_what_aws_makes_of_the_request(path: str, body: str) -> None:
    """Of any path, which is encoded a second time, and any text."""
    url = f"https://a1.execute-api.{REGION}.amazonaws.com{path}"
    made = await signed(url, body)
    headers = {
        "host": f"a1.execute-api.{REGION}.amazonaws.com",
        **made,
        **{name.title(): value for name, value in made.items()},
    }
    raw_path = path.replace(" ", "%20").replace("é", "%C3%A9")
    assert fault("POST", raw_path, headers, body.encode()) is None
