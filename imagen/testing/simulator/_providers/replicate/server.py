"""Replicate's API: predictions, files and the account, as of 2026-11-22.

https://replicate.com/docs; recorded replies of 2023 and 2024 show the form of
predictions and problems.
"""

from collections.abc import Mapping
from decimal import Decimal

import msgspec
import pybase64

from ..._core.callbacks import is_callback_url, keyed_hash
from ..._core.edits import ImageError, read_data_url
from ..._core.faults import (
    Decline,
    ExpiredLink,
    JobFails,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    ServerError,
    Withheld,
)
from ..._core.forms import FormError, parse_form
from ..._core.jobs import Job, RemoteJob
from ..._core.messages import Callback, Kind, Reply, Signed, Submission, encode, json_reply
from ..openai_gateways.models import Ask, WrongInputError, paint, read_ask
from .models import BY_THE_SECOND, MODELS, SECOND_USD

_LARGEST_DATA_URL = 1_400_000
_EVENTS = ("start", "output", "logs", "completed")
_LIMITS = (("ratelimit-remaining", "599"), ("ratelimit-reset", "1"))
_FLAGGED = "NSFW content detected. Try running it again, or try a different prompt."


class _Work(msgspec.Struct):
    """Prediction: the request and its result."""

    model: str
    ask: Ask
    input: Mapping[str, object]
    images: list[bytes] = []


