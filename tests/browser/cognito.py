"""A stand-in for Cognito and for API Gateway, stricter than either where a page could be lax.

The hosted pages, the token, revocation and logout endpoints, the two calls of an identity pool,
and a REST API that looks at Signature Version 4 and at the role of whoever signed. Sources: Cognito
developer guide, "User pool endpoints and managed login reference" and "Identity pools
authentication flow"; RFC 6749, RFC 7636.
"""

import base64
import calendar
import hashlib
import html
import json
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

import jwt
import yaml
from aiohttp import web

from consumer.sign_in import SignIn
from tests.template.conftest import ROOT
from tests.terminal.signed_api import REGION, fault

POOL: Final = f"{REGION}_0A1b2C3d4"
CLIENT: Final = "0a1b2c3d4e5f60718293a4b5c6"
IDENTITIES: Final = f"{REGION}:0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
LOGIN: Final = f"cognito-idp.{REGION}.amazonaws.com/{POOL}"
ISSUER: Final = f"https://{LOGIN}"
KEY: Final = "the pool's own key, of which nobody else knows"
PASSWORD: Final = "Correct-horse-7-battery"  # noqa: S105 # of all people here
SKEW_S: Final = 300  # API Gateway refuses what was signed longer ago
WATCHING: Final = frozenset({"/watch-tokens"})
STARTING: Final = WATCHING | {"/express-instance", "/standard-instance"}
ROUTES: Final = {"watchers": WATCHING, "operators": STARTING}
FORM: Final = """<!doctype html><title>Sign in</title><link rel="icon" href="data:,">
<form method="post" action="/login?{query}">
<label>Email <input name="username"></label>
<label>Password <input name="password" type="password"></label><button>Continue</button></form>"""


@dataclass
class Account:
    """Somebody in the pool."""

    email: str
    groups: list[str]
    sub: str = field(default_factory=lambda: str(uuid.uuid4()))
    is_signed_out: bool = False
    """Globally, by an administrator."""


@dataclass(frozen=True)
class Rights:
    """AWS credentials, once they are given."""

    account: Account
    group: str
    secret: str
    session: str
    issued_at_s: float


