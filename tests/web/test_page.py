"""The page in Chromium: the whole walk from the dialog to an edited child, two
tabs, reload, a killed server, offline, and what axe finds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from PIL import Image as PillowImage

from tests.support.page import AXE, BUNDLE, CHROMIUM, Site, build_bundle, open_simulator, until

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed.")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(CHROMIUM is None, reason="There is no Chromium."),
]

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 820}
MOST_FIRST_VIEW = 60_000
VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(event.violatedDirective + " " + event.blockedURI));
"""
RUN_AXE = """async (rules) => {
  const runOnly = rules ?? { type: "tag",
    values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] };
  const found = await axe.run(document, { resultTypes: ["violations"], runOnly });
  return found.violations
    .filter((one) => one.impact === "serious" || one.impact === "critical")
    .map((one) => one.id + ": " + one.nodes.map((node) => node.html.slice(0, 160)).join(" | "));
}"""


@pytest.fixture(scope="module", autouse=True)
def bundle():
    build_bundle()


@pytest.fixture(scope="module")
def browser(bundle):
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def simulator():
    with open_simulator("--latency", "0.3-0.6") as keys:
        yield keys


@pytest.fixture(scope="module")
def slow_simulator():
    # On a loaded machine a batch must still run when the test looks at it.
    with open_simulator("--latency", "2-4") as keys:
        yield keys


@pytest.fixture
def site(tmp_path, simulator) -> Iterator[Site]:
    yield from serve(tmp_path / "home", simulator)


@pytest.fixture
def slow_site(tmp_path, slow_simulator) -> Iterator[Site]:
    yield from serve(tmp_path / "home", slow_simulator)


def serve(home: Path, keys: dict[str, str]) -> Iterator[Site]:
    site = Site(home, keys)
    site.start()
    yield site
    site.kill()


class Tab:
    """A tab, and what its console said."""

    def __init__(self, context, url: str) -> None:
        self.page = context.new_page()
        self.said: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog: {dialog.message}"))
        self.page.add_init_script(VIOLATIONS)
        self.page.goto(url)
        self.find(".count").wait_for(state="attached")

    def _note(self, message) -> None:
        if message.type == "error":
            self.said.append(f"{message.text} {message.location.get('url')}")

    def find(self, selector: str, **options: str):
        return self.page.locator(selector, **options)

    def role(self, role: str, name: str):
        return self.page.get_by_role(role, name=name, exact=True)

    def tiles(self) -> int:
        return self.page.evaluate(
            "[...document.querySelectorAll('.tile img')].filter((one) => one.naturalWidth).length"
        )

    def make(self, prompt: str, count: int = 1) -> None:
        self.page.fill("#prompt", prompt)
        self.page.fill("#count", str(count))
        self.page.locator("#count").press("Tab")
        until(lambda: self.find(".make").first.is_enabled(), "the button can be pressed")
        self.page.keyboard.press("Control+Enter")

    def choose_model(self, name: str) -> None:
        self.find(".model-card").click()
        self.page.fill(".models-head input[type=search]", name)
        for row in self.find(".model-row[aria-pressed=true]").all():
            row.click()
        self.find(".model-row").first.dblclick()

    def open_first(self) -> None:
        self.find('.tile[data-ordinal="0"]').click()
        self.find(".facts-head").wait_for()

    def check(self) -> None:
        assert self.page.evaluate("window.violations") == []
        assert self.said == []


@pytest.fixture
def context(browser):
    context = browser.new_context(viewport=DESKTOP, locale="en-US")
    yield context
    context.close()


def test_the_first_view_is_small():
    assert json.loads((BUNDLE / "sizes.json").read_text())["first_view_bytes"] < MOST_FIRST_VIEW


def test_from_the_dialog_to_an_edited_child(context, site):
    tab = Tab(context, site.url)
    tab.choose_model("gpt-image-2")
    tab.make("a harbour at dusk", 2)
    until(lambda: tab.find(".place").count() == 2, "each request has a place at once")
    until(lambda: tab.tiles() == 2, "the images are in the gallery")
    until(lambda: "2 of 2" in tab.find(".batch header").inner_text(), "the batch is over")
    tab.open_first()
    assert "a harbour at dusk" in tab.find(".facts-prompt").inner_text()
    parent = tab.page.url

    tab.role("link", "Edit").click()
    until(lambda: tab.page.evaluate("document.querySelector('imagen-canvas')?.image != null"), "it")
    draw(tab)
    tab.page.fill("#edit-prompt", "a red sail")
    tab.find(".editor-side .make").click()
    until(lambda: tab.find(".editor-strip [data-state=done]").count() == 1, "the child is there")
    tab.find(".editor-strip [data-state=done] a").first.click()
    until(lambda: tab.find(".tree a").count() == 2, "the lineage shows parent and child")
    assert tab.find(".tree a").first.get_attribute("href") == "#" + parent.split("#")[1]
    tab.check()


