"""Azure OpenAI: OpenAI's Images API below `openai/v1` or a deployment, as of
2026. A version is required, edits are forms, and the key has a header of its
own.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from .._core.faults import Decline, NotAllowed, QuotaExhausted, Refused
from .._core.fields import BadRequestError, Fields
from .._core.jobs import Job
from .._core.messages import Drawing, Kind, Reply, Submission, json_reply
from .openai.requests import EditInputs, read_edit
from .openai.server import OpenAI

_PATH = re.compile(r"/openai/(?:v1|deployments/([^/]+))/images/(generations|edits)")


class Azure(OpenAI, frozen=True, kw_only=True):
    """One resource, with a deployment for each model, named after it.

    Args:
        entra: True if it wants a token instead of a key.
    """

    name: str = "azure"
    base_path: str = ""
    entra: bool = False

    def kind(self, method: str, path: str) -> Kind:
        return "create" if method == "POST" and _PATH.fullmatch(path) else "other"

    def answer(self, job: Job) -> Reply | Drawing | Submission:
        if not self._knows(job):
            text = "Access denied due to invalid subscription key or wrong API endpoint."
            return _error(401, "401", text)
        version = parse_qs(job.received.query).get("api-version", [""])[0]
        found = _PATH.fullmatch(job.path)
        if not version or (found and bool(found[1]) is (version == "preview")):
            return _error(404, "404", "Resource not found")
        if job.path == "/openai/v1/models" and job.received.method == "GET":
            return json_reply({"object": "list", "data": []})
        if found is None or job.received.method != "POST":
            return _error(404, "404", "Resource not found")
        try:
            fields, edit = _read(job, found[2])
            if found[1]:
                fields = _named(fields, found[1])
            return self._draw(job, fields, edit)
        except BadRequestError as refusal:
            if refusal.param == "model":
                text = "The API deployment for this resource does not exist."
                return _error(404, "DeploymentNotFound", text)
            return refusal.reply

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case Refused():
                text = "Your request was rejected as a result of our safety system."
                return _error(400, "contentFilter", text)
            case NotAllowed():
                return _error(403, "Forbidden", "Access denied by a network rule.")
            case QuotaExhausted():
                return _error(429, "insufficient_quota", "You exceeded your quota.")
            case _:
                return super().decline(job, fault)

    def _knows(self, job: Job) -> bool:
        headers = job.received.headers
        if self.entra:
            return headers.get("authorization") == f"Bearer {job.key}"
        return headers.get("api-key") == job.key


def _read(job: Job, work: str) -> tuple[Fields, EditInputs | None]:
    if work == "generations":
        return Fields(job.received.body), None
    if not job.received.headers.get("content-type", "").startswith("multipart/form-data"):
        raise BadRequestError("The body must be a form.", param=None, code="invalid_request")
    return read_edit(job)


def _named(fields: Fields, deployment: str) -> Fields:
    if "model" in fields:
        raise BadRequestError("model is not accepted here.", param="body", code=None)
    named = Fields(b"{}")
    named._values = {
        **{name: fields.get(name) for name in fields.names()},
        "model": deployment,
    }
    return named


def _error(status: int, code: str, text: str) -> Reply:
    return json_reply({"error": {"code": code, "message": text}}, status=status)


SIMULATED = (Azure(), Azure(name="azure_entra", entra=True))