class Cognito:
    """`async with Cognito() as cognito`: both servers, each on a port of its own."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.origin = ""
        """Of the dashboard: what the app client has as its callback's and logout's."""
        self.url = ""
        self.rest_url = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        """What came to the pool's endpoints, in order: name, fields."""
        self.calls: list[tuple[str, str, Any]] = []
        """What the REST API let through: who (`sub`), route, body."""
        self.make_token: Callable[[], str] = lambda: "no token"
        """What POST /watch-tokens issues."""
        self.answer: tuple[int, Any] = (200, {"previous_state": "stopped", "state": "pending"})
        self.is_api_away = False
        self.issuer = ISSUER
        self.id_token_s = 300
        self.credentials_s = 3_600
        self.revoked_before_s = 0.0
        """A policy on the roles: nothing that was issued before counts (aws:TokenIssueTime)."""
        self._codes: dict[str, dict[str, str]] = {}
        self._refresh: dict[str, Account] = {}
        self._sessions: dict[str, Account] = {}
        self._rights: dict[str, Rights] = {}
        self._runners: list[web.AppRunner] = []

    def person(self, email: str, *groups: str) -> Account:
        """As an administrator makes one."""
        account = self.accounts[email] = Account(email, list(groups))
        return account

    @property
    def sign_in(self) -> SignIn:
        return SignIn(self.url, REGION, POOL, CLIENT, IDENTITIES)

    async def __aenter__(self) -> Self:
        pool = web.Application()
        pool.router.add_get("/oauth2/authorize", self._authorize)
        pool.router.add_post("/login", self._login)
        pool.router.add_post("/oauth2/token", self._token)
        pool.router.add_post("/oauth2/revoke", self._revoke)
        pool.router.add_get("/logout", self._logout)
        pool.router.add_route("*", "/", self._identity)
        self.url = await self._serve(pool)
        api = web.Application()
        api.router.add_route("*", "/live{route:/.*}", self._rest)
        self.rest_url = await self._serve(api) + "/live"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _serve(self, app: web.Application) -> str:
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    # The hosted pages.

    async def _authorize(self, request: web.Request) -> web.Response:
        fields = dict(request.query)
        self.asked.append(("authorize", fields))
        if why := self._wrong(fields):
            return web.Response(status=400, text=why)
        if account := self._sessions.get(request.cookies.get("cognito", "")):
            raise web.HTTPFound(self._back(fields, account))
        return web.Response(
            text=FORM.format(query=html.escape(request.query_string)), content_type="text/html"
        )

    def _wrong(self, fields: dict[str, str]) -> str:
        expected = {
            "response_type": "code",
            "client_id": CLIENT,
            "redirect_uri": f"{self.origin}/signed-in",
            "scope": "openid email",
            "code_challenge_method": "S256",
        }
        if wrong := [name for name, value in expected.items() if fields.get(name) != value]:
            return f"not as the app client has it: {', '.join(wrong)}"
        if fields.keys() - expected.keys() != {"state", "code_challenge"}:
            return "state and code_challenge, and nothing else"
        if len(fields["state"]) < 43 or len(fields["code_challenge"]) != 43:
            return "256 bits each"
        return ""

    async def _login(self, request: web.Request) -> web.Response:
        form, fields = await request.post(), dict(request.query)
        if why := self._wrong(fields):
            return web.Response(status=400, text=why)
        account = self.accounts.get(str(form["username"]))
        if account is None or form["password"] != PASSWORD:
            return web.Response(status=401, text="Incorrect username or password.")
        session = secrets.token_hex()
        self._sessions[session] = account
        found = web.HTTPFound(self._back(fields, account))
        found.set_cookie("cognito", session, httponly=True, samesite="Lax")
        raise found

    def _back(self, fields: dict[str, str], account: Account) -> str:
        code = str(uuid.uuid4())
        self._codes[code] = {**fields, "username": account.email}
        return f"{fields['redirect_uri']}?{urlencode({'code': code, 'state': fields['state']})}"

    async def _logout(self, request: web.Request) -> web.Response:
        fields = dict(request.query)
        self.asked.append(("logout", fields))
        if fields != {"client_id": CLIENT, "logout_uri": f"{self.origin}/"}:
            return web.Response(status=400, text="not as the app client has it")
        self._sessions.pop(request.cookies.get("cognito", ""), None)
        raise web.HTTPFound(fields["logout_uri"])

    # Tokens.

    async def _token(self, request: web.Request) -> web.Response:
        fields = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(("token", fields))
        by = {"authorization_code": self._by_code, "refresh_token": self._by_refresh}
        account = by[fields["grant_type"]](fields) if fields["client_id"] == CLIENT else None
        if account is None or account.is_signed_out:
            return _json({"error": "invalid_grant"}, 400)
        refresh = secrets.token_hex()
        self._refresh[refresh] = account
        told = {"id_token": self.id_token(account), "refresh_token": refresh}
        return _json(told | {"access_token": "unused", "token_type": "Bearer", "expires_in": 300})

    def _by_code(self, fields: dict[str, str]) -> Account | None:
        asked = self._codes.pop(fields["code"], None)  # once, whatever comes of it
        digest = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or asked["code_challenge"] != challenge
            or asked["redirect_uri"] != fields["redirect_uri"]
        ):
            return None
        return self.accounts[asked["username"]]

    def _by_refresh(self, fields: dict[str, str]) -> Account | None:
        return self._refresh.pop(fields["refresh_token"], None)  # rotated: each is good once

    def id_token(self, account: Account) -> str:
        """As the pool signs it now."""
        now_s = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "token_use": "id", "iat": now_s}
        claims |= {"sub": account.sub, "email": account.email, "exp": now_s + self.id_token_s}
        if account.groups:
            claims["cognito:groups"] = account.groups
        return jwt.encode(claims, KEY, algorithm="HS256")

    async def _revoke(self, request: web.Request) -> web.Response:
        fields = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(("revoke", fields))
        self._refresh.pop(fields["token"], None)
        return web.Response()  # and no word that a page may read it

    # The identity pool.

    async def _identity(self, request: web.Request) -> web.Response:
        if request.method == "OPTIONS":
            return _preflight("content-type,x-amz-target")
        operation = request.headers["X-Amz-Target"].removeprefix("AWSCognitoIdentityService.")
        fields = await request.json()
        self.asked.append((operation, fields))
        account, group = self._judged(fields)
        if account is None:
            told = {"__type": "NotAuthorizedException", "message": "Invalid login token."}
            return _json(told, 400)
        if operation == "GetId":
            return _json({"IdentityId": f"{REGION}:{account.sub}"})
        assert fields["IdentityId"] == f"{REGION}:{account.sub}"
        key, now_s = f"ASIA{secrets.token_hex(8).upper()}", time.time()
        rights = Rights(account, group, secrets.token_hex(20), secrets.token_hex(40), now_s)
        self._rights[key] = rights
        given = {"AccessKeyId": key, "SecretKey": rights.secret, "SessionToken": rights.session}
        return _json({"Credentials": given | {"Expiration": now_s + self.credentials_s}})

    def _judged(self, fields: dict[str, Any]) -> tuple[Account | None, str]:
        """Whose ID token it is, and the group in it, if it is ours and they are signed in."""
        if fields.get("IdentityPoolId", IDENTITIES) != IDENTITIES or set(fields["Logins"]) != {
            LOGIN
        }:
            return None, ""
        try:
            claims = jwt.decode(
                fields["Logins"][LOGIN], KEY, algorithms=["HS256"], audience=CLIENT, issuer=ISSUER
            )
        except jwt.InvalidTokenError:
            return None, ""
        account = self.accounts[claims["email"]]
        if account.is_signed_out or "cognito:groups" not in claims:
            return None, ""
        return account, claims["cognito:groups"][0]

    # API Gateway.

    async def _rest(self, request: web.Request) -> web.Response:
        route, body = request.match_info["route"], await request.read()
        if request.method == "OPTIONS":
            return _preflight(allowed_headers(), self.origin)
        if self.is_api_away and request.transport is not None:
            request.transport.abort()
        known = {key: (each.secret, each.session) for key, each in self._rights.items()}
        why = fault(request.method, request.raw_path, request.headers, body, known)
        if why is None:
            key = request.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
            why = self._forbidden(self._rights[key], route, request.headers["X-Amz-Date"])
        if why is not None:
            return _json({"error": "forbidden", "message": why}, 403, self.origin)
        self.calls.append((self._rights[key].account.sub, route, json.loads(body)))
        if route == "/watch-tokens":
            return _json({"token": self.make_token()}, 201, self.origin)
        status, told = self.answer
        return _json(told, status, self.origin)

    def _forbidden(self, rights: Rights, route: str, moment: str) -> str | None:
        signed_at_s = calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
        if abs(time.time() - signed_at_s) > SKEW_S:
            return "Signature expired"
        if rights.issued_at_s < self.revoked_before_s:
            return f"User: {_arn(rights.group)} is denied by an identity-based policy"
        if route not in ROUTES[rights.group]:
            return f"User: {_arn(rights.group)} is not authorized to perform: execute-api:Invoke"
        return None


def allowed_headers() -> str:
    """What the deployed API lets a page send."""
    api = yaml.safe_load((ROOT / "infra/openapi.yaml").read_text())
    preflight = api["paths"]["/watch-tokens"]["options"]["x-amazon-apigateway-integration"]
    parameters = preflight["responses"]["default"]["responseParameters"]
    return str(parameters["method.response.header.Access-Control-Allow-Headers"]).strip("'")


def _arn(group: str) -> str:
    return f"arn:aws:iam::123456789012:role/statuswire-{group}"


def _preflight(headers: str, origin: str = "*") -> web.Response:
    allowed = {"Access-Control-Allow-Headers": headers, "Access-Control-Allow-Methods": "POST"}
    return web.Response(status=204, headers={"Access-Control-Allow-Origin": origin, **allowed})


def _json(told: Any, status: int = 200, origin: str = "*") -> web.Response:
    return web.json_response(told, status=status, headers={"Access-Control-Allow-Origin": origin})