def draw(tab: Tab) -> None:
    box = tab.find("imagen-canvas canvas").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.page.mouse.move(*middle)
    tab.page.mouse.down()
    for step in range(10):
        tab.page.mouse.move(middle[0] + 8 * step, middle[1] + 5 * (step % 3))
    tab.page.mouse.up()


def test_beyond_the_frame_the_model_paints(context, site):
    tab = Tab(context, site.url)
    tab.make("a boat")
    until(lambda: tab.tiles() == 1, "the image is there")
    tab.open_first()
    tab.role("link", "Edit").click()
    until(lambda: tab.page.evaluate("document.querySelector('imagen-canvas')?.image != null"), "it")
    tab.role("button", "Crop & extend").click()
    tab.role("button", "Extend by a quarter on each side").click()
    tab.page.fill("#edit-prompt", "more of the sea")
    tab.find(".editor-side .make").click()
    until(lambda: tab.find(".editor-strip [data-state=done]").count() == 1, "the child is there")
    tab.find(".editor-strip [data-state=done] a").first.click()
    until(lambda: tab.find(".tree a").count() == 2, "what was drawn here stays in the lineage")
    tab.check()


def test_a_high_price_asks_first(context, tmp_path, simulator):
    site = Site(tmp_path / "home", simulator, "confirm_above_usd = 0.01\n")
    site.start()
    try:
        tab = Tab(context, site.url)
        tab.choose_model("gpt-image-2")
        tab.make("a gate", 2)
        tab.role("button", "Not now").click()
        assert tab.find(".batch").count() == 0
        until(lambda: tab.find(".make").first.is_enabled(), "it can be pressed again")
        tab.page.keyboard.press("Control+Enter")
        tab.role("button", "Make them").click()
        until(lambda: tab.tiles() == 2, "they are made")
        tab.check()
    finally:
        site.kill()


MASK = """async () => {
  const canvas = document.querySelector("imagen-canvas");
  const bytes = canvas.maskPixels();
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(digest)].join();
}"""


def test_undo_and_redo_of_a_mask_are_exact_and_survive_a_reload(context, site):
    tab = Tab(context, site.url)
    tab.make("a boat")
    until(lambda: tab.tiles() == 1, "the image is there")
    tab.open_first()
    tab.role("link", "Edit").click()
    ready = "document.querySelector('imagen-canvas')?.image != null"
    until(lambda: tab.page.evaluate(ready), "the image is open")
    masks = [tab.page.evaluate(MASK)]
    for tool in ("Brush (B)", "Eraser (E)", "Lasso (L)", "Rectangle (R)"):
        tab.role("button", tool).click()
        draw(tab)
        masks.append(tab.page.evaluate(MASK))
    tab.role("button", "Invert the mask").click()
    masks.append(tab.page.evaluate(MASK))
    assert len(set(masks)) >= 4
    for mask in reversed(masks[:-1]):
        tab.role("button", "Undo").click()
        assert tab.page.evaluate(MASK) == mask
    for mask in masks[1:]:
        tab.role("button", "Redo").click()
        assert tab.page.evaluate(MASK) == mask
    until(lambda: strokes_kept(tab) == 5, "the strokes are kept")
    tab.page.reload()
    until(lambda: tab.page.evaluate(ready), "the image is open again")
    until(lambda: tab.page.evaluate(MASK) == masks[-1], "the mask is drawn again")
    tab.check()


KEPT = """(wanted) => new Promise((done) => {
  indexedDB.open("imagen").onsuccess = ({ target: { result } }) => {
    const asked = result.transaction("kept").objectStore("kept").get(wanted);
    asked.onsuccess = () => { result.close(); done(asked.result ?? null); };
  };
})"""


def strokes_kept(tab: Tab) -> int:
    """Return the number of strokes that the browser keeps for the open image."""
    kept = tab.page.evaluate(KEPT, f"mask.{tab.page.url.rpartition('/')[2]}")
    return len(kept["strokes"]) if kept else 0


STROKES = "document.querySelector('imagen-canvas').history.strokes.map((one) => one.tool).join()"


