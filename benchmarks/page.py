"""Whether the page is quick with a million images: first view, scroll, memory of
the tab, search as one types, and 200 images that arrive while one works.

Chromium drives `imagen web` on a home whose rows are those of `library.py`. They
have no files: the server gives each one of a few drawn thumbnails. The home is
made where there is none, which takes some minutes, and can be used again.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

import imagen
from imagen._results.images import Image
from imagen._storage.database import Database
from imagen._system.threads import ThreadWorkers
from imagen.library import Library
from imagen.library._imaging.renditions import Renditions
from imagen.library._imaging.transforms import Transform, apply_transform
from tests.support.page import CHROMIUM, ROOT, Served, build_bundle, open_simulator, until

from .library import _insert, _prepare

_VIEW = {"width": 1280, "height": 820}
_DRAWN = 24
_KEY_SECONDS = 0.06
_ARRIVING = 200
_TURNS, _SCREENS = 3, 25
_QUERIES = (
    *("word00000", "word00003", "word00050", "word00700", "word19999", "nothing"),
    *("wor*", "word*", "word0*", "word00*", "word000*", "word0000*", "word1*", "word19*"),
    *("word199*", "word1234*", "wor* word00007", "word00001 word0*", "word19999 wor*"),
    *("word00000 word00001", "word00002 -word00000", "word0* -word00003", '"word00000 word00001"'),
    *("WORD00012", "word00004 word00005 word00006", "word0002* word0003*", "wór*", "word04*"),
)
_FILTERS = (
    *("model=flux-2-pro", "model=rare-model", "min_stars=1", "min_stars=5", "tag=sea"),
    *("tag=best", "collection=thousand", "state=trashed", "model=imagen-4&tag=fog"),
    *("q=word00000&model=gpt-image-1", "q=word0*&min_stars=4", "q=wor*&model=rare-model"),
    "q=word00009&tag=night",
)
_BLANKS = """() => {
  const since = new Map();
  window.blank = 0;
  const look = (now) => {
    const view = document.querySelector(".gallery-scroll").getBoundingClientRect();
    const seen = new Set();
    for (const tile of document.querySelectorAll(".tile")) {
      const box = tile.getBoundingClientRect();
      const image = tile.querySelector("img");
      if (box.bottom < view.top || box.top > view.bottom) continue;
      if (image.complete && image.naturalWidth > 0) continue;
      const at = tile.dataset.ordinal;
      seen.add(at);
      if (!since.has(at)) since.set(at, now);
      window.blank = Math.max(window.blank, now - since.get(at));
    }
    for (const at of [...since.keys()]) if (!seen.has(at)) since.delete(at);
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
_SHOWN = """(ids) => new Promise((done) => {
  const start = performance.now();
  const look = () => {
    const isEmpty = document.querySelector(".empty") !== null;
    const view = document.querySelector(".gallery-scroll")?.getBoundingClientRect();
    const first = document.querySelector('.tile[data-ordinal="0"]');
    const isThere = ids.length === 0 ? isEmpty : ids.every((id, at) => {
      const tile = document.querySelector(`.tile[data-ordinal="${at}"]`);
      // All in view is laid out at once. What is further down may have no tile yet.
      if (tile === null) return at > 0 && Number(first?.getAttribute("aria-setsize")) > at;
      const isBelow = at > 0 && tile.getBoundingClientRect().top >= view.bottom;
      const image = tile.querySelector("img");
      return isBelow || (image?.src.includes(id) && image.complete && image.naturalWidth > 0);
    });
    const passed = performance.now() - window.acted;
    if (isThere || performance.now() - start > 3000) done(passed);
    else requestAnimationFrame(look);
  };
  look();
})"""
_TYPE = """(text) => {
  const input = document.querySelector(".images-bar input[type=search]");
  input.value = text;
  window.acted = performance.now();
  input.dispatchEvent(new Event("input", { bubbles: true }));
}"""
_GO = "(hash) => { window.acted = performance.now(); location.hash = hash; }"
_INTERACTIONS = """() => {
  window.interactions = new Map();
  new PerformanceObserver((list) => {
    for (const { interactionId: id, duration } of list.getEntries()) {
      if (id) interactions.set(id, Math.max(interactions.get(id) ?? 0, duration));
    }
  }).observe({ type: "event", durationThreshold: 16, buffered: true });
}"""
# Of fifty interactions the slowest does not count (web.dev/articles/inp).
_LATENCIES = """() => {
  const slowest = [...interactions.values()].sort((one, other) => other - one);
  return [slowest[Math.floor(performance.interactionCount / 50)] ?? 0, slowest[0] ?? 0];
}"""


# --- the server ---------------------------------------------------------------


def _serve(home: Path) -> None:
    """Serve the page of a home, with drawn thumbnails, in this process."""
    from imagen.cli import main

    folder = home / "drawn"
    if not folder.exists():
        folder.mkdir()
        trio.run(_draw, folder)

    async def read(self: Renditions, image: Image, transform: Transform) -> bytes:
        path = folder / f"{int(image.sha256[:8], 16) % _DRAWN}.webp"
        return await self._workers.run(path.read_bytes)

    Renditions.read = read  # type: ignore[method-assign]
    sys.exit(main(["web", "--json", "--port", "0"]))


async def _draw(folder: Path) -> None:
    """Draw what the thumbnails show, by the built-in engine."""
    settings = imagen.load_settings({"IMAGEN_HOME": str(folder.parent)})
    small = Transform(width=256, height=256, format="webp")
    async with (
        imagen.open_client(settings, library=None) as client,
        client.open_batch("a coast", n=_DRAWN, model="sketch", size="768x768") as batch,
    ):
        async for outcome in batch:
            assert isinstance(outcome, imagen.Image)
            path = folder / f"{outcome.index}.webp"
            path.write_bytes(apply_transform(outcome.data, small))


@contextmanager
def _page_of(home: Path, *, is_drawn: bool, keys: Mapping[str, str] = {}) -> Iterator[str]:
    module = ["benchmarks.page", "--serve"] if is_drawn else ["imagen", "web", "--json"]
    more = [str(home)] if is_drawn else ["--port", "0"]
    environ = {**os.environ, **keys, "IMAGEN_HOME": str(home), "PYTHONPATH": str(ROOT)}
    served = Served([sys.executable, "-m", *module, *more], environ)
    try:
        yield str(served.said["url"])
    finally:
        served.end(signal.SIGINT)


async def _fill(home: Path, rows: int) -> None:
    workers, rnd = ThreadWorkers(), random.Random(1)
    database = await Database.open(home / "imagen.sqlite3", workers)
    library = Library(home / "images", database, workers)
    if (await library.size()).images == 0:
        await _insert(database, rnd, range(rows))
        await _prepare(library)
    await database.aclose()


# --- measures -----------------------------------------------------------------


def _first_view(browser: Any, url: str) -> None:
    times = []
    for _ in range(5):
        page = browser.new_page(viewport=_VIEW)
        start = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.wait_for_selector('.tile[data-ordinal="11"][data-id] img')
        until(lambda: _painted(page) >= 12, "the first images are painted")  # noqa: B023
        times.append(time.perf_counter() - start)
        page.close()
    print(f"first view: median {statistics.median(times):.2f} s, worst {max(times):.2f} s")


def _painted(page: Any) -> int:
    script = "[...document.querySelectorAll('.tile img')].filter((one) => one.naturalWidth).length"
    return int(page.evaluate(script))


def _heap(page: Any) -> float:
    tools = page.context.new_cdp_session(page)
    tools.send("Performance.enable")
    tools.send("HeapProfiler.collectGarbage")
    found = {one["name"]: one["value"] for one in tools.send("Performance.getMetrics")["metrics"]}
    tools.detach()
    return float(found.get("JSHeapUsedSize", 0)) / 1e6


def _open(browser: Any, url: str) -> Any:
    page = browser.new_page(viewport=_VIEW)
    page.goto(url)
    until(lambda: _painted(page) >= 12, "the first images are painted")
    return page


def _scroll(browser: Any, url: str) -> None:
    page = _open(browser, url)
    page.evaluate(_BLANKS)
    line = page.locator(".timeline").bounding_box()
    wheel = jump = 0.0
    page.mouse.move(600, 500)
    for step in range(26):
        page.evaluate("window.blank = 0")
        page.mouse.click(line["x"] + 4, line["y"] + line["height"] * min(0.999, step / 25))
        page.wait_for_timeout(500)
        jump = max(jump, page.evaluate("window.blank"))
        page.evaluate("window.blank = 0")
        page.mouse.move(600, 500)
        for _ in range(12):
            page.mouse.wheel(0, 320)
            page.wait_for_timeout(33)
        page.wait_for_timeout(200)
        wheel = max(wheel, page.evaluate("window.blank"))
    print(f"longest blank: wheel {wheel:.0f} ms, jumps {jump:.0f} ms")
    page.close()


def _memory(browser: Any, url: str) -> None:
    page = _open(browser, url)
    print(f"heap at first: {_heap(page):.1f} MB; by tenths of the way:")
    for turn in range(_TURNS):
        for way, shares in (("down", range(11)), ("up", range(10, -1, -1))):
            heaps = [_heap_at(page, share / 10) for share in shares]
            print(f"  {way} {turn + 1}:", *(f"{heap:.1f}" for heap in heaps), flush=True)
    page.close()


def _heap_at(page: Any, share: float) -> float:
    """Scroll through some screens from there on, as one who looks around."""
    line = page.locator(".timeline").bounding_box()
    page.mouse.click(line["x"] + 4, line["y"] + line["height"] * min(0.999, share))
    page.mouse.move(600, 500)
    for _ in range(_SCREENS):
        page.mouse.wheel(0, 700)
        page.wait_for_timeout(60)
    page.wait_for_timeout(300)
    return _heap(page)


def _search(browser: Any, url: str) -> None:
    page = _open(browser, url)
    times: dict[str, float] = {}
    for query in _QUERIES:
        expected = _expected(page, url, {"q": query})
        for end in range(max(1, len(query) - 6), len(query) + 1):
            page.evaluate(_TYPE, query[:end])
            page.wait_for_timeout(_KEY_SECONDS * 1e3 if end < len(query) else 0)
        times[query] = page.evaluate(_SHOWN, expected)
        page.wait_for_timeout(150)
    for query in _FILTERS:
        expected = _expected(page, url, dict(one.split("=") for one in query.split("&")))
        page.evaluate(_GO, f"#/?{query}")
        times[query] = page.evaluate(_SHOWN, expected)
        page.wait_for_timeout(150)
    found = sorted(times.values())
    p95 = statistics.quantiles(found, n=20)[-1]
    slowest = sorted(times, key=lambda one: -times[one])[:4]
    print(
        f"search, {len(found)} queries: p50 {statistics.median(found):.0f} ms, p95 {p95:.0f} ms,"
        f" worst {found[-1]:.0f} ms; slowest: "
        + ", ".join(f"{one} {times[one]:.0f}" for one in slowest)
    )
    page.close()


def _expected(page: Any, url: str, parameters: dict[str, str]) -> list[str]:
    reply = page.request.get(f"{url}api/1/images", params={**parameters, "limit": "4"}).json()
    return [row["id"] for row in reply["images"]]


def _arrivals(browser: Any, url: str) -> None:
    page = _open_empty(browser, url)
    page.evaluate(_INTERACTIONS)
    request = {
        "operation": "generate",
        "prompt": "a harbour",
        "model": "gpt-image-2",
        "quality": "low",
    }
    body = {"requests": [request], "n": _ARRIVING, "max_at_once": 32}
    start = time.perf_counter()
    page.request.post(
        f"{url}api/1/batches", data=body, headers={"origin": "/".join(url.split("/")[:3])}
    )
    while page.locator(".batch[data-state=finished]").count() == 0:
        page.locator("#prompt").press_sequentially("abc", delay=40)
        page.mouse.click(700, 700)
        page.keyboard.press("ArrowRight")
    made = time.perf_counter() - start
    want = f"{_ARRIVING} images"
    until(lambda: page.locator(".count").inner_text() == want, "all are in the gallery")
    shown = time.perf_counter() - start
    latency, worst = page.evaluate(_LATENCIES)
    print(
        f"{_ARRIVING} images: made in {made:.1f} s, shown in {shown:.1f} s, INP {latency:.0f} ms,"
        f" worst {worst:.0f} ms"
    )
    page.close()


def _open_empty(browser: Any, url: str) -> Any:
    page = browser.new_page(viewport=_VIEW)
    page.goto(url)
    page.locator("#prompt").wait_for()
    return page


def _run(home: Path, rows: int, only: list[str]) -> None:
    from playwright.sync_api import sync_playwright

    build_bundle()
    home.mkdir(parents=True, exist_ok=True)
    trio.run(_fill, home, rows)
    parts = {"first": _first_view, "scroll": _scroll, "memory": _memory, "search": _search}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        print("load:", *(f"{one:.1f}" for one in os.getloadavg()), flush=True)
        with _page_of(home, is_drawn=True) as url:
            for name, part in parts.items():
                if not only or name in only:
                    part(browser, url)
        if not only or "arrivals" in only:
            with (
                tempfile.TemporaryDirectory() as folder,
                # About thirty images a second; drawing them here would take a core.
                open_simulator("--latency", "0.2-2.0", "--image-bytes", "300000") as keys,
                _page_of(Path(folder), is_drawn=False, keys=keys) as url,
            ):
                _arrivals(browser, url)
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("benchmarks-million"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        choices=["first", "scroll", "memory", "search", "arrivals"],
    )
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is None:
        _run(given.home, given.rows, given.only)
    else:
        _serve(given.serve)
