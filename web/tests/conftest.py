"""A real Chromium on the built page."""

import os
import shutil

import pytest
from mock_server import MockServer
from playwright.sync_api import sync_playwright

FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def browser():
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here")
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses root.
        flags = FLAGS + (["--no-sandbox"] if os.geteuid() == 0 else [])
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def server():
    server = MockServer()
    yield server
    server.shutdown()


@pytest.fixture
def context(browser):
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def open_page(context):
    """Opens an address; fails when the page's scripts fail, its policy is broken or it asks another machine."""
    complaints = []

    def watch(message):
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    def open_it(url):
        def ask(request):
            if not request.url.startswith((url, "data:")):
                complaints.append(f"asked {request.url}")

        page = context.new_page()
        page.on("console", watch)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", ask)
        page.goto(url)
        return page

    yield open_it
    assert complaints == []


@pytest.fixture
def page(open_page, server):
    return open_page(server.url)