class Replicate(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated gateway.

    Args:
        starting_share: of the latency, which a prediction waits for its
            machine.
        origin: of the addresses in its replies, if it is another.
        removes_data: whether a prediction that has ended is asked for too late.
        signs_with: key of the callbacks; the API shows it with "whsec_" before
            its base64.
    """

    starting_share: float = 0.3
    origin: str | None = None
    removes_data: bool = False
    signs_with: str = "a secret for callbacks"
    name: str = "replicate"
    base_path: str = "/v1"

    def kind(self, method: str, path: str) -> Kind:
        if path.startswith("/predictions/"):
            return "cancel" if method == "POST" else "poll"
        if path.startswith("/files"):
            return "upload" if method == "POST" else "other"
        return "create" if method == "POST" and path == "/predictions" else "other"

    def answer(self, job: Job) -> Reply | Submission:
        if job.received.headers.get("authorization") != f"Bearer {job.key}":
            return _problem(401, "Unauthenticated", "You did not pass a valid authentication token")
        match self.kind(job.received.method, job.path), job.path:
            case "create", _:
                return self._create(job)
            case "upload", _:
                return self._keep_file(job)
            case ("poll" | "cancel") as kind, path:
                id, _, action = path.removeprefix("/predictions/").partition("/")
                remote = job.remote.find(id)
                if (
                    remote is None
                    or not isinstance(remote.result, _Work)
                    or action not in ("", "cancel")
                ):
                    return _problem(404, "Not found", "The requested resource could not be found.")
                return self._cancel(job, remote) if kind == "cancel" else self._poll(job, remote)
            case _, "/webhooks/default/secret":
                return json_reply(
                    {"key": f"whsec_{pybase64.b64encode_as_string(self.signs_with.encode())}"}
                )
            case _, "/account":
                return json_reply({"type": "user", "username": "acme", "name": "Acme"})
        return _problem(404, "Not found", "The requested resource could not be found.")

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited(wait_seconds=wait, told=told):
                text = "Request was throttled."
                if told == "text":
                    text += f" Your rate limit resets in ~{wait:g}s."
                headers = (("retry-after", f"{wait:g}"),) if told == "header" else ()
                return _problem(429, "Too many requests", text, headers=headers)
            case QuotaExhausted():
                text = (
                    "You have insufficient credit to run this model. Go to"
                    " replicate.com/account/billing to buy some."
                )
                return _problem(402, "Insufficient credit", text)
            case Overloaded():
                return _problem(503, "Service unavailable", "Try again later.")
            case NotAllowed():
                return _problem(403, "Forbidden", "You do not have access to this model.")
            case Refused():
                # The prompt is looked at by the model; nothing refuses it at
                # the door but a wrong field.
                return _invalid("prompt", "The prompt was flagged by moderation.")
            case _:
                assert isinstance(fault, ServerError), fault
                return _problem(500, "Internal server error", "Something went wrong.")

    # --- the life of a prediction ---------------------------------------------

    def _create(self, job: Job) -> Submission | Reply:
        try:
            body = msgspec.json.decode(job.received.body, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _problem(400, "Bad request", "The body is not a JSON object.")
        version, fields = body.get("version"), body.get("input")
        if unknown := body.keys() - {
            "version",
            "input",
            "webhook",
            "webhook_events_filter",
            "stream",
        }:
            return _problem(
                422, "Input validation failed", f"Additional property {min(unknown)} is not allowed"
            )
        if "webhook" in body and not is_callback_url(body["webhook"]):
            return _invalid("webhook", "Must be a valid HTTPS URL")
        events = body.get("webhook_events_filter", [])
        if not isinstance(events, list) or any(event not in _EVENTS for event in events):
            return _invalid(
                "webhook_events_filter", "Must be a list of start, output, logs and completed"
            )
        if not isinstance(version, str) or version.partition(":")[0] not in MODELS:
            text = (
                "The specified version does not exist (or perhaps you don't have permission to use"
                " it?)"
            )
            return _problem(422, "Invalid version or not permitted", text)
        if not isinstance(fields, dict):
            return _invalid("input", "Invalid type. Expected: object")
        model = version.partition(":")[0]
        try:
            ask = read_ask(MODELS[model], fields, lambda url: self._fetch(job, url))
        except WrongInputError as wrong:
            return _invalid(wrong.field, wrong.message)
        work = _Work(
            model, ask, {name: value for name, value in fields.items() if name == "prompt"}
        )

        def make() -> object:
            work.images = paint(job, ask)
            return work

        remote = job.remote.submit(job, make)
        # It is asked for before it is painted.
        remote.result = work
        usd = (
            ask.usd
            if model not in BY_THE_SECOND
            else SECOND_USD * Decimal(str(BY_THE_SECOND[model]))
        )
        if job.usd_per_image is not None:
            usd = job.usd_per_image * ask.count
        reply = json_reply(self._prediction(job, remote, "starting"), status=201, headers=_LIMITS)
        callback = None
        if "webhook" in body and "completed" in (events or _EVENTS):
            callback = Callback(url=str(body["webhook"]), sign=lambda now: self._sign(remote, now))
        return Submission(model=model, images=ask.count, usd=usd, reply=reply, callback=callback)

    def _sign(self, remote: RemoteJob, now: int) -> Signed:
        failed = isinstance(remote.fault, JobFails | Withheld)
        status = "canceled" if remote.cancelled else "failed" if failed else "succeeded"
        return sign_callback(remote.id, self.signs_with, now=now, status=status)

    def _runs_at(self, remote: RemoteJob) -> float:
        return remote.started_at + self.starting_share * (remote.ready_at - remote.started_at)

    def _poll(self, job: Job, remote: RemoteJob) -> Reply:
        work = remote.result
        assert isinstance(work, _Work)
        if remote.cancelled:
            return json_reply(self._prediction(job, remote, "canceled"), headers=_LIMITS)
        if job.now < self._runs_at(remote):
            return json_reply(self._prediction(job, remote, "starting"), headers=_LIMITS)
        if job.now < remote.ready_at:
            logs = (
                f"Using seed: 1\n  0%|          | 0/50\r {remote.progress(job.now):4.0%}|████     "
                " | 3/50"
            )
            return json_reply(
                self._prediction(job, remote, "processing", logs=logs), headers=_LIMITS
            )
        metrics = {"predict_time": BY_THE_SECOND.get(work.model, 1.2), "total_time": 20.0}
        if isinstance(remote.fault, JobFails | Withheld):
            text = remote.fault.text if isinstance(remote.fault, JobFails) else _FLAGGED
            payload = self._prediction(job, remote, "failed", error=text, metrics=metrics)
            return json_reply(payload, headers=_LIMITS)
        if self.removes_data:
            payload = self._prediction(job, remote, "succeeded", data_removed=True, metrics=metrics)
            return json_reply(payload, headers=_LIMITS)
        if not work.images:
            remote.paint()
        if isinstance(remote.fault, ExpiredLink):
            job.fault = remote.fault
        links = [job.as_link(content, format=work.ask.format) for content in work.images]
        job.collected(remote)
        output: object = links[0] if work.ask.takes.single else links
        payload = self._prediction(
            job, remote, "succeeded", output=output, metrics=metrics, logs="100%|##########|"
        )
        return json_reply(payload, headers=_LIMITS)

    def _cancel(self, job: Job, remote: RemoteJob) -> Reply:
        if job.now < remote.ready_at:
            remote.cancelled = True
        word = "canceled" if remote.cancelled else "succeeded"
        return json_reply(self._prediction(job, remote, word), headers=_LIMITS)

    def _prediction(
        self, job: Job, remote: RemoteJob, status: str, **more: object
    ) -> dict[str, object]:
        work = remote.result
        assert isinstance(work, _Work)
        url = f"{self._origin(job)}/predictions/{remote.id}"
        return {
            "id": remote.id,
            "model": work.model,
            "version": "hidden",
            "input": work.input,
            "output": None,
            "error": None,
            "status": status,
            "logs": "",
            "data_removed": False,
            "created_at": "2026-11-22T10:00:00Z",
            "urls": {
                "get": url,
                "cancel": f"{url}/cancel",
                "web": f"https://replicate.com/p/{remote.id}",
            },
            **more,
        }

    def _origin(self, job: Job) -> str:
        return self.origin or f"{job.origin}/{self.name}{self.base_path}"

    # --- files ----------------------------------------------------------------

    def _keep_file(self, job: Job) -> Reply:
        try:
            _, files = parse_form(job.received.headers, job.received.body)
        except FormError as error:
            return _problem(400, "Bad request", str(error))
        content = files.get("content", [])
        if len(content) != 1:
            return _problem(400, "Bad request", "Missing content")
        (file,) = content
        kept = job.remote.submit(job, lambda: file.data)
        kept.painted()
        url = f"{self._origin(job)}/files/{kept.id}"
        payload = {
            "id": kept.id,
            "name": file.filename,
            "content_type": file.media_type,
            "size": len(file.data),
            "urls": {"get": url},
            "expires_at": "2026-11-23T10:00:00Z",
        }
        return json_reply(payload, status=201, headers=_LIMITS)

    def _fetch(self, job: Job, url: str) -> bytes:
        if url.startswith("data:"):
            if len(url) > _LARGEST_DATA_URL:
                raise ImageError("The data URL is too large.")
            return read_data_url(url)
        kept = job.remote.find(url.rpartition("/files/")[2])
        if kept is None or not isinstance(kept.result, bytes):
            raise ImageError("There is no such file.")
        return kept.result


def sign_callback(job_id: str, secret: str, *, now: int, status: str = "succeeded") -> Signed:
    """Return the message to the `webhook` of an ended prediction."""
    body = encode({"id": job_id, "status": status, "output": None})
    signature = pybase64.b64encode_as_string(
        keyed_hash(secret, f"msg-{job_id}.{now}.".encode() + body)
    )
    headers = {
        "webhook-id": f"msg-{job_id}",
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{signature}",
    }
    return headers, body


def _problem(
    status: int, title: str, detail: str, *, headers: tuple[tuple[str, str], ...] = ()
) -> Reply:
    payload = {"title": title, "detail": detail, "status": status}
    return json_reply(payload, status=status, headers=(*headers, *_LIMITS))


def _invalid(field: str, message: str) -> Reply:
    payload = {
        "title": "Input validation failed",
        "detail": f"- input.{field}: {message}",
        "status": 422,
        "invalid_fields": [{"type": "invalid", "field": f"input.{field}", "description": message}],
    }
    return json_reply(payload, status=422, headers=_LIMITS)


SIMULATED = (Replicate(),)
