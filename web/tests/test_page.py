"""The chat page in a real browser."""

import pathlib
import re

import pytest
from mock_server import CODE, MockServer
from playwright.sync_api import expect

AXE = pathlib.Path(__file__).parents[1] / "node_modules/axe-core/axe.min.js"


def ask(page, text):
    box = page.get_by_label("Message", exact=True)
    box.fill(text)
    box.press("Enter")


def answers(page):
    return page.locator("article.assistant")


def test_an_answer_streams_with_its_figures(page, server):
    ask(page, "hello")
    expect(answers(page)).to_have_count(1)
    expect(answers(page).locator(".markdown")).to_have_text("Answer 1 to hello")
    expect(answers(page).locator(".timing")).to_have_text(
        re.compile(r"^first token \d+ ms · [\d.]+ tokens/s · 5 tokens · 12 in the prompt$"))
    ask(page, "more")
    expect(answers(page).nth(1).locator(".markdown")).to_have_text("Answer 2 to more")
    assert server.requests[1] == {
        "model": "mock",
        "messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Answer 1 to hello"},
                     {"role": "user", "content": "more"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_text_shows_before_the_answer_is_complete_and_stop_keeps_it(page):
    ask(page, "slow")
    expect(answers(page).locator(".markdown")).to_contain_text("word3")
    expect(answers(page)).to_have_attribute("aria-busy", "true")
    page.get_by_role("button", name="Stop").click()
    expect(answers(page)).to_have_attribute("aria-busy", "false")
    text = answers(page).locator(".markdown").inner_text()
    assert text.startswith("word0 word1 word2") and "word399" not in text
    expect(answers(page).locator(".timing")).to_contain_text("stopped")
    page.wait_for_timeout(200)
    assert answers(page).locator(".markdown").inner_text() == text
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_regenerate_replaces_the_last_answer(page, server):
    ask(page, "one")
    ask_again = page.get_by_role("button", name="Regenerate")
    expect(ask_again).to_have_count(1)
    ask(page, "two")
    expect(answers(page).nth(1).locator(".markdown")).to_have_text("Answer 2 to two")
    expect(ask_again).to_have_count(1)
    ask_again.click()
    expect(answers(page).nth(1).locator(".markdown")).to_have_text("Answer 3 to two")
    expect(answers(page)).to_have_count(2)
    assert server.requests[2]["messages"] == server.requests[1]["messages"]


def test_editing_a_question_drops_what_followed(page, server):
    ask(page, "one")
    expect(answers(page)).to_have_count(1)
    ask(page, "two")
    expect(answers(page).nth(1).locator(".timing")).not_to_be_empty()
    page.get_by_role("button", name="Edit this message").first.click()
    box = page.get_by_label("Edit the message")
    assert box.input_value() == "one"
    box.fill("three")
    box.press("Enter")
    expect(answers(page)).to_have_count(1)
    expect(answers(page).locator(".markdown")).to_have_text("Answer 3 to three")
    assert server.requests[2]["messages"] == [{"role": "user", "content": "three"}]


def test_a_cancelled_edit_changes_nothing(page, server):
    ask(page, "one")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    page.get_by_role("button", name="Edit this message").click()
    page.get_by_label("Edit the message").fill("other")
    page.get_by_label("Edit the message").press("Escape")
    expect(page.locator("article.user .plain")).to_have_text("one")
    assert len(server.requests) == 1


def test_reload_keeps_the_conversations(page):
    ask(page, "first talk")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    timing = answers(page).locator(".timing").inner_text()
    page.get_by_role("button", name="New conversation").first.click()
    expect(answers(page)).to_have_count(0)
    ask(page, "second talk")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    page.reload()
    titles = page.locator("nav .title")
    expect(titles).to_have_text(["second talk", "first talk"])
    expect(answers(page).locator(".markdown")).to_have_text("Answer 2 to second talk")
    titles.nth(1).click()
    expect(answers(page).locator(".markdown")).to_have_text("Answer 1 to first talk")
    assert answers(page).locator(".timing").inner_text() == timing


def test_a_reload_in_mid_answer_keeps_what_came(page):
    ask(page, "slow")
    expect(answers(page).locator(".markdown")).to_contain_text("word5")
    page.reload()
    expect(answers(page).locator(".markdown")).to_contain_text("word5")
    expect(answers(page).locator(".timing")).to_contain_text("stopped")


def test_a_deleted_conversation_stays_deleted_while_it_is_answered(page):
    page.on("dialog", lambda dialog: dialog.accept())
    ask(page, "slow")
    expect(answers(page).locator(".markdown")).to_contain_text("word2")
    page.get_by_role("button", name="Delete slow").click()
    expect(answers(page)).to_have_count(0)
    page.wait_for_timeout(300)
    page.reload()
    expect(page.locator("nav .title")).to_have_count(0)
    ask(page, "works")
    expect(answers(page).locator(".markdown")).to_contain_text("to works")


def test_another_conversation_can_be_read_while_one_is_answered(page):
    ask(page, "quick")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    page.get_by_role("button", name="New conversation").first.click()
    ask(page, "slow")
    expect(answers(page).locator(".markdown")).to_contain_text("word2")
    page.locator("nav .title", has_text="quick").click()
    expect(answers(page).locator(".markdown")).to_have_text("Answer 1 to quick")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    page.locator("nav .title", has_text="slow").click()
    expect(answers(page)).to_have_attribute("aria-busy", "true")
    expect(answers(page).locator(".markdown")).to_contain_text("word20")
    page.get_by_role("button", name="Stop").click()


def test_html_in_an_answer_is_inert_text(page):
    ask(page, "html")
    answer = answers(page).locator(".markdown")
    expect(answer).to_contain_text("after")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    assert page.evaluate("window.hacked") is None
    for tag in ["script", "img", "svg", "style", "iframe", "form"]:
        assert answer.locator(tag).count() == 0
    expect(answer).to_contain_text("<script>window.hacked = 1</script>")
    links = answer.locator("a[href]")
    expect(links).to_have_count(1)
    assert links.get_attribute("href") == "https://example.org/"
    assert links.get_attribute("rel") == "noopener noreferrer"
    page.reload()
    expect(answer).to_contain_text("after")
    assert page.evaluate("window.hacked") is None


def test_the_policy_stops_scripts_even_in_the_page_itself(context, server):
    page = context.new_page()  # its complaints about the policy are what is wanted here
    page.goto(server.url)
    page.evaluate("""() => {
      document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror="window.hacked = 1">');
      const script = document.createElement('script');
      script.textContent = 'window.hacked = 2';
      document.body.append(script);
    }""")
    page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None


def test_markdown_and_code_are_laid_out(page):
    ask(page, "code")
    answer = answers(page).locator(".markdown")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    assert answer.locator("pre").text_content() == "def f(x):\n    return 'a' + x  # note"
    assert {"def", "return"} <= set(answer.locator(".hljs-keyword").all_text_contents())
    expect(answer.locator("td")).to_have_text(["1", "2"])
    expect(answer.locator("li")).to_have_text(["one", "two"])


def test_copying_takes_the_source(page, context):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, "code")
    page.get_by_role("button", name="Copy this answer").click()
    assert page.evaluate("navigator.clipboard.readText()") == CODE
    page.get_by_role("button", name="Copy this code").click()
    assert page.evaluate("navigator.clipboard.readText()") == "def f(x):\n    return 'a' + x  # note"