def test_a_mask_is_drawn_by_keyboard(context, furnished):
    site, ids = furnished
    tab = Tab(context, site.url)
    tab.page.goto(f"{site.url}#/edit/{ids[0]}")
    ready = "document.querySelector('imagen-canvas')?.image != null"
    until(lambda: tab.page.evaluate(ready), "the image is open")
    tab.find("imagen-canvas canvas").focus()
    empty = tab.page.evaluate(MASK)
    press(tab, "ArrowRight", "ArrowDown")
    assert tab.page.evaluate(MASK) == empty
    press(tab, "Space", "ArrowRight", "ArrowRight")
    until(lambda: "Drawing" in tab.find("imagen-canvas [role=status]").inner_text(), "it is said")
    press(tab, "Shift+ArrowDown", "Space")
    line = tab.page.evaluate(MASK)
    assert line != empty
    press(tab, "r", "Space", "ArrowUp", "ArrowLeft", "Space")
    assert tab.page.evaluate(STROKES) == "brush,rectangle"
    rectangle = tab.page.evaluate(MASK)
    press(tab, "b", "Space", "ArrowLeft", "Escape")
    assert tab.page.evaluate(MASK) == rectangle
    press(tab, "e", "Space", "ArrowLeft", "Control+z")
    assert tab.page.evaluate(STROKES) == "brush,rectangle"
    press(tab, "Control+z")
    assert tab.page.evaluate(MASK) == line
    press(tab, "l", "Space", *["ArrowRight"] * 80, "ArrowDown", "ArrowLeft", "Tab")
    assert tab.page.evaluate(STROKES) == "brush,lasso"
    tab.check()


SIZE = """(({ imageWidth, imageHeight, frame }) =>
  [imageWidth, imageHeight, frame.width, frame.height])(document.querySelector("imagen-canvas"))"""


def test_an_image_is_resized_and_framed_by_keyboard(context, furnished):
    site, ids = furnished
    tab = Tab(context, site.url)
    tab.page.goto(f"{site.url}#/edit/{ids[0]}")
    ready = "document.querySelector('imagen-canvas')?.image != null"
    until(lambda: tab.page.evaluate(ready), "the image is open")
    tab.role("button", "Crop & extend").click()
    width, height = tab.page.evaluate(SIZE)[:2]
    for side, length, wanted in (
        ("width", 300, [300, round(300 * height / width)]),
        ("height", 200, [round(200 * width / height), 200]),
        ("width", 0, [width, height]),
        ("width", 256, [256, round(256 * height / width)]),
    ):
        tab.page.fill(f"#resize-{side}", str(length))
        press(tab, "Tab")
        until(lambda: tab.page.evaluate(SIZE) == wanted * 2, f"{side} {length}")  # noqa: B023
        shown = tab.find("#resize-width")
        until(lambda: shown.input_value() == str(wanted[0]), "its width is shown")  # noqa: B023
    tab.find("imagen-canvas canvas").focus()
    press(tab, "Shift+ArrowRight", "ArrowLeft")
    framed = tab.page.evaluate(SIZE)
    assert framed[2] > 256
    with tab.page.expect_download() as saved:
        tab.role("button", "Save the frame as a file").click()
    with PillowImage.open(saved.value.path()) as image:
        assert list(image.size) == framed[2:]
    tab.check()


def test_a_background_is_removed_by_what_the_model_can(context, tmp_path, simulator):
    # A model that is made for it comes first; nothing is sent to it here.
    site = Site(tmp_path / "home", simulator | {"STABILITY_API_KEY": "none"})
    site.start()
    try:
        tab = Tab(context, site.url)
        tab.choose_model("gpt-image-2")
        tab.make("a boat")
        until(lambda: tab.tiles() == 1, "the image is there")
        tab.open_first()
        tab.role("link", "Edit").click()
        tab.role("button", "Cut out").click()
        until(lambda: "$0.05" in tab.find(".editor-side .price").inner_text(), "it has a price")
        until(lambda: tab.find("#edit-prompt").count() == 0, "it needs no prompt")
        asked = tab.find("#edit-model")
        own = "stability/remove-background"
        until(lambda: asked.input_value() == own, "the model that is made for it is asked")
        for model in ("gpt-image-2.6-flare", own, "gpt-image-2.6-flare"):
            asked.select_option(model)
            until(lambda: tab.find("#edit-prompt").count() == (model != own), model)  # noqa: B023
        tab.role("button", "Cut out").first.click()
        until(lambda: asked.input_value() == own, "the first model is asked again")
        asked.select_option("gpt-image-2.6-flare")
        tab.find("#edit-prompt").wait_for()
        tab.find(".editor-side .make").click()
        until(lambda: tab.find(".editor-strip [data-state=done]").count() == 1, "it is cut out")
        batch = context.request.get(f"{site.url}api/1/batches").json()["batches"][0]["id"]
        (place,) = context.request.get(f"{site.url}api/1/batches/{batch}").json()["places"]
        assert place["request"]["background"] == "transparent"
        assert place["request"]["prompt"].startswith("Remove the background")
        tab.check()
    finally:
        site.kill()


def press(tab: Tab, *keys: str) -> None:
    for key in keys:
        tab.page.keyboard.press(key)


