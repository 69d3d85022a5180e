"""The FastAPI application when a browser goes or the server stops; docs/applications.md."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from .serving import APPS, ROOT, Served, World, commands, until, world


@pytest.fixture
def the_world(tmp_path: Path) -> Iterator[World]:
    with world("fastapi_app", tmp_path) as served:
        yield served


@pytest.fixture
def served(the_world: World, tmp_path: Path) -> Iterator[Served]:
    served = Served("fastapi_app", tmp_path)
    yield served
    served.check_log()


def in_link(ada: httpx.Client, the_world: World, path: str, **fault: Any) -> dict[str, Any]:
    """What the page posts after Link; the next request to this path of Plaid's takes a while."""
    token = ada.post("/api/link-token", json={}).json()["link_token"]
    body = {"link_token": token, "masks": ["0000", "3333"]}
    done = the_world.control("POST", "/complete_link", body)
    the_world.control("POST", "/faults", {"path": path, **fault})
    return done


@pytest.mark.slow
def test_a_browser_that_goes_away_changes_nothing(served: Served, the_world: World) -> None:
    """It disconnects while the exchange is under way; the link is made and handed over."""
    with served.running(), served.signed_in() as ada:
        done = in_link(ada, the_world, "/item/public_token/exchange", delay=3)

        with pytest.raises(httpx.ReadTimeout):
            ada.post("/api/links", json=done, timeout=1)

        until(lambda: _handed_over(ada) == ["done", "done"])
        assert the_world.books() == ["0000", "3333"]
    assert len(the_world.asked("/item/public_token/exchange")) == 1


@pytest.mark.slow
def test_a_server_that_is_stopped_ends_what_is_under_way(served: Served, the_world: World) -> None:
    """SIGTERM, as a deploy sends it, while the exchange is under way: the answer still comes."""
    with served.running() as server, served.signed_in() as ada, ThreadPoolExecutor() as pool:
        done = in_link(ada, the_world, "/item/public_token/exchange", delay=3)
        answer = pool.submit(ada.post, "/api/links", json=done)
        with served.signed_in() as also_ada:
            until(lambda: _state(also_ada) == "started")

        server.send_signal(signal.SIGTERM)

        assert answer.result().status_code == 201
        assert server.wait(60) in (0, -signal.SIGTERM)
    assert the_world.books() == ["0000", "3333"]


def test_the_page_names_what_is_there() -> None:
    """docs/applications.md: each part stands in each application, by the name that the page has."""
    text = (ROOT / "docs" / "applications.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.count(" | ") == 4][1:]
    assert len(rows) > 10
    for _, *named, _ in rows:
        for app, names in zip(APPS, named, strict=True):
            files = list((ROOT / "examples" / app).rglob("*.py"))
            defined = {each.name for each in files}
            defined |= {name for each in files for name in _functions(each.read_text())}
            assert set(re.findall(r"`([^`]+)`", names)) <= defined, names


def test_the_page_has_the_commands_of_the_readmes() -> None:
    text = (ROOT / "docs" / "applications.md").read_text()
    for app in APPS:
        _, world_to_develop_in, *server = commands(app)
        assert f"\n{' '.join(world_to_develop_in)}\n" in text
        assert f"`{' && '.join(map(' '.join, server))}`" in text


def _functions(source: str) -> list[str]:
    return re.findall(r"^ *(?:async )?def (\w+)\(", source, re.MULTILINE)


def _links(user: httpx.Client) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = user.get("/api/state").json()["links"]
    return links


def _handed_over(user: httpx.Client) -> list[str]:
    return [each["handoff"] for link in _links(user) for each in link["accounts"]]


def _state(user: httpx.Client) -> str | None:
    return next((str(link["state"]) for link in _links(user)), None)