def test_errors_are_shown_and_can_be_tried_again(page):
    ask(page, "full")
    expect(answers(page).get_by_role("alert")).to_have_text("The queue is full. Try again in 7 s.")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    page.get_by_role("button", name="New conversation").first.click()
    ask(page, "break")
    expect(answers(page).locator(".markdown")).to_have_text("Answer 2 to")
    expect(answers(page).get_by_role("alert")).to_have_text("The model failed.")
    page.get_by_role("button", name="New conversation").first.click()
    ask(page, "cut")
    expect(answers(page).get_by_role("alert")).to_contain_text("broke off")
    page.reload()
    expect(answers(page).get_by_role("alert")).to_contain_text("broke off")


def test_a_server_out_of_reach_is_said_so(page, context):
    context.set_offline(True)
    ask(page, "hello")
    expect(answers(page).get_by_role("alert")).to_have_text("The server cannot be reached.")


def test_settings_reach_the_request_and_the_next_conversation(page, server):
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.25")
    page.get_by_label("Top k").fill("40")
    page.get_by_label("Stop at").fill("END\n\nSTOP")
    page.get_by_role("button", name="Save").click()
    ask(page, "hi")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    page.get_by_role("button", name="New conversation").first.click()
    ask(page, "again")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    for request in server.requests:
        assert request["messages"][0] == {"role": "system", "content": "Be brief."}
        assert (request["temperature"], request["top_k"], request["stop"]) == (0.25, 40, ["END", "STOP"])
        assert "top_p" not in request and "max_tokens" not in request


def test_a_value_out_of_range_is_not_saved(page):
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Top p").fill("7")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_key_is_kept_for_this_tab_alone_unless_asked(open_page, context):
    server = MockServer(api_key="secret-key")
    page = open_page(server.url)
    expect(page.locator(".notice[role=alert]").first).to_contain_text("API key")
    kept = "JSON.stringify([Object.values({...localStorage}).join(), Object.values({...sessionStorage}).join()])"
    for remember in [False, True]:
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("API key", exact=True).fill("secret-key")
        page.get_by_label("Remember the key").set_checked(remember)
        page.get_by_role("button", name="Save").click()
        local, session = page.evaluate(f"JSON.parse({kept})")
        assert ("secret-key" in local, "secret-key" in session) == (remember, not remember)
        ask(page, "hello")
        expect(answers(page).last.locator(".markdown")).to_contain_text("to hello")
        expect(page.locator(".notice[role=alert]").first).to_be_empty()
    server.shutdown()