def test_two_tabs_agree(context, site):
    one, other = Tab(context, site.url), Tab(context, site.url)
    one.make("a lighthouse")
    until(lambda: one.tiles() == 1, "the image is in the first tab")
    until(lambda: other.tiles() == 1, "and in the second")
    one.find(".tile").first.focus()
    one.page.keyboard.press("4")
    until(lambda: other.find(".tile-stars").first.inner_text() == "★★★★", "the stars came")
    other.find(".tile").first.focus()
    other.page.keyboard.press("Delete")
    until(lambda: one.find(".count").inner_text() == "0 images", "it is in the trash for both")
    other.find(".toast button").last.click()
    until(lambda: one.tiles() == 1, "undo brings it back")
    one.check()
    other.check()


def test_seven_tabs_share_one_stream_and_outlive_its_reader(context, site):
    tabs = [Tab(context, site.url) for _ in range(7)]
    tabs[0].make("a lighthouse")
    until(lambda: all(tab.tiles() == 1 for tab in tabs), "the image is in every tab")
    tabs[0].page.close()
    tabs[3].make("a boat")
    until(lambda: all(tab.tiles() == 2 for tab in tabs[1:]), "another tab reads on")
    for tab in tabs[1:]:
        tab.check()


def test_a_reload_finds_the_batch_running(context, slow_site):
    tab = Tab(context, slow_site.url)
    tab.choose_model("gpt-image-2")
    tab.make("a tree", 8)
    until(lambda: tab.find(".batch[data-state=running]").count() == 1, "the batch runs")
    tab.page.reload()
    until(lambda: tab.find(".place").count() == 8, "each request has its place again")
    until(lambda: tab.page.input_value("#prompt") == "a tree", "the draft is kept")
    until(lambda: tab.tiles() == 8, "all images arrive")
    tab.check()


def test_a_batch_can_be_cancelled(context, slow_site):
    tab = Tab(context, slow_site.url)
    tab.choose_model("gpt-image-2")
    tab.make("a hill", 30)
    tab.find(".batch[data-state=running] header button").click()
    until(lambda: tab.find(".batch[data-state=cancelled]").count() == 1, "it is cancelled")
    until(lambda: "cancelled" in tab.find(".batch header").inner_text(), "it is said")
    tab.check()


def test_esc_cancels_what_was_started_last(context, slow_site):
    tab = Tab(context, slow_site.url)
    tab.choose_model("gpt-image-2")
    tab.make("a road", 30)
    until(lambda: tab.find(".batch[data-state=running]").count() == 1, "the batch runs")
    tab.find("#prompt").press("Escape")
    until(lambda: tab.find(".batch[data-state=cancelled]").count() == 1, "it is cancelled")
    tab.check()


def test_a_prompt_with_choices_and_variables_makes_each(context, site):
    tab = Tab(context, site.url)
    tab.page.fill("#prompt", "a {red|blue} boat in {{place=Rome}}")
    tab.page.fill(".variables input", "Oslo")
    until(lambda: "2 wordings" in tab.find(".prompt-tools").inner_text(), "they are counted")
    tab.make("a {red|blue} boat in {{place=Rome}}", 2)
    until(lambda: tab.tiles() == 2, "both are made")
    labels = {tile.get_attribute("aria-label") for tile in tab.find(".tile").all()}
    assert labels == {"a red boat in Oslo", "a blue boat in Oslo"}
    tab.check()


def test_seeds_and_styles_make_a_grid(context, site):
    tab = Tab(context, site.url)
    tab.choose_model("sketch")
    tab.page.fill("#prompt", "a mill")
    tab.find("details.more summary").click()
    seeds = tab.find("#parameter-seed")
    for text, count in {"8": 1, "x, 3": 1, "3 5": 2, "4 - 1": 1, "3, 5–7;5": 4}.items():
        seeds.fill(text)
        press(tab, "Tab")
        button = f"Make {count} image" + "s" * (count > 1)
        until(lambda: button in tab.find(".make").first.inner_text(), f"{text}")  # noqa: B023
    tab.role("button", "Styles").click()
    tab.role("button", "noir").click()
    tab.role("button", "oil").click()
    tab.role("button", "Each style by itself").click()
    press(tab, "Escape")
    until(lambda: "Make 8 images" in tab.find(".make").first.inner_text(), "a grid")
    until(lambda: tab.find(".make").first.is_enabled(), "the button can be pressed")
    press(tab, "Control+Enter")
    until(lambda: tab.find(".batch").count() == 1, "it is begun")
    (batch,) = context.request.get(f"{site.url}api/1/batches").json()["batches"]
    places = context.request.get(f"{site.url}api/1/batches/{batch['id']}").json()["places"]
    made = [(one["request"]["seed"], one["request"]["prompt"]) for one in places]
    assert [seed for seed, _ in made] == [3, 3, 5, 5, 6, 6, 7, 7]
    assert len(set(made)) == 8
    tab.check()


