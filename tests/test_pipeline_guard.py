"""The guard lets the UI's own requests through and nothing that another page could send."""

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from pipeline.orchestration.guard import Guard

SAME = {"host": "127.0.0.1:3000"}


async def _answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("dagster")


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("dagster")
    await socket.close()


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    (tmp_path / "board.html").write_text("<p>evidence</p>")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "map.png").write_bytes(b"picture")
    inner = Starlette(
        routes=[
            Route("/graphql", _answer, methods=["GET", "POST"]),
            WebSocketRoute("/graphql", _socket),
            Route("/{rest:path}", _answer, methods=["GET", "POST"]),
        ]
    )
    return TestClient(Guard(inner, tmp_path, tmp_path / "pictures", frozenset({"127.0.0.1", "gis.borough.example"})))


def test_the_ui_itself_is_answered(client: TestClient) -> None:
    headers = {**SAME, "origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-origin"}
    assert client.post("/graphql", headers=headers).text == "dagster"
    assert client.get("/runs", headers=SAME).text == "dagster"


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/graphql?query=mutation{x}", SAME),
        ("GET", "/graphql?query=mutation{x}", {**SAME, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}),
        ("POST", "/graphql", {**SAME, "origin": "http://evil.example"}),
        ("POST", "/graphql", {**SAME, "origin": "null"}),
        ("POST", "/graphql", {**SAME, "sec-fetch-site": "cross-site"}),
        ("GET", "/runs", {"host": "evil.example:3000"}),
    ],
)
def test_a_page_of_another_origin_is_refused(client: TestClient, method: str, path: str, headers: dict) -> None:
    assert client.request(method, path, headers=headers).status_code == 403


def test_a_link_in_an_email_may_be_followed(client: TestClient) -> None:
    headers = {**SAME, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/runs", headers=headers).status_code == 200


def test_a_websocket_opens_for_the_same_origin_only(client: TestClient) -> None:
    with client.websocket_connect("/graphql", headers={**SAME, "origin": "http://127.0.0.1:3000"}) as socket:
        assert socket.receive_text() == "dagster"
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/graphql", headers={**SAME, "origin": "http://evil.example"}),
    ):
        pass


def test_evidence_pages_are_served_with_a_strict_policy(client: TestClient) -> None:
    page = client.get("/qa/board.html", headers=SAME)
    assert page.text == "<p>evidence</p>"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_pictures_of_the_asset_pages_are_served_from_the_same_address(client: TestClient) -> None:
    assert client.get("/qa/pictures/map.png?v=1", headers=SAME).content == b"picture"
    missing = client.get("/qa/pictures/other.png", headers=SAME)
    assert missing.status_code == 404 and "Traceback" not in missing.text


@pytest.mark.parametrize("path", ["/qa/../secret.txt", "/qa/%2e%2e/secret.txt", "/qa//etc/passwd", "/qa/pictures/../x"])
def test_nothing_outside_the_two_folders_is_served(client: TestClient, tmp_path: Path, path: str) -> None:
    (tmp_path.parent / "secret.txt").write_text("secret")
    assert "secret" not in client.get(path, headers=SAME).text


def test_the_name_behind_the_councils_proxy_can_be_allowed(client: TestClient) -> None:
    assert client.get("/runs", headers={"host": "gis.borough.example"}).status_code == 200
