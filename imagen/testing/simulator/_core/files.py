"""Origin of the image links. It is not the API: a key that arrives here has
leaked.
"""

import secrets

from .faults import (
    Decline,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    ServerError,
)
from .images import MEDIA_TYPES
from .jobs import Job
from .messages import Kind, Reply, text_reply

_MOST_FILES = 200  # a demo that runs for a day should not keep every image

_DECLINED: dict[type[Decline], int] = {
    NotAllowed: 403,
    Overloaded: 503,
    QuotaExhausted: 403,
    RateLimited: 429,
    Refused: 403,
    ServerError: 500,
}


class Files:
    """Serves `/files/<token>.<format>`; the newest 200 files are kept."""

    name = "files"
    base_path = ""

    def __init__(self, url: str) -> None:
        self._url = url
        self._kept: dict[str, Reply] = {}

    def keep(self, content: bytes, format: str, *, expired_status: int | None) -> str:
        path = f"/{secrets.token_hex(12)}.{format}"
        if expired_status is None:
            headers = (("content-type", MEDIA_TYPES[format]),)
            self._kept[path] = Reply(headers=headers, pieces=(content,))
        else:
            self._kept[path] = text_reply("This link has expired.", status=expired_status)
        if len(self._kept) > _MOST_FILES:
            del self._kept[next(iter(self._kept))]
        return f"{self._url}/files{path}"

    def kind(self, method: str, path: str) -> Kind:
        return "download" if method == "GET" else "other"

    def answer(self, job: Job) -> Reply:
        if job.received.carries_key:
            return text_reply("A key has been sent to an origin that must not see it.", status=400)
        return self._kept.get(job.path) or text_reply("There is no such file.", status=404)

    def decline(self, job: Job, fault: Decline) -> Reply:
        return text_reply("Not now.", status=_DECLINED[type(fault)])


class Nowhere:
    """Replies for paths of no provider, e.g. a base URL without its version."""

    name = "nowhere"
    base_path = ""

    def kind(self, method: str, path: str) -> Kind:
        return "other"

    def answer(self, job: Job) -> Reply:
        return text_reply("No provider is simulated at this path.", status=404)

    def decline(
        self, job: Job, fault: Decline
    ) -> Reply:  # pragma: no cover (no plan has faults for these)
        return self.answer(job)
