"""The bundle of the front end: files that were built, by their names.

They are kept in memory, 0.3 MB: to stream one from the disk takes four visits to
a thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

__all__ = ["BUNDLE", "Pages"]

BUNDLE: Final = Path(__file__).with_name("_dist")
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}
# Icons keep their names, and seldom change.
_STEADY: Final = (".svg", ".png")
# Names that the build makes of the content.
_HASHED: Final = re.compile(r".*-[A-Z0-9]{8}\.(js|css)")
_NOT_BUILT: Final = """\
<!doctype html><meta charset="utf-8"><title>imagen</title>
<p>The page is not built. In a checkout, run <code>make web</code> and start the server again; a
wheel has it inside. The API is there all the same.</p>
"""


class Pages:
    """Files of the bundle, read once; blocking. A name is only looked up among
    those, so no path leads out.
    """

    def __init__(self, folder: Path = BUNDLE) -> None:
        self._files: Mapping[str, bytes] = {
            path.name: path.read_bytes()
            for path in (folder.iterdir() if folder.is_dir() else ())
            if path.suffix in _TYPES and path.is_file()
        }

    @property
    def are_built(self) -> bool:
        """Whether there is a page."""
        return "index.html" in self._files

    async def index(self, request: Request) -> Response:
        """Return the page."""
        if not self.are_built:
            return HTMLResponse(_NOT_BUILT, 503)
        return self._reply("index.html")

    async def file(self, request: Request) -> Response:
        """Return a file of the bundle."""
        name = request.path_params["name"]
        return self._reply(name) if name in self._files else Response(status_code=404)

    def _reply(self, name: str) -> Response:
        suffix = Path(name).suffix
        caching = "no-cache"
        if _HASHED.fullmatch(name):
            caching = "public, max-age=31536000, immutable"
        elif suffix in _STEADY:
            caching = "max-age=86400"
        headers = {"cache-control": caching}
        return Response(self._files[name], media_type=_TYPES[suffix], headers=headers)