def test_a_long_press_selects_and_the_trash_is_emptied(browser, site):
    context = browser.new_context(viewport=PHONE, locale="en-US", has_touch=True, is_mobile=True)
    tab = Tab(context, site.url + "#/make")
    tab.make("a leaf")
    until(lambda: tab.tiles() == 1, "the image is there")
    tab.page.evaluate(
        """document.querySelector(".tile img").dispatchEvent(
        new PointerEvent("pointerdown", { bubbles: true, pointerType: "touch" }))"""
    )
    until(lambda: tab.find(".selection").count() == 1, "holding it selects it")
    tab.role("button", "Move to the trash").click()
    until(lambda: tab.tiles() == 0, "it is gone")
    tab.find(".chip", has_text="Trash").click()
    until(lambda: tab.tiles() == 1, "it is in the trash")
    tab.find(".tile").first.focus()
    tab.page.keyboard.press("Space")
    tab.role("button", "Delete for good").click()
    tab.find(".sure .bad").click()
    until(lambda: tab.find(".count").text_content() == "0 images", "it is deleted")
    tab.check()
    context.close()


ASKED = "document.activeElement?.matches('.ask input') === true"


def test_a_collection_is_renamed_and_deleted_where_it_is_shown(context, site):
    tab = Tab(context, site.url)
    tab.make("a leaf")
    until(lambda: tab.tiles() == 1, "the image is there")
    tab.find(".tile").first.focus()
    tab.page.keyboard.press("Space")
    tab.role("button", "Add to a collection").click()
    until(lambda: tab.page.evaluate(ASKED), "the name can be typed")
    tab.page.keyboard.type("trips/norway")
    tab.page.keyboard.press("Enter")
    until(lambda: "trips/norway" in tab.find(".toasts").inner_text(), "Enter saves")
    tab.page.get_by_label("Collection", exact=True).select_option("trips/norway")
    tab.role("button", "Rename the collection “trips/norway”").click()
    tab.page.locator(".ask input").fill("<b>fjord")
    tab.page.keyboard.press("Enter")
    tab.role("button", "Delete the collection “trips/<b>fjord”").click()
    until(lambda: tab.tiles() == 1, "the image stays in it")
    tab.find(".sure").get_by_role("button", name="Not now").click()
    tab.role("button", "Delete the collection “trips/<b>fjord”").click()
    tab.find(".sure .bad").click()
    until(lambda: "is deleted" in tab.find(".toasts").inner_text(), "it is said")
    until(lambda: tab.page.evaluate("location.hash") == "#/", "all images are shown again")
    until(lambda: tab.find("imagen-collection").count() == 0, "its buttons are gone")
    until(lambda: tab.tiles() == 1, "the image stays")
    assert tab.page.evaluate("window.violations") == []


def test_a_failure_is_a_sentence_with_a_way_on(context, tmp_path):
    with open_simulator("--fault", "refused") as keys:
        site = Site(tmp_path / "home", keys)
        site.start()
        try:
            tab = Tab(context, site.url)
            tab.choose_model("gpt-image-2")
            tab.make("a door")
            until(lambda: tab.find(".place[data-state=failed]").count() == 1, "it fails")
            until(lambda: len(tab.find(".place-sentence").inner_text()) > 20, "a sentence says why")
            tab.find(".place-actions button").first.click()
            until(lambda: tab.find(".batch").count() == 2, "it is tried again")
            tab.check()
        finally:
            site.kill()


def test_the_server_is_killed_and_started_again(context, slow_site):
    tab = Tab(context, slow_site.url)
    tab.choose_model("gpt-image-2")
    tab.make("a bridge", 12)
    until(lambda: tab.find(".place[data-state=done]").count() >= 1, "the first image came")
    slow_site.kill()
    until(lambda: tab.find(".pill.bad").count() == 1, "the page says that nothing answers")
    until(lambda: tab.find(".make").first.is_disabled(), "nothing can be made")
    slow_site.start()
    until(lambda: tab.find(".pill.bad").count() == 0, "the page is connected again")
    until(lambda: tab.find(".batch[data-state=interrupted]").count() == 1, "the batch is shown")
    tab.role("button", "Collect what was paid").click()
    until(lambda: tab.find(".batch[data-state=interrupted]").count() == 0, "it is settled")
    until(lambda: tab.tiles() >= 1, "what was paid is in the gallery")
    assert tab.page.evaluate("window.violations") == []


SEEN = """async () => {
  const [thumbnails, seen] = await Promise.all(
    ["imagen-thumbnails", "imagen-seen"].map(async (name) => (await caches.open(name)).keys()));
  const paths = seen.map((one) => new URL(one.url).pathname);
  const has = (part) => paths.some((path) => path.includes(part));
  return thumbnails.length >= 2 && ["/state", "/models", "/timeline", "/1/images"].every(has);
}"""


