"""Other sites, other ports, other names of this host: none of them may ask, and nothing that a
provider or a user wrote may run.
"""

from __future__ import annotations

import httpx2
import pytest

from imagen.web._home import PageKey, read_key, write_key, write_opener
from imagen.web._pages import Pages
from tests.support.images import png
from tests.support.web import HOST, ORIGIN, open_page_caller, sketch

SECRET = "S" * 43
OTHERS = {
    "another site": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    "another port": {"origin": "http://127.0.0.1:9999", "sec-fetch-site": "same-site"},
    "a sandboxed frame": {"origin": "null", "sec-fetch-site": "cross-site"},
    "an old browser's null": {"origin": "null"},
    "no origin": {},
    "an empty origin": {"origin": ""},
    "a longer host": {"origin": f"http://{HOST}.evil.example"},
    "a user before the host": {"origin": f"http://{HOST}@evil.example"},
    "another scheme": {"origin": f"file://{HOST}"},
    "a broken origin": {"origin": "http://[::1"},
    "our origin, said to be elsewhere": {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
    "our origin, another port": {"origin": ORIGIN, "sec-fetch-site": "same-site"},
}


@pytest.mark.parametrize("headers", OTHERS.values(), ids=OTHERS.keys())
async def test_only_the_page_may_change_anything(headers):
    async with open_page_caller(headers=headers) as page:
        for path in ("batches", "quote", "inputs", "nothing"):
            reply = await page.post(path, {"requests": [sketch()]})
            assert (reply.status_code, reply.json()["code"]) == (403, "FORBIDDEN")
        assert (await page.http.request("DELETE", "/api/1/batches")).status_code == 403
        assert (await page.http.request("OPTIONS", "/api/1/batches")).status_code == 403
        assert len(await page.client.library.list()) == 0


@pytest.mark.parametrize("site", [None, "same-origin"])
async def test_the_page_itself_may(site):
    headers = {"origin": ORIGIN} | ({} if site is None else {"sec-fetch-site": site})
    async with open_page_caller(headers=headers) as page:
        assert (await page.make(sketch()))["state"] == "finished"


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8700", "127.0.0.1", "127.0.0.1:9999", "localhost:9999"),
        *("", f"{HOST}.evil.example", f"{HOST}, evil.example", "127.1:8700", "0x7f.1:8700"),
    ],
)
async def test_no_other_name_of_this_host_is_served(host):
    async with open_page_caller(secret=SECRET, headers={"host": host}) as page:
        for path in ("/", f"/{SECRET}/", f"/{SECRET}/api/1/state"):
            reply = await page.http.get(path)
            assert (reply.status_code, reply.json()["code"]) == (421, "WRONG_HOST")


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/api/1/state", f"/{SECRET[:-1]}/", f"/{SECRET}x/", f"//{SECRET}/"),
        *(f"/x/{SECRET}/", f"/{SECRET.lower()}/", f"/%00{SECRET}/", "/é/", f"/..;/{SECRET}/"),
    ],
)
async def test_without_the_secret_there_is_nothing(path):
    async with open_page_caller(secret=SECRET) as page:
        reply = await page.http.get(path)
        assert (reply.status_code, reply.json()["code"]) == (404, "NOT_FOUND")


async def test_other_sites_cannot_embed_or_read(tmp_path):
    async with open_page_caller(secret=SECRET, headers={}) as page:
        for how in ("no-cors", "cors", "same-origin"):
            for site in ("cross-site", "same-site"):
                fetched = {"sec-fetch-site": site, "sec-fetch-mode": how}
                reply = await page.http.get(f"/{SECRET}/api/1/state", headers=fetched)
                assert reply.status_code == 403
        opened = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        reply = await page.http.get(f"/{SECRET}/", headers=opened)
        assert reply.status_code != 403


async def test_every_reply_says_what_a_browser_may_do_with_it():
    async with open_page_caller(secret=SECRET) as page:
        made = await page.make(sketch())
        image = f"/{SECRET}/api/1/images/{made['places'][0]['image']['id']}"
        for path in (
            *("/", f"/{SECRET}", f"/{SECRET}/", f"/{SECRET}/nothing", f"/{SECRET}/api/1/state"),
            *(f"/{SECRET}/api/1/nothing", f"{image}/file", f"{image}/thumbnail/128"),
        ):
            headers = (await page.http.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "set-cookie" not in headers
            assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "name",
    [
        *("../key.json", "..%2fkey.json", "%2e%2e/key.json", "....//key.json", "..\\key.json"),
        *("/etc/passwd", "%2fetc%2fpasswd", "key.json%00.js", "._app.py", "_app.py", "__init__.py"),
    ],
)
async def test_no_path_leads_out_of_the_bundle(name):
    async with open_page_caller(secret=SECRET) as page:
        for place in ("", "api/1/", "api/1/inputs/", "api/1/images/", "api/1/batches/"):
            reply = await page.http.get(httpx2.URL(f"{ORIGIN}/{SECRET}/{place}{name}"))
            assert reply.status_code in (404, 405), (place, reply.text)


def test_the_bundle_has_only_what_lies_in_its_folder(tmp_path):
    (tmp_path / "secret.html").write_text("no")
    folder = tmp_path / "_dist"
    folder.mkdir()
    (folder / "index.html").write_text("yes")
    (folder / "notes.txt").write_text("no")
    assert Pages(folder)._files.keys() == {"index.html"}


@pytest.mark.parametrize(
    "image",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><script>alert(1)</script>'
        b"</svg>",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" onload="alert(1)"/>',
        png(size=(64, 64)) + b"<script>alert(1)</script>",
    ],
    ids=["script", "onload", "html after an image"],
)
async def test_what_was_uploaded_never_runs(image):
    async with open_page_caller() as page:
        kept = await page.http.post("/api/1/inputs?name=<b>.svg", content=image)
        assert kept.status_code == 201, kept.text
        assert kept.json()["name"] == "<b>.svg"
        assert kept.headers["content-type"] == "application/json"
        reply = await page.get(f"inputs/{kept.json()['input']}")
        kind = reply.headers["content-type"]
        assert kind == "image/png" or reply.headers["content-disposition"] == "attachment"
        assert "sandbox" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"


async def test_words_of_users_come_as_json_only():
    bad = "</script><img src=x onerror=alert(1)>"
    async with open_page_caller() as page:
        made = await page.make(sketch(bad, tag=bad))
        image = made["places"][0]["image"]
        assert image["prompt"] == bad
        for path in ("state", f"batches/{made['id']}", f"images/{image['id']}", "images?q=script"):
            reply = await page.http.get(f"/api/1/{path}")
            assert reply.headers["content-type"] == "application/json"


def test_the_address_of_a_home_is_long_stable_and_private(tmp_path):
    first = read_key(tmp_path)
    write_key(tmp_path, PageKey(secret=first.secret, port=4711))
    opener = write_opener(tmp_path, f"http://127.0.0.1:4711/{first.secret}/")
    assert read_key(tmp_path) == PageKey(secret=first.secret, port=4711)
    assert len(first.secret) == 43
    assert read_key(tmp_path / "other").secret != first.secret
    assert f"/{first.secret}/" in opener.read_text("utf-8")
    for path in (opener, opener.with_name("key.json")):
        assert path.stat().st_mode & 0o777 == 0o600
    assert opener.parent.stat().st_mode & 0o777 == 0o700
