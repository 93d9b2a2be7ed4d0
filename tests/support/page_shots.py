"""The images of docs/web.md: `python -m tests.support.page_shots` makes them again.

They cost nothing: `sketch` draws, and the simulator edits.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from .page import CHROMIUM, ROOT, Site, build_bundle, open_simulator, until

OUT = ROOT / "docs" / "web"
PROMPTS = (
    "a lighthouse at dusk",
    "a fox in an autumn forest",
    "a castle under the aurora",
    "a sail boat on a calm lake at dawn",
    "a rocket above a desert at night",
    "a cat on a roof under the moon",
    "a windmill in a golden field",
    "a city in the rain, neon violet",
    "snow on the mountains, mint and navy",
    "a balloon over green hills",
    "a planet with rings, copper and indigo",
    "a house by the river in winter",
)
BUDGET = '[[budgets]]\nper = "day"\nusd = "5.00"\n'
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


def shoot(browser: Any, name: str, url: str, act: Callable[[Any], None], **options: Any) -> None:
    """Take one image of the page, light or dark by the end of its name."""
    scheme = "dark" if name.endswith("dark") else "light"
    context = browser.new_context(
        color_scheme=scheme, locale="en-US", service_workers="block", **options
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_timeout(1200)
    act(page)
    page.wait_for_timeout(600)
    image = Image.open(io.BytesIO(page.screenshot()))
    image.save(OUT / f"{name}.webp", quality=80, method=6)
    context.close()


def furnish(browser: Any, url: str) -> list[str]:
    """Fill the library; return the ids of its images, the latest first."""
    page = browser.new_page(viewport=DESKTOP)
    page.goto(url)
    page.locator(".count").wait_for()
    choose(page, "sketch")
    for number, prompt in enumerate(PROMPTS, 1):
        page.fill("#prompt", prompt)
        page.fill("#count", "2")
        page.locator("#count").press("Tab")
        until(page.locator(".make").first.is_enabled, "the button can be pressed")
        page.keyboard.press("Control+Enter")
        want = f"{2 * number} images"
        until(lambda: page.locator(".count").inner_text() == want, want)  # noqa: B023
    for at, stars in ((0, 5), (3, 4), (6, 5)):
        page.locator(f'.tile[data-ordinal="{at}"]').focus()
        page.keyboard.press(str(stars))
    page.wait_for_timeout(600)
    ids = [tile.get_attribute("data-id") for tile in page.locator(".tile[data-id]").all()]
    page.close()
    return ids


def edit_one(browser: Any, url: str, image: str) -> str:
    """Edit an image; return the id of the child."""
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{url}#/edit/{image}")
    page.locator(".editor-side .segments").first.wait_for()
    page.wait_for_timeout(800)
    stroke(page)
    page.fill("#edit-prompt", "a red sail on the horizon")
    page.locator(".editor-side .make").click()
    child = page.locator(".editor-strip [data-state=done] a").first
    child.wait_for()
    link: str = child.get_attribute("href")
    page.close()
    return link.rpartition("/")[2]


def stroke(page: Any) -> None:
    """Draw a mask."""
    box = page.locator("imagen-canvas canvas").bounding_box()
    x, y = box["x"] + box["width"] * 0.44, box["y"] + box["height"] * 0.5
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(16):
        page.mouse.move(x + 9 * step, y + 16 * (step % 4))
    page.mouse.up()


def choose(page: Any, model: str) -> None:
    """Choose a model."""
    page.locator(".model-card").click()
    page.fill(".models-head input[type=search]", model)
    page.locator(".model-row").first.dblclick()


def make_some(page: Any) -> None:
    """Show a batch that is being made."""
    choose(page, "gpt-image-2")
    page.fill("#prompt", "A harbour at dusk, seen from the water, long exposure")
    page.locator(".count-row .segments button").nth(3).click()
    until(page.locator(".make").first.is_enabled, "the button can be pressed")
    page.keyboard.press("Control+Enter")
    page.locator(".place[data-state=done]").nth(2).wait_for()


def select_some(page: Any) -> None:
    """Select four images."""
    page.locator('.tile[data-ordinal="1"]').hover()
    page.locator('.tile[data-ordinal="1"] .tile-pick').click()
    page.locator('.tile[data-ordinal="4"]').click(modifiers=["Shift"])


def main() -> None:
    """Make all of them."""
    from playwright.sync_api import sync_playwright

    build_bundle()
    OUT.mkdir(exist_ok=True)
    with (
        open_simulator("--latency", "1-4") as keys,
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        site = Site(Path(folder) / "home", keys, BUDGET)
        site.start()
        try:
            _shoot_all(browser, site.url, sys.argv[1:])
        finally:
            site.kill()
            browser.close()


def _shoot_all(browser: Any, url: str, names: list[str]) -> None:
    ids = furnish(browser, url)
    child = edit_one(browser, url, ids[-1])
    nothing: Callable[[Any], None] = lambda page: None  # noqa: E731
    models: Callable[[Any], None] = lambda page: page.locator(".model-card").click()  # noqa: E731
    views: dict[str, tuple[str, Callable[[Any], None]]] = {
        "images": ("", nothing),
        "selection": ("", select_some),
        "models": ("", models),
        "details": (f"#/image/{ids[4]}", nothing),
        "edit": (f"#/edit/{ids[-1]}", stroke),
        "compare": (f"#/compare/{ids[0]},{ids[2]}", nothing),
        "spending": ("#/spending", nothing),
    }
    phones = {
        "images": "",
        "make": "#/make",
        "details": f"#/image/{child}",
        "edit": f"#/edit/{child}",
    }
    for scheme in ("light", "dark"):
        for name, (link, act) in views.items():
            if not names or name in names:
                shoot(browser, f"{name}-{scheme}", url + link, act, viewport=DESKTOP)
        for name, link in phones.items():
            if not names or f"phone-{name}" in names:
                shoot(browser, f"phone-{name}-{scheme}", url + link, nothing, viewport=PHONE,
                      has_touch=True, is_mobile=True)  # fmt: skip
    # Last, as the simulator's images are plain.
    for scheme in ("light", "dark"):
        if not names or "making" in names:
            shoot(browser, f"making-{scheme}", url, make_some, viewport=DESKTOP)


if __name__ == "__main__":
    main()
