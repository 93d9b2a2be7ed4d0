"""Attacks on the page in a real browser, by sites that know its whole address: the worst case."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import trio
from PIL import Image as PillowImage
from PIL import PngImagePlugin

import imagen
from tests.support.page import CHROMIUM, Site, build_bundle, until
from tests.support.web import settings_of, sketch

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed.")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(CHROMIUM is None, reason="There is no Chromium."),
]
SCRIPT = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64">'
    b"<script>document.title = 'run'</script></svg>"
)
RESULT = "(async () => { try { return await (%s) } catch (error) { return String(error) } })()"


class Evil(http.server.BaseHTTPRequestHandler):
    """Another site; it notes what it is sent."""

    heard: list[dict[str, str]]

    def do_GET(self) -> None:
        self.heard.append(dict(self.headers))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def other_site() -> Iterator[tuple[str, list[dict[str, str]]]]:
    heard: list[dict[str, str]] = []
    handler = type("Noted", (Evil,), {"heard": heard})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("attacks") / "home", {})
    site.start()
    yield site
    site.close()


@pytest.fixture(scope="module")
def api(site) -> Iterator[httpx2.Client]:
    origin = "/".join(site.url.split("/")[:3])
    with httpx2.Client(base_url=f"{site.url}api/1/", headers={"origin": origin}) as http:
        yield http


@pytest.fixture(scope="module")
def image(api) -> str:
    begun = api.post("batches", json={"requests": [sketch()], "key": "image"}).json()["id"]
    until(lambda: api.get(f"batches/{begun}").json()["state"] == "finished", "the image is made")
    return api.get(f"batches/{begun}").json()["places"][0]["image"]["id"]


@pytest.fixture(params=["127.0.0.1", "evil.example"], ids=["another port", "another host"])
def tab(request, browser):
    with other_site() as (address, heard):
        context = browser.new_context()
        page = context.new_page()
        page.heard = heard
        page.home = f"http://{request.param}:{address.rpartition(':')[2]}/"
        page.goto(page.home)
        yield page
        context.close()


def run(tab, expression: str) -> str:
    return str(tab.evaluate(RESULT % expression))


def batches(api) -> int:
    return len(api.get("batches").json()["batches"])


BODY = '{"requests": [{"operation": "generate", "prompt": "x"}]}'
FORM = """
const form = document.createElement("form");
form.method = "post"; form.enctype = "text/plain"; form.action = "CALL";
const field = document.createElement("input");
field.name = '{"requests": [{"operation": "generate", "prompt": "x"}], "key": "';
field.value = '"}';
form.append(field); document.body.append(form); form.submit();
"""
# Loaded once with the form, and again with what its sending led to.
FRAME = """(script) => new Promise((done, fail) => {
const frame = document.createElement("iframe");
setTimeout(() => fail(new Error("the form was not sent")), 20000);
let loads = 0; frame.onload = () => { loads += 1; if (loads === 2) done(); };
frame.sandbox = "allow-scripts allow-forms";
frame.srcdoc = "<body><script>onload = () => setTimeout(() => {" + script + "})</" + "script>";
document.body.append(frame); })"""


@pytest.mark.parametrize("mode", ["no-cors", "cors"])
def test_a_script_of_another_site_starts_no_batch(tab, site, api, image, mode):
    before = batches(api)
    call = f"fetch('{site.url}api/1/batches', {{method: 'POST', mode: '{mode}', body: '{BODY}'}})"
    run(tab, f"(await {call}).status")
    assert batches(api) == before


@pytest.mark.parametrize("is_framed", [False, True], ids=["form", "sandboxed form"])
def test_a_form_of_another_site_starts_no_batch(tab, site, api, image, is_framed):
    before = batches(api)
    form = FORM.replace("CALL", f"{site.url}api/1/batches")
    if is_framed:
        tab.evaluate(FRAME, form)
    else:
        with tab.expect_response(lambda reply: reply.request.method == "POST") as sent:
            tab.evaluate("(script) => { (0, eval)(script) }", form)
        assert sent.value.status == 403
    assert batches(api) == before


def test_another_site_reads_and_embeds_nothing(tab, site, image):
    address = f"{site.url}api/1/images/{image}"
    assert "Failed to fetch" in run(tab, f"(await fetch('{site.url}api/1/state')).text()")
    opaque = run(tab, f"(await fetch('{address}/file', {{mode: 'no-cors'}})).status")
    assert opaque == "0" or "Failed to fetch" in opaque
    for made in (
        f"Object.assign(new Image(), {{src: '{address}/thumbnail/128'}})",
        f"Object.assign(new Image(), {{src: '{address}/file'}})",
        f"Object.assign(document.createElement('script'), {{src: '{site.url}api/1/state'}})",
    ):
        loaded = f"""new Promise((done) => {{ const one = {made};
            one.onload = () => done("loaded"); one.onerror = () => done("refused");
            document.head.append(one); }})"""
        assert run(tab, loaded) == "refused"


def test_another_site_frames_nothing(tab, site):
    tab.evaluate(
        """(url) => new Promise((done) => { const frame = document.createElement("iframe");
        frame.src = url; frame.onload = done; document.body.append(frame); })""",
        site.url,
    )
    assert all("imagen" not in frame.title() for frame in tab.frames[1:])


def test_a_window_that_was_opened_is_out_of_reach(tab, site):
    with tab.context.expect_page() as opened:
        tab.evaluate("(url) => { window.other = window.open(url) }", site.url)
    opened.value.wait_for_load_state()
    assert site.url not in run(tab, "window.other.location.href")
    assert run(tab, "window.other.closed") == "True"


def test_the_address_is_not_told_to_others(tab, site):
    own = tab.context.new_page()
    own.goto(f"{site.url}api/1/state")
    tab.heard.clear()
    own.evaluate("(url) => { location.href = url }", tab.home)
    until(lambda: tab.heard, "the other site is visited")
    # A favicon is asked for with the other site's own address.
    origin = "/".join(site.url.split("/")[:3])
    assert not any(origin in headers.get("Referer", "") for headers in tab.heard)
    assert tab.context.cookies() == []


def test_a_name_that_leads_here_is_refused(tab, site):
    port, path = site.url.split(":")[2].split("/", 1)
    reply = tab.goto(f"http://evil.example:{port}/{path}")
    assert reply.status == 421


def test_an_uploaded_drawing_runs_nothing(browser, site, api):
    handle = api.post("inputs", content=SCRIPT).json()["input"]
    context = browser.new_context()
    page = context.new_page()
    with page.expect_download():
        page.evaluate("(url) => { location.href = url }", f"{site.url}api/1/inputs/{handle}")
    page.goto(f"{site.url}api/1/state")
    shown = page.evaluate(
        """(url) => new Promise((done) => { const image = new Image();
        image.onload = () => done(image.naturalWidth); image.onerror = () => done(0);
        image.src = url; })""",
        f"{site.url}api/1/inputs/{handle}",
    )
    assert shown == 64
    assert page.title() != "run"
    context.close()


# --- metadata of imported images ----------------------------------------------

MARKUP = (
    "<img src=x onerror=\"document.title='run'\">"
    "<script>document.title='run'</script><svg onload=\"document.title='run'\">"
)
USER_COMMENT, IMAGE_DESCRIPTION, ARTIST, XP_COMMENT = 0x9286, 0x010E, 0x013B, 0x9C9C
ESCAPED = MARKUP.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
    ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description><rdf:Alt>'
    f'<rdf:li xml:lang="x-default">{ESCAPED}</rdf:li></rdf:Alt></dc:description>'
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)
SETTINGS = f"Steps: 20, Sampler: {MARKUP}, Seed: 7, Model: {MARKUP}"
PARAMETERS = f"{MARKUP} a gate\nNegative prompt: {MARKUP}\n{SETTINGS}"


def hostile_files() -> dict[str, bytes]:
    exif = PillowImage.Exif()
    exif[IMAGE_DESCRIPTION] = exif[ARTIST] = MARKUP
    exif[XP_COMMENT] = MARKUP.encode("utf-16-le")
    exif.get_ifd(0x8769)[USER_COMMENT] = b"UNICODE\0" + PARAMETERS.encode("utf-16-be")
    text = PngImagePlugin.PngInfo()
    for name in ("parameters", "Comment", "Description", "Title"):
        text.add_text(name, PARAMETERS)
    text.add_itxt("XML:com.adobe.xmp", XMP)
    return {
        "<img src=x onerror=alert(1)>.jpg": written("jpeg", exif=exif, xmp=XMP.encode()),
        "words.png": written("png", pnginfo=text, exif=exif),
        "words.webp": written("webp", exif=exif, xmp=XMP.encode()),
    }


def written(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    PillowImage.new("RGB", (64, 48), len(kind) * 999).save(file, kind, **options)
    return file.getvalue()


async def import_all(home: Path, folder: Path) -> list[str]:
    async with imagen.open_client(settings_of(home)) as client:
        await client.archives.import_from(folder)
        return [image.id async for image in client.library.find()]


def test_markup_in_metadata_of_files_is_text(browser, tmp_path):
    build_bundle()
    folder = tmp_path / "files"
    folder.mkdir()
    for name, data in hostile_files().items():
        (folder / name).write_bytes(data)
    site = Site(tmp_path / "home", {})
    ids = trio.run(import_all, tmp_path / "home", folder)
    assert len(ids) == 3
    site.start()
    try:
        context = browser.new_context(locale="en-US")
        page = context.new_page()
        texts = [shown_text(page, f"{site.url}#/image/{one}") for one in ids]
        # What is shown of it, is shown as letters.
        assert any(MARKUP in text for text in texts)
        page.goto(site.url)
        page.locator(".tile[data-id]").first.wait_for()
        assert "run" not in page.title()
        context.close()
    finally:
        site.kill()


def shown_text(page, url: str) -> str:
    page.goto("about:blank")
    page.goto(url)
    page.locator(".facts-head").wait_for()
    page.evaluate(
        "document.querySelectorAll('imagen-details details').forEach((one) => { one.open = true })"
    )
    page.wait_for_timeout(150)
    assert page.title() != "run"
    assert page.locator("main img[onerror], main script, main svg[onload]").count() == 0
    return page.locator("imagen-details").inner_text()
