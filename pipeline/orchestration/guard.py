"""The guard in front of the Dagster UI, and the evidence pages beside it.

Dagster's web server has no login and lets a page of another origin start runs with a plain GET on 127.0.0.1.
The guard answers only requests that come from the UI itself, by the names the server is known by, and serves the
evidence pages from the same address (``/qa/``), where the asset pages can show their pictures.
It does not replace a login: README.md says how to put the UI behind the council's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.pages.policy import page_policy

_PAGE_HEADERS = (
    (b"content-security-policy", f"{page_policy()}; frame-ancestors 'none'".encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-cache"),
)
_SAME_SITE = {"", "same-origin", "none"}


class Guard:
    """An ASGI application that passes on what may pass and refuses the rest with 403.

    Parameters
    ----------
    app
        The Dagster web application.
    pages
        The folder of evidence pages, served read-only under ``/qa/``; it need not be there yet.
    pictures
        The folder of the pictures on the asset pages, served under ``/qa/pictures/``.
    hosts
        The host names (without port) the server answers to.
    """

    def __init__(self, app: ASGIApp, pages: Path, pictures: Path, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts
        self._served = {  # the longer prefix first
            "/qa/pictures/": StaticFiles(directory=pictures, check_dir=False),
            "/qa/": StaticFiles(directory=pages, html=True, check_dir=False),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif refusal := self._refusal(scope):
            await _refuse(refusal, scope, receive, send)
        elif prefix := next((prefix for prefix in self._served if scope["path"].startswith(prefix)), None):
            await self._serve(prefix, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, prefix: str, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._served[prefix](_below(prefix, scope), receive, _with_page_policy(send))
        except HTTPException as error:
            await PlainTextResponse("There is no such page yet.", error.status_code)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            return f"This server does not answer to the name {host!r}; add it with --allow-host."
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return "Requests from other origins are refused."
        if headers.get("sec-fetch-site", "") not in _SAME_SITE and not _is_link_followed(scope, headers):
            return "Requests from other sites are refused."
        if scope["type"] == "http" and scope["path"].endswith("/graphql") and scope["method"] != "POST":
            return "GraphQL is answered to POST only."
        return None


def _name(host: str) -> str:
    return host.rsplit(":", 1)[0] if not host.endswith("]") else host


def _is_link_followed(scope: Scope, headers: dict[str, str]) -> bool:
    """A person followed a link, say in an e-mail: a top-level GET that changes nothing."""
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _below(prefix: str, scope: Scope) -> dict[str, Any]:
    return {**scope, "path": scope["path"].removeprefix(prefix.rstrip("/")), "root_path": ""}


def _with_page_policy(send: Send) -> Send:
    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_PAGE_HEADERS]
        await send(message)

    return send_with_policy


async def _refuse(sentence: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": sentence})
    else:
        await PlainTextResponse(sentence, status_code=403)(scope, receive, send)
