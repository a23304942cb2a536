"""The pages in a real browser: readable without JavaScript, nothing loaded from elsewhere, sign-in, lists, report."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import uvicorn

from pipelines.settings import Settings
from serving.app import create_app
from serving.auth import demo_key
from tests.made_shop import made_release, made_settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = made_settings(tmp_path_factory.mktemp("browsed"))
    made_release(made)
    return made


@pytest.fixture(scope="module")
def address(settings: Settings) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_config=None, timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page without JavaScript that fails on whatever is asked of another host or refused by the policy."""
    context = browser.new_context(base_url=address, java_script_enabled=False, viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    yield opened
    context.close()
    assert [url for url in asked if not url.startswith(address)] == []
    assert [text for text in complaints if "Content Security Policy" in text] == []


def sign_in(page: Page, key: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Open").click()


def test_the_start_page_says_shop_release_run_and_figures(page: Page, settings: Settings) -> None:
    page.goto("/")
    assert page.get_by_role("heading", level=1).inner_text() == "Made shop"
    text = page.locator("main").inner_text()
    assert "fresh" in text
    assert "last run" in text
    assert "271\n" in text, "active customers"
    assert "illustrative" in text
    assert page.locator("svg rect.past").count() == 52
    assert page.locator("svg rect.expected").count() == 8
    for name in ("Forecasts", "Orders to place", "Customers at risk", "Segments", "Drift report", "API documentation"):
        assert page.get_by_role("link", name=name, exact=True).is_visible()


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_sticks_out_sideways_and_the_style_is_ours(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/")
    for part in ("main", ".figures", ".chart", ".cards", ".rows"):
        box = page.locator(part).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width, part
    radius = page.locator(".figures").evaluate("part => getComputedStyle(part).borderRadius")
    assert radius == "12px", "our style sheet was taken"


def test_a_list_leads_to_the_sign_in_and_opens_after_it(page: Page, settings: Settings) -> None:
    page.goto("/")
    page.get_by_role("link", name="Customers at risk").click()
    assert page.url.endswith("/sign-in")
    sign_in(page, "wrong.key")
    assert "unknown, expired" in page.get_by_role("alert").inner_text()
    sign_in(page, demo_key(settings))
    page.get_by_role("link", name="Customers at risk").click()
    assert page.locator("tbody tr").count() == 50
    risks = [int(text.rstrip("%")) for text in page.locator("tbody tr td:nth-child(2)").all_inner_texts()]
    assert risks == sorted(risks, reverse=True)
    page.get_by_role("link", name="Later").click()
    assert "Page 2 of 6" in page.locator("nav.pages").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename.startswith("made_shop-churn-")
    page.get_by_role("button", name="Sign out").click()
    page.goto("/lists/churn")
    assert page.url.endswith("/sign-in")


def test_the_keyboard_reaches_the_content_first(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"


def test_the_report_draws_itself_in_a_sandbox(browser: Browser, address: str, settings: Settings) -> None:
    context = browser.new_context(base_url=address)
    page = context.new_page()
    sign_in(page, demo_key(settings))
    page.get_by_role("link", name="Drift of order lines").click()
    assert page.locator("#out").inner_text() == "drawn", "its own scripts run"
    assert page.evaluate("window.origin") == "null", "but as a stranger to the pages"
    context.close()