def test_offline_and_back(context, site):
    tab = Tab(context, site.url)
    tab.make("a cloud", 2)
    until(lambda: tab.tiles() == 2, "the images are there")
    until(lambda: tab.page.evaluate("navigator.serviceWorker.controller !== null"), "it is kept")
    tab.page.reload()
    until(lambda: tab.tiles() == 2, "the worker has seen the images")
    until(lambda: tab.page.evaluate(SEEN), "it keeps them")
    tab.page.fill("#prompt", "a draft")
    until(
        lambda: (tab.page.evaluate(KEPT, "draft") or {}).get("prompt") == "a draft",
        "the draft is kept",
    )

    site.kill()
    tab.page.reload()
    until(lambda: tab.tiles() == 2, "the page opens without the server")
    until(lambda: tab.page.input_value("#prompt") == "a draft", "the draft is kept")
    until(lambda: tab.find(".make").first.is_disabled(), "nothing can be made")
    tab.find(".tile").first.focus()
    tab.page.keyboard.press("5")
    until(lambda: "Kept here" in tab.find(".toasts").inner_text(), "the stars wait")

    site.start()
    until(lambda: "made offline" in tab.find(".toasts").inner_text(), "the stars are sent")
    other = Tab(context, site.url)
    until(lambda: other.find(".tile-stars").first.inner_text() == "★★★★★", "the server has them")
    assert other.said == []


def test_a_first_visit_opens_without_the_server(context, site):
    tab = Tab(context, site.url)
    tab.make("a cloud", 2)
    until(lambda: tab.tiles() == 2, "the images are there")
    until(lambda: tab.page.evaluate("navigator.serviceWorker.controller !== null"), "it is kept")
    until(lambda: tab.page.evaluate(SEEN), "what came before the worker is kept too")
    site.kill()
    tab.page.reload()
    until(lambda: tab.tiles() == 2, "the page opens without the server")
    until(lambda: tab.find(".model-card").inner_text() != "", "so does the dialog")


OUTBOX = """() => new Promise((done) => {
  indexedDB.open("imagen").onsuccess = ({ target: { result } }) => {
    const asked = result.transaction("outbox").objectStore("outbox").count();
    asked.onsuccess = () => { result.close(); done(asked.result); };
  };
})"""


def test_what_differs_or_is_refused_after_a_time_offline_is_said(context, site):
    tab = Tab(context, site.url)
    tab.make("a cloud", 3)
    until(lambda: tab.tiles() == 3, "the images are there")
    until(lambda: tab.page.evaluate("navigator.serviceWorker.controller !== null"), "it is kept")
    tiles = tab.find(".tile[data-id]").all()
    ids = [tile.get_attribute("data-id") for tile in tiles]
    call_elsewhere(site, "collections", name="trips")
    tab.page.get_by_label("Collection", exact=True).wait_for(state="attached")
    context.set_offline(True)
    tiles[0].focus()
    press(tab, "Space")
    tab.role("button", "Add to a collection").click()
    until(lambda: tab.page.evaluate(ASKED), "the name can be typed")
    tab.page.keyboard.type("trips")
    press(tab, "Enter")
    until(lambda: tab.page.evaluate(OUTBOX) == 1, "the collection waits")
    press(tab, "Escape")
    for at, stars in ((0, "3"), (1, "4"), (2, "5"), (2, "1")):
        tiles[at].focus()
        press(tab, stars)
    until(lambda: tab.page.evaluate(OUTBOX) == 5, "the stars wait")
    call_elsewhere(site, "collections/delete", name="trips")
    call_elsewhere(site, "images/change", ids=[ids[0]], stars=1)
    call_elsewhere(site, "images/change", ids=[ids[1]], stars=4)
    context.set_offline(False)
    tab.page.reload()
    said = tab.find(".toasts")
    sentence = "4 changes made offline were sent. 1 image had"
    until(lambda: sentence in said.inner_text(), "it is said")
    until(lambda: "Unknown collection" in said.inner_text(), "so is what was refused")
    rows = context.request.get(f"{site.url}api/1/images").json()["images"]
    assert {row["id"]: row["stars"] for row in rows} == dict(zip(ids, (3, 4, 1), strict=True))


def call_elsewhere(site: Site, path: str, **body: object) -> None:
    origin = "/".join(site.url.split("/")[:3])
    reply = httpx2.post(f"{site.url}api/1/{path}", json=body, headers={"origin": origin})
    assert reply.is_success


