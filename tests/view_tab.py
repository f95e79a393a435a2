"""Chromium for the tests of `cxrscore view`, and a server in a thread."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import uvicorn
from playwright.sync_api import sync_playwright

from cxrscore.viewer import server
from cxrscore.viewer.app import create_app
from cxrscore.viewer.security import Access

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(os.environ.get("CXRSCORE_AXE", ROOT / ".browser" / "node_modules" / "axe-core" / "axe.min.js"))
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 120_000
"""A machine may be busy: the waits of these tests are for hangs alone."""
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason=f"no axe-core at {AXE}: make browser")


@contextmanager
def serving(options: server.ViewOptions) -> Iterator[str]:
    """The first address of a server in a thread."""
    with server.open_viewer(options) as viewer, server._listening("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        access = Access(hosts=server.allowed_hosts("127.0.0.1", port))
        config = uvicorn.Config(create_app(viewer, access), log_config=None, lifespan="off", ws="none", http="h11")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/?token={access.token}"
        finally:
            running.should_exit = True
            thread.join()


@contextmanager
def browsing() -> Iterator[Any]:
    """A Chromium."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE_MS)
        yield browser
        browser.close()


def new_context(chromium: Any, **options: Any) -> Any:
    """A browser context of its own."""
    context = chromium.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    return context


def wait_for(page: Any, selector: str) -> None:
    """Waits for an element of a new page, and for the script that answers keys there."""
    page.wait_for_selector(selector)
    page.wait_for_load_state("domcontentloaded")


class Tab:
    """A page, and what went wrong on it."""

    def __init__(self, chromium: Any, address: str, **options: Any) -> None:
        self.context = new_context(chromium, **options)
        self.page = self.context.new_page()
        self.faults: list[str] = []
        own = address.partition("/?")[0]
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self._check(request.url, own))
        self.page.goto(address)
        wait_for(self.page, "#films")

    def _hear(self, message: Any) -> None:
        """Films that are not in the folder have no thumbnail, which the browser tells."""
        if message.type == "error" and "404" not in message.text:
            self.faults.append(message.text)

    def _check(self, url: str, own: str) -> None:
        if not url.startswith((own, "data:")):
            self.faults.append(f"asked for {url}")


def axe_faults(page: Any) -> list[tuple[str, list[str]]]:
    """What axe-core finds wrong on a page, which needs a context that bypasses its content policy."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    told = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(told["passes"]) > 15
    return [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in told["violations"]]