def test_everything_works_by_keyboard_alone(page):
    page.keyboard.type("line one")  # the box has the focus from the start
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("line two")
    page.keyboard.press("Enter")
    expect(page.locator("article.user .plain")).to_have_text("line one\nline two")
    expect(answers(page).locator(".timing")).not_to_be_empty()

    def reach(name, backwards=False):
        for _ in range(40):
            page.keyboard.press("Shift+Tab" if backwards else "Tab")
            if page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent") == name:
                return
        raise AssertionError(f"{name} cannot be reached")

    reach("Regenerate", backwards=True)
    page.keyboard.press("Enter")
    expect(answers(page).locator(".markdown")).to_contain_text("Answer 2")
    assert page.evaluate("document.activeElement.id") == "message"
    reach("Settings", backwards=True)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "Settings"
    reach("Chat", backwards=True)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="Engine")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.get_by_label("Message", exact=True).focus()
    page.keyboard.type("slow")
    page.keyboard.press("Enter")
    expect(answers(page).nth(1).locator(".markdown")).to_contain_text("word2")
    page.keyboard.press("Escape")
    expect(answers(page).nth(1).locator(".timing")).to_contain_text("stopped")


@pytest.mark.parametrize("width", [1100, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_rules_of_accessibility(page, scheme, width):
    """Those of WCAG 2.2 AA that a program can check, in every view, contrast included."""
    if not AXE.exists():
        pytest.skip("npm ci in web/ brings the checker")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 700})

    def check(view):
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})")
        assert len(found["passes"]) > 15
        broken = {rule["id"]: [node["html"] for node in rule["nodes"]] for rule in found["violations"]}
        assert broken == {}, view

    check("empty")
    ask(page, "code")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    ask(page, "full")
    expect(answers(page).nth(1).get_by_role("alert")).to_be_visible()
    check("answers")
    page.get_by_role("button", name="Settings").click()
    check("settings")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Engine").click()
    expect(page.locator(".totals").first).to_contain_text("Requests finished")
    check("engine")


def test_controls_have_names_and_the_log_is_live(page):
    ask(page, "code")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    page.get_by_role("button", name="Settings").click()
    unnamed = page.evaluate("""() => [...document.querySelectorAll('button, input, select, textarea')]
      .filter((node) => !(node.ariaLabel || node.textContent.trim() || node.labels?.length))
      .map((node) => node.outerHTML)""")
    assert unnamed == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("log", name="Conversation")).to_be_visible()
    expect(page.locator("p[role=status]")).to_have_text("Answer complete")
    assert page.evaluate("document.documentElement.lang") == "en"


def test_the_engine_tab_reads_the_metrics(page):
    page.get_by_role("tab", name="Engine").click()

    def figure(title):
        return page.get_by_role("region", name=title, exact=True).locator("output")

    expect(figure("Requests running")).to_have_text("3")
    expect(figure("Requests waiting")).to_have_text("4")
    expect(figure("Cache in use")).to_have_text("50.0 %")
    expect(figure("Prompt tokens")).to_have_text("0.0 /s")
    expect(figure("Time to first token, median")).to_have_text("10.0 ms")
    rate = float(figure("Tokens generated").inner_text().split()[0])
    assert 800 < rate < 1200
    expect(page.locator(".totals").first).to_contain_text("Requests finished 5")
    expect(page.locator(".totals").first).to_contain_text("of them from the cache 33")
    path = page.get_by_role("region", name="Requests running").locator("path.line").get_attribute("d")
    assert path.startswith("M") and "L" in path


def test_dark_and_light(page):
    colour = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(colour)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(colour)
    assert light != dark
    page.get_by_role("button", name="Colours: Auto").click()
    page.get_by_role("button", name="Colours: Light").click()
    assert page.evaluate(colour) == dark
    page.reload()
    assert page.evaluate(colour) == dark


def test_a_phone_shows_everything_in_its_width(browser, server):
    context = browser.new_context(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(server.url)
    ask(page, "code")
    expect(answers(page).locator(".timing")).not_to_be_empty()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(page.locator("nav")).not_to_be_visible()
    page.get_by_role("button", name="Conversations").tap()
    expect(page.locator("nav")).to_be_visible()
    page.locator("nav .title").tap()
    expect(page.locator("nav")).not_to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_in_viewport()
    page.get_by_role("tab", name="Engine").tap()
    expect(page.get_by_role("region", name="Requests running", exact=True)).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()