def test_notes_and_trash_that_hide_a_change_elsewhere_are_said(context, site):
    tab = Tab(context, site.url)
    tab.make("a cloud", 3)
    until(lambda: tab.tiles() == 3, "the images are there")
    until(lambda: tab.page.evaluate("navigator.serviceWorker.controller !== null"), "it is kept")
    ids = [tile.get_attribute("data-id") for tile in tab.find(".tile[data-id]").all()]
    tab.open_first()
    context.set_offline(True)
    for number, notes in enumerate(("mine at first", "mine"), 1):
        tab.page.fill("#notes", notes)
        until(lambda: tab.page.evaluate(OUTBOX) == number, "the notes wait")  # noqa: B023
    tab.page.go_back()
    for number, at in ((3, 1), (4, 2)):
        tab.find(f'.tile[data-ordinal="{at}"]').focus()
        press(tab, "Delete")
        until(lambda: tab.page.evaluate(OUTBOX) == number, "the trash waits")  # noqa: B023
    call_elsewhere(site, "images/change", ids=[ids[0]], notes="theirs")
    call_elsewhere(site, "images/change", ids=[ids[1]], stars=5)
    call_elsewhere(site, "images/change", ids=[ids[2]], trashed=True)
    call_elsewhere(site, "images/delete", ids=[ids[2]])
    context.set_offline(False)
    tab.page.reload()
    sentence = (
        "4 changes made offline were sent. 2 images had got other stars or notes in the"
        " meantime: your change counts. 1 image had been deleted."
    )
    until(lambda: sentence in tab.find(".toasts").inner_text(), "it is said")
    details = context.request.get(f"{site.url}api/1/images/{ids[0]}").json()
    assert details["notes"] == "mine"
    trashed = context.request.get(f"{site.url}api/1/images?state=trashed").json()["images"]
    assert [row["id"] for row in trashed] == [ids[1]]


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</textarea><script>alert(2)</script>",
    "${alert(3)} <a href=javascript:alert(4)>",
    'javascript:alert(5) " onmouseover="alert(6)',
    "<svg><animate onbegin=alert(7) attributeName=x dur=1s>",
]


def test_html_in_prompts_and_tags_is_text(context, site):
    tab = Tab(context, site.url)
    for number, prompt in enumerate(HOSTILE, 1):
        tab.make(prompt)
        until(lambda: tab.tiles() == number, f"{prompt} is made")  # noqa: B023
    tab.open_first()
    assert tab.find(".facts-prompt p").first.inner_text() == HOSTILE[-1]
    tab.page.fill("#add-tag", "<b>bold</b>")
    tab.page.locator("#add-tag").press("Enter")
    until(lambda: tab.find(".facts .chip").count() == 1, "the tag is there")
    assert "<b>bold</b>" in tab.find(".facts .chip").inner_text()
    tab.page.fill("#notes", HOSTILE[0])
    tab.page.reload()
    tab.find(".facts-head").wait_for()
    tab.check()


VIEWS = {
    "": ".tile[data-id]",
    "#/make": ".model-card",
    "#/image/{id}": ".facts-head",
    "#/edit/{id}": ".editor-side .segments button",
    "#/compare/{id},{other}": ".compare-slider, .empty",
    "#/spending": ".card",
    "#/show/{id}": ".slides-prompt",
}


@pytest.fixture(scope="module")
def furnished(browser, tmp_path_factory, simulator) -> Iterator[tuple[Site, list[str]]]:
    site = Site(tmp_path_factory.mktemp("page") / "home", simulator)
    site.start()
    context = browser.new_context(viewport=DESKTOP, locale="en-US")
    tab = Tab(context, site.url)
    tab.make("a pond in the rain", 3)
    until(lambda: tab.tiles() == 3, "the images are there")
    ids = [tile.get_attribute("data-id") for tile in tab.find(".tile[data-id]").all()]
    context.close()
    yield site, ids
    site.kill()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious(browser, furnished, size):
    site, ids = furnished
    context = browser.new_context(viewport=size, locale="en-US", reduced_motion="reduce")
    page = context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    for view, is_there in VIEWS.items():
        page.goto("about:blank")
        page.goto(site.url + view.format(id=ids[0], other=ids[1]))
        until(lambda: page.locator(is_there).count() > 0, f"{view} is shown")  # noqa: B023
        check_by_axe(page, view)
    page.goto(f"{site.url}#/make")
    page.locator(".model-card").click()
    check_by_axe(page, "the chooser of models")
    assert said == []
    context.close()


def check_by_axe(page, view: str) -> None:
    page.evaluate(AXE.read_text() + "\nundefined")
    page.emulate_media(color_scheme="light")
    assert page.evaluate(RUN_AXE, None) == [], view
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(RUN_AXE, ["color-contrast"]) == [], view


def test_the_other_language_is_whole(browser, furnished):
    site, ids = furnished
    context = browser.new_context(viewport=DESKTOP, locale="de-DE")
    tab = Tab(context, site.url)
    until(lambda: tab.page.evaluate("document.documentElement.lang") == "de", "it is German")
    title = tab.find(".composer-title")
    until(lambda: title.inner_text() == "Bilder erzeugen", "its title is German")
    tab.page.goto(site.url + f"#/image/{ids[0]}")
    tab.find(".facts-head").wait_for()
    words = tab.find("imagen-details").inner_text()
    assert "Schlagwörter" in words
    assert "Tags" not in words
    tab.check()
    context.close()


