"""The HTTP edge of the deployed REST API: `http://127.0.0.1:<port>/<stage>/…`."""

from dataclasses import replace
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from infra.local.api import read_api
from infra.local.backend import EmulatorBackend
from infra.local.exchange import RefusalError, Reply, Request, Stage, new_context
from infra.local.gateway import Gateway
from infra.local.places import HOST, LocalRunError
from infra.local.stack import Stack

MAX_BODY_BYTES = 10 * 1024 * 1024  # API Gateway's payload limit
# These belong to the connection and are the server's to write.
HOP_BY_HOP = {"connection", "content-length", "transfer-encoding"}


class RestApi:
    """Serves what `stack` deployed, as it stood when `start` was called."""

    def __init__(self, stack: Stack, *, endpoint: str, port: int) -> None:
        self.url = f"http://{HOST}:{port}/{stack.outputs['StageName']}"
        self._stack = stack
        self._endpoint = endpoint
        self._port = port
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Raises ApiError, UnresolvedError, or LocalRunError for a port that is taken."""
        stack = self._stack
        stage = Stage(
            name=stack.outputs["StageName"],
            api_id=stack.outputs["RestApiId"],
            account=stack.account,
        )
        api = read_api(stack.rest_api_body())
        self._http = aiohttp.ClientSession()
        self._gateway = Gateway(api, stage, EmulatorBackend(self._endpoint, self._http))
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_route("*", r"/{anything:[\s\S]*}", self._answer)
        # API Gateway leaves a Content-Encoding alone unless compression is switched on.
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=0.5, auto_decompress=False
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, self._port).start()
        except OSError as error:
            raise LocalRunError(f"Port {self._port}, for the REST API, is taken.") from error

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._http is not None:
            await self._http.close()

    async def _answer(self, incoming: web.Request) -> web.Response:
        stage = self._gateway.stage
        raw_path, _, raw_query = incoming.raw_path.partition("?")
        prefix = f"/{stage.name}"
        inside = raw_path == prefix or raw_path.startswith(f"{prefix}/")
        request = Request(
            method=incoming.method,
            path=(raw_path.removeprefix(prefix) or "/") if inside else raw_path,
            headers=tuple(incoming.headers.items()),
            query=tuple(parse_qsl(raw_query, keep_blank_values=True)),
            source_ip=incoming.remote or HOST,
        )
        if not inside:
            # No stage of that name: API Gateway says Forbidden, before any API is known.
            return web.json_response({"message": "Forbidden"}, status=403)
        try:
            # What is not UTF-8 stays visible as such, and is the gateway's to refuse.
            body = (await incoming.read()).decode(errors="surrogateescape")
        except web.HTTPRequestEntityTooLarge:
            refusal = RefusalError("REQUEST_TOO_LARGE")
            reply = self._gateway.refuse(request, refusal, new_context(request, stage, ""))
        else:
            reply = await self._gateway.answer(replace(request, body=body))
        return _response(reply)


def _response(reply: Reply) -> web.Response:
    headers = [pair for pair in reply.headers if pair[0].lower() not in HOP_BY_HOP]
    return web.Response(status=reply.status, headers=CIMultiDict(headers), body=reply.body)
