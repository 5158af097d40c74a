"""The page on `miniinfer serve` with the embedded model."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import expect

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("MINIINFER_BINARY", ROOT / "build/apps/miniinfer/miniinfer")).resolve()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(*arguments):
    """A server that is ready, and its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    process = subprocess.Popen([PROGRAM, "serve", "--port", str(port), *arguments], stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            urllib.request.urlopen(url + "health", timeout=5)
            return process, url
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, f"the server ended with {process.returncode}"
            time.sleep(0.05)
    process.kill()
    raise AssertionError("the server does not get ready")


def end(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=40) == 0


@pytest.fixture(scope="module")
def real():
    process, url = start()
    yield url
    end(process)


@pytest.fixture(scope="module")
def babbling():
    """Random weights, whose answers go on until they are stopped."""
    process, url = start(str(ROOT / "models/tiny-assistant"), "--load-format", "dummy")
    yield url
    end(process)


def metric(url, pattern):
    text = urllib.request.urlopen(url + "metrics", timeout=5).read().decode()
    return float(re.search(rf"^vllm:{pattern} (\S+)$", text, re.MULTILINE)[1])


def ask(page, text):
    box = page.get_by_label("Message", exact=True)
    box.fill(text)
    box.press("Enter")


def settings(page, **fields):
    page.get_by_role("button", name="Settings").click()
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(value)
    page.get_by_role("button", name="Save").click()


def answers(page):
    return page.locator("article.assistant")


def test_chat_regenerate_and_reload(open_page, real):
    page = open_page(real)
    ask(page, "What is the capital of France?")
    expect(answers(page).locator(".markdown")).to_have_text("The capital of France is Paris.")
    figures = answers(page).locator(".timing")
    expect(figures).to_have_text(re.compile(r"^first token \d+ ms · [\d.]+ tokens/s · 8 tokens · \d+ in the prompt$"))
    ask(page, "What is 17 plus 25?")
    expect(answers(page).nth(1).locator(".markdown")).to_contain_text("42")
    page.get_by_role("button", name="Regenerate").click()
    expect(answers(page)).to_have_count(2)
    expect(answers(page).nth(1).locator(".timing")).not_to_be_empty()
    page.get_by_role("button", name="Edit this message").first.click()
    page.get_by_label("Edit the message").fill("What is the capital of Peru?")
    page.get_by_role("button", name="Send").first.click()
    expect(answers(page)).to_have_count(1)
    expect(answers(page).locator(".markdown")).to_have_text("The capital of Peru is Lima.")
    page.reload()
    expect(answers(page).locator(".markdown")).to_have_text("The capital of Peru is Lima.")


def test_stop_frees_the_engine(open_page, babbling):
    page = open_page(babbling)
    aborted = 'request_success_total\\{.*finished_reason="abort"\\}'
    settings(page, Most_tokens_to_answer="1900")
    ask(page, "Tell me a long story.")
    expect(answers(page).locator(".markdown")).not_to_be_empty()
    page.get_by_role("button", name="Stop").click()
    expect(answers(page).locator(".timing")).to_contain_text("stopped")
    assert answers(page).locator(".markdown").inner_text() != ""
    deadline = time.monotonic() + 1
    while metric(babbling, "num_requests_running\\{.*\\}") > 0 or metric(babbling, aborted) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_refusal_is_shown(open_page, real):
    page = open_page(real)
    settings(page, Most_tokens_to_answer="5000")
    ask(page, "hello")
    expect(answers(page).get_by_role("alert")).to_contain_text("2048")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()


def test_keyboard_alone(open_page, real):
    page = open_page(real)
    page.keyboard.type("What is the capital of France?")
    page.keyboard.press("Enter")
    expect(answers(page).locator(".markdown")).to_contain_text("Paris")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.textContent") == "Regenerate"
    page.keyboard.press("Enter")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    assert page.evaluate("document.activeElement.id") == "message"


def test_the_engine_tab_shows_its_figures(open_page, real):
    page = open_page(real)
    ask(page, "What is the capital of France?")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    page.get_by_role("tab", name="Engine").click()
    for title, value in [("Requests running", "0"), ("Requests waiting", "0"), ("Cache in use", "0.0 %"),
                         ("Tokens generated", "0.0 /s"), ("Prompt tokens", "0.0 /s")]:
        expect(page.get_by_role("region", name=title, exact=True).locator("output")).to_have_text(value)
    expect(page.locator(".totals").first).to_contain_text("tokens generated")


def test_the_page_comes_with_its_policy(real):
    with urllib.request.urlopen(real, timeout=5) as reply:
        assert reply.read() == (ROOT / "web/dist/index.html").read_bytes()
        policy = (ROOT / "web/dist/content-security-policy.txt").read_text().strip()
        assert reply.headers["Content-Security-Policy"] == policy
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.fixture
def locked():
    process, url = start("--api-key", "open-sesame")
    yield url
    end(process)


def test_a_key_opens_the_server(open_page, locked):
    page = open_page(locked)
    expect(page.locator(".notice[role=alert]").first).to_contain_text("API key")
    settings(page, API_key="open-sesame")
    ask(page, "What is the capital of France?")
    expect(answers(page).locator(".markdown")).to_contain_text("Paris")
    page.get_by_role("tab", name="Engine").click()
    expect(page.get_by_role("region", name="Requests running", exact=True).locator("output")).to_have_text("0")