def test_another_search_gives_up_the_images_that_are_still_coming(browser, furnished):
    site, _ = furnished
    context = browser.new_context(viewport=DESKTOP, locale="en-US")
    context.route("**/thumbnail/*", lambda route: None)
    tab = Tab(context, site.url)
    until(lambda: tab.find(".tile img[src]").count() == 3, "the images are asked for")
    given_up: list[str] = []
    searches: list[sync_api.Route] = []
    tab.page.on("requestfailed", lambda request: given_up.append(request.url))
    context.route("**/api/1/images?*", lambda route: searches.append(route))
    search = tab.find(".images-bar input[type=search]")
    search.fill("no such words")
    until(lambda: tab.tiles() == 0 and len(given_up) == 3, "they are given up")
    assert tab.find(".tile img[src]").count() == 0
    context.unroute("**/thumbnail/*")
    # As if the server did not answer: the images of before stay.
    context.route("**/api/1/images?*", lambda route: route.abort())
    for one in searches:
        one.abort()
    until(lambda: tab.tiles() == 3, "they are asked for again")
    context.close()


def test_everything_is_reached_by_the_keyboard(browser, furnished):
    site, ids = furnished
    context = browser.new_context(viewport=DESKTOP, locale="en-US")
    tab = Tab(context, site.url)
    until(lambda: tab.tiles() == 3, "the images are there")
    tab.page.keyboard.press("/")
    until(lambda: tab.page.evaluate("document.activeElement.type") == "search", "it is there")
    tab.find(".tile").first.focus()
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("Space")
    until(lambda: tab.find(".selection").count() == 1, "it is selected")
    tab.page.keyboard.press("Shift+ArrowRight")
    until(lambda: "2 selected" in tab.find(".selection").inner_text(), "a second one too")
    tab.page.keyboard.press("Escape")
    until(lambda: tab.find(".selection").count() == 0, "nothing is selected")
    tab.find('.tile[data-ordinal="2"]').focus()
    tab.page.keyboard.press("Enter")
    tab.find(".facts-head").wait_for()
    tab.page.keyboard.press("e")
    tab.find(".editor").wait_for()
    assert ids[2] in tab.page.url
    tab.check()
    context.close()


def test_a_million_images_scroll_and_jump(browser, furnished, tmp_path):
    site, ids = furnished
    context = browser.new_context(viewport=DESKTOP, locale="en-US", service_workers="block")
    small = context.request.get(f"{site.url}api/1/images/{ids[0]}/thumbnail/256").body()
    days = [[f"{2000 + n // 365}-{1 + n % 12:02}-{1 + n % 28:02}", 1000] for n in range(1000)]
    context.route(
        "**/api/1/timeline*",
        lambda route: route.fulfill(json={"total": 1_000_000, "days": days[::-1]}),
    )
    context.route("**/api/1/days/*", lambda route: route.fulfill(json=day_of(route.request.url)))
    context.route("**/thumbnail/*", lambda route: route.fulfill(body=small))
    tab = Tab(context, site.url)
    until(lambda: tab.tiles() >= 8, "the first images are there")
    until(lambda: tab.find(".count").inner_text() == "1,000,000 images", "all are counted")
    for share in (0.5, 1.0, 0.25):
        tab.page.evaluate(
            """(share) => { const one = document.querySelector(".gallery-scroll");
            one.scrollTop = (one.scrollHeight - one.clientHeight) * share; }""",
            share,
        )
        tab.page.wait_for_timeout(300)
        until(lambda: tab.tiles() >= 8, f"the images at {share} are there")
        assert tab.find(".tile").count() < 150
    tab.find(".timeline").focus()
    tab.page.keyboard.press("End")
    until(lambda: tab.find('.tile[aria-posinset="1000000"]').count() == 1, "the last one is there")
    tab.check()
    context.close()


def day_of(url: str) -> dict[str, object]:
    day = url.split("/days/")[1].split("?")[0]
    offset = int(url.split("offset=")[1].split("&")[0])
    rows = [row_of(f"{day}-{offset + n}", day) for n in range(100)]
    return {"day": day, "images": rows}


def row_of(name: str, day: str) -> dict[str, object]:
    return {
        "id": name,
        "width": 64,
        "height": 64,
        "media_type": "image/png",
        "prompt": "a test",
        "operation": "generate",
        "model": "sketch",
        "stars": 0,
        "tags": [],
        "created_at": f"{day}T00:00:00Z",
        "parent": None,
        "trashed": False,
    }


def test_what_is_shown_has_no_frame_of_another_site(browser, furnished, tmp_path: Path):
    site, _ids = furnished
    outside = tmp_path / "outside.html"
    outside.write_text(f'<iframe src="{site.url}"></iframe>')
    context = browser.new_context()
    page = context.new_page()
    page.goto(outside.as_uri())
    page.wait_for_timeout(300)
    assert all(not frame.url.startswith("http://127") for frame in page.frames[1:])
    context.close()
