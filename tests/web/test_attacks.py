"""Attacks on the page in a real browser, by sites that know its whole address: the worst case."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from tests.support.page import CHROMIUM, Site, until
from tests.support.web import sketch

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
