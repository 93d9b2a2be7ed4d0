"""The sheet of a chat (MCP App) in Chromium, in the sandbox that hosts use."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from tests.support.page import BUNDLE, CHROMIUM, build_bundle, until

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed.")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(CHROMIUM is None, reason="There is no Chromium."),
]

# What the specification gives a view that declares no domains.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'none'"
)
HOST = """
window.calls = [];
window.waiting = [];
const frame = document.createElement("iframe");
frame.setAttribute("sandbox", "allow-scripts");
const post = (message) => frame.contentWindow.postMessage({ jsonrpc: "2.0", ...message }, "*");
addEventListener("message", ({ data }) => {
  if (data.method === "ui/initialize") {
    post({ id: data.id, result: { hostContext: { theme: "dark" } } });
  } else if (data.method === "ui/notifications/initialized") window.ready = true;
  else if (data.id !== undefined && data.method !== undefined) {
    window.calls.push(data.params);
    window.waiting.push(data.id);
  }
});
window.tell = (method, params) => post({ method, params });
window.answer = (result) => post({ id: window.waiting.shift(), result });
window.refuse = (message) => post({ id: window.waiting.shift(), error: { code: -32000, message } });
document.body.append(frame);
frame.srcdoc = window.sheet;
"""


class Chat:
    """A host that shows the sheet, and answers its calls by hand."""

    def __init__(self, page) -> None:
        self.page = page
        self.said: list[str] = []
        page.on(
            "console",
            lambda message: message.type == "error" and self.said.append(str(message.text)),
        )
        page.on("pageerror", lambda error: self.said.append(str(error)))
        sheet = (BUNDLE / "app.html").read_text()
        meta = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        sheet = sheet.replace("<head>", f"<head>{meta}", 1)
        page.set_content("<!doctype html><body></body>")
        page.evaluate(f"window.sheet = {json.dumps(sheet)}; {HOST}")
        until(lambda: page.evaluate("window.ready === true"), "the sheet is ready")
        self.frame = page.frame_locator("iframe")

    def tell(self, method: str, **params: object) -> None:
        self.page.evaluate("([method, params]) => tell(method, params)", [method, params])

    def asked(self) -> dict[str, object]:
        """The next call of the sheet."""
        until(lambda: self.page.evaluate("waiting.length > 0"), "the sheet calls")
        return self.page.evaluate("calls.at(-1)")

    def answer(self, result: dict[str, object]) -> None:
        self.asked()
        self.page.evaluate("(result) => answer(result)", result)


@pytest.fixture(scope="module")
def browser():
    build_bundle()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def chat(browser):
    page = browser.new_page(viewport={"width": 720, "height": 560})
    yield Chat(page)
    page.close()


def reply(index: int | None, status: str = "generating", requested: int = 4) -> dict[str, object]:
    image = None
    content: list[dict[str, object]] = []
    if index is not None:
        image = {
            "index": index, "id": f"image{index}", "uri": None, "width": 8, "height": 8,
            "model": "gpt-image-2", "cost_usd": "0.04",
        }  # fmt: skip
        content = [{"type": "image", "mimeType": "image/png", "data": png(index)}]
    return {
        "content": content,
        "structuredContent": {
            "session_id": "s1", "status": status, "requested_count": requested,
            "image": image, "errors": [],
        },
    }  # fmt: skip


def png(number: int) -> str:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (40 * number + 60, 90, 160)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def begin(chat: Chat) -> None:
    chat.tell("ui/notifications/tool-input", arguments={"prompt": "a cat", "count": 4})
    until(lambda: chat.frame.locator(".place").count() == 4, "each image has a place at once")
    chat.tell("ui/notifications/tool-result", **reply(0))


def test_images_arrive_one_by_one_with_the_cost_so_far(chat):
    begin(chat)
    for index in (1, 2, 3):
        call = chat.asked()
        assert call["name"] == "get_next_image"
        assert call["arguments"]["after"] == index - 1
        done = chat.frame.locator("[data-state=done] img")
        until(lambda: done.count() == index, f"{index} are shown")  # noqa: B023
        chat.answer(reply(index, "completed" if index == 3 else "generating"))
    until(lambda: chat.frame.locator("[data-state=done] img").count() == 4, "all are shown")
    until(lambda: "$0.16 so far" in chat.frame.locator("header").inner_text(), "the cost is shown")
    chat.answer(reply(None, "completed"))
    until(lambda: chat.frame.get_by_role("button", name="Cancel").count() == 0, "it is over")
    assert chat.said == []


def test_a_batch_is_cancelled(chat):
    begin(chat)
    chat.asked()
    chat.frame.get_by_role("button", name="Cancel").click()
    until(lambda: chat.page.evaluate("waiting.length") == 2, "the sheet asks for the end")
    assert chat.asked() == {"name": "cancel_batch", "arguments": {"session_id": "s1"}}
    chat.answer(reply(None, "cancelled"))
    chat.answer(reply(None, "cancelled"))
    until(lambda: chat.frame.locator("[data-state=sent]").count() == 0, "nothing is awaited")
    assert chat.said == []


def test_an_image_is_opened_whole_and_varied(chat):
    chat.tell("ui/notifications/tool-input", arguments={"prompt": "a cat", "count": 1})
    chat.tell("ui/notifications/tool-result", **reply(0, "completed", 1))
    chat.frame.locator(".place button").first.click()
    call = chat.asked()
    assert call == {"name": "show_image", "arguments": {"image_id": "image0", "full": True}}
    chat.answer({"content": [{"type": "image", "mimeType": "image/png", "data": png(3)}]})
    until(
        lambda: png(3) in (chat.frame.locator(".app-viewer img").get_attribute("src") or ""),
        "the whole image is shown",
    )
    chat.frame.get_by_role("button", name="Vary").click()
    until(lambda: chat.page.evaluate("calls.at(-1).name") == "create_variations", "it is varied")
    assert chat.said == []


def test_an_error_of_a_tool_is_one_sentence(chat):
    begin(chat)
    chat.answer({"isError": True, "content": [{"type": "text", "text": "No such batch."}]})
    until(lambda: "No such batch." in chat.frame.locator("[role=alert]").inner_text(), "it is said")
    assert chat.said == []
