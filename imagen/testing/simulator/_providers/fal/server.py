"""fal.ai's queue: POST /<model>, then status, result and cancellation below
/<owner>/<app>/requests, as of 2026-11-22.

https://fal.ai/docs; the official clients. As with the real queue, an input that
is wrong is taken, and refused by the model.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

from ..._core.callbacks import is_callback_url, sign_with_key
from ..._core.edits import read_data_url
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
from ..._core.jobs import Job, RemoteJob
from ..._core.messages import Callback, Kind, Reply, Signed, Submission, json_reply
from ..openai_gateways.models import Ask, WrongInputError, black, megapixels, paint, read_ask
from .models import MODELS

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_LOCKED = (
    "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
)


class _Refusal(msgspec.Struct, frozen=True):
    """Result of a failed job: HTTP status, name, and the content of `detail`."""

    status: int
    kind: str
    detail: object


class _Work(msgspec.Struct):
    """Job: the app in its addresses, and its result or failure."""

    app: str
    model: str
    ask: Ask | None = None
    refusal: _Refusal | None = None
    images: list[bytes] = []


class Fal(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated gateway.

    Args:
        queued_share: of the latency, which a job waits before it runs.
        tells_units: True if results count the units.
        stops_running: True if an app obeys a cancellation while it runs.
        origin: of the addresses in its replies, if it is another.
        callback_keys: the first one signs the callbacks; without a key there
            are none.
    """

    queued_share: float = 0.3
    tells_units: bool = True
    stops_running: bool = True
    origin: str | None = None
    callback_keys: "tuple[Ed25519PrivateKey, ...]" = ()
    name: str = "fal"
    base_path: str = ""

    def kind(self, method: str, path: str) -> Kind:
        if path == "/v1/models/pricing":
            return "list"
        if "/requests/" in path:
            return "cancel" if method == "PUT" else "poll"
        return "create" if method == "POST" else "other"

    def answer(self, job: Job) -> Reply | Submission:
        if job.received.headers.get("authorization") != f"Key {job.key}":
            return _error(
                401, "authentication_error", "Cannot access application: no valid key was given."
            )
        kind = self.kind(job.received.method, job.path)
        model = job.path.strip("/")
        if kind == "create" and model in MODELS:
            return self._submit(job, model)
        if kind == "list":
            return json_reply({"prices": _prices(job.received.query), "has_more": False})
        if kind not in ("poll", "cancel"):
            return _error(404, "not_found", f"Application '{model}' not found")
        app, _, tail = job.path.strip("/").partition("/requests/")
        job_id, _, action = tail.partition("/")
        remote = job.remote.find(job_id)
        if len(app.split("/")) != _app_parts(app):
            return Reply(status=405)
        if remote is None or _work(remote).app != app:
            return (
                _error(404, "not_found", "Request not found")
                if kind == "poll"
                else _cancelled(404, "NOT_FOUND")
            )
        if kind == "cancel":
            return self._cancel(job, remote)
        return self._status(job, remote) if action == "status" else self._result(job, remote)

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited(wait_seconds=wait, told=told):
                text = (
                    f"Too many requests. Please try again in {wait:g}s."
                    if told == "text"
                    else "Too many requests."
                )
                headers = (("retry-after", f"{wait:g}"),) if told == "header" else ()
                return _error(429, "rate_limited", text, headers=headers)
            case QuotaExhausted():
                return json_reply({"detail": _LOCKED}, status=403)
            case Overloaded():
                return _error(503, "runner_scheduling_failure", "No runner is free.")
            case NotAllowed():
                return _error(403, "forbidden", "You may not use this application.")
            case Refused():
                return json_reply({"detail": _refused("prompt")}, status=422)
            case _:
                assert isinstance(fault, ServerError), fault
                return _error(500, "internal_server_error", "Internal server error.")

    # --- the life of a job ----------------------------------------------------

    def _submit(self, job: Job, model: str) -> Submission | Reply:
        try:
            fields = msgspec.json.decode(job.received.body, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _error(400, "bad_request", "The body is not a JSON object.")
        webhooks = parse_qs(job.received.query).get("fal_webhook", [])
        if not all(map(is_callback_url, webhooks)) or len(webhooks) > 1:
            return _error(400, "bad_request", "fal_webhook is not an https URL.")
        work = _read_work(model, fields, job)
        # A job that fails with a 5xx, or for its fields, is never charged.
        free = work.ask is None or isinstance(job.fault, JobFails)
        usd = Decimal(0) if free or work.ask is None else work.ask.usd
        if job.usd_per_image is not None and work.ask is not None and not free:
            usd = job.usd_per_image * work.ask.count

        def make() -> object:
            if work.ask is not None:
                work.images = paint(job, work.ask)
            return work

        remote = job.remote.submit(job, make)
        # It is asked for before it is painted.
        remote.result = work
        origin = self.origin or f"{job.origin}/{self.name}{self.base_path}"
        url = f"{origin}/{work.app}/requests/{remote.id}"
        payload = {
            **_state("IN_QUEUE", remote.id),
            "response_url": url,
            "status_url": f"{url}/status",
            "cancel_url": f"{url}/cancel",
            "queue_position": 0,
        }
        reply = json_reply(payload, headers=(("x-fal-request-id", remote.id),))
        images = 0 if work.ask is None else work.ask.count
        callback = self._callback(remote, webhooks[0]) if webhooks and self.callback_keys else None
        return Submission(model=model, images=images, usd=usd, reply=reply, callback=callback)

    def _callback(self, remote: RemoteJob, url: str) -> Callback:
        def sign(now: int) -> Signed:
            status = "OK" if _refusal_of(remote) is None else "ERROR"
            return sign_callback(remote.id, self.callback_keys[0], now=now, status=status)

        return Callback(url=url, sign=sign)

    def _runs_at(self, remote: RemoteJob) -> float:
        return remote.started_at + self.queued_share * (remote.ready_at - remote.started_at)

    def _status(self, job: Job, remote: RemoteJob) -> Reply:
        refusal = _refusal_of(remote)
        if job.now >= remote.ready_at or remote.cancelled:
            more: dict[str, object] = {"metrics": {"inference_time": 1.2}}
            if refusal is not None:
                more |= {"error": str(refusal.detail), "error_type": refusal.kind}
            return json_reply({**_state("COMPLETED", remote.id), **more})
        if job.now < self._runs_at(remote):
            return json_reply({**_state("IN_QUEUE", remote.id), "queue_position": 2}, status=202)
        logs = []
        if "logs=1" in job.received.query:
            line = f"{remote.progress(job.now):4.0%}|####      | 3/10 [00:01<00:02, 3.1it/s]"
            logs = [
                {
                    "message": line,
                    "level": "INFO",
                    "source": "USER",
                    "timestamp": "2026-11-22T10:00:00Z",
                }
            ]
        return json_reply({**_state("IN_PROGRESS", remote.id), "logs": logs}, status=202)

    def _result(self, job: Job, remote: RemoteJob) -> Reply:
        if job.now < remote.ready_at and not remote.cancelled:
            return json_reply({"detail": "Request is still in progress"}, status=400)
        id_header = ("x-fal-request-id", remote.id)
        if (refusal := _refusal_of(remote)) is not None:
            headers = (id_header, ("x-fal-error-type", refusal.kind))
            payload = {"detail": refusal.detail}
            if isinstance(refusal.detail, str):
                payload["error_type"] = refusal.kind
            return json_reply(payload, status=refusal.status, headers=headers)
        work = _work(remote)
        assert work.ask is not None
        if not work.images:
            remote.paint()
        if isinstance(remote.fault, ExpiredLink):
            job.fault = remote.fault
        payload = _output(job, remote, work, work.ask)
        job.collected(remote)
        units = Decimal(sum(megapixels(work.ask.width, work.ask.height) for _ in work.images))
        if (usd_per_unit := work.ask.takes.usd_per_unit) is not None:
            units = work.ask.usd / usd_per_unit
        told = (("x-fal-billable-units", str(float(units))),) if self.tells_units else ()
        return json_reply(payload, headers=(id_header, *told))

    def _cancel(self, job: Job, remote: RemoteJob) -> Reply:
        if job.now >= remote.ready_at or remote.cancelled:
            return _cancelled(400, "ALREADY_COMPLETED")
        if job.now < self._runs_at(remote) or self.stops_running:
            remote.cancelled = True
        return _cancelled(202, "CANCELLATION_REQUESTED")


def _prices(query: str) -> list[dict[str, object]]:
    names = parse_qs(query).get("endpoint_id", [""])[0].split(",")
    return [
        {
            "endpoint_id": name,
            "unit_price": takes.usd(1, 0) if takes.usd_per_unit is None else takes.usd_per_unit,
            "unit": "megapixels" if takes.usd_per_unit is None else "images",
            "currency": "USD",
        }
        for name in names
        if (takes := MODELS.get(name)) is not None
    ]


def sign_callback(job_id: str, key: "Ed25519PrivateKey", *, now: int, status: str = "OK") -> Signed:
    """Return the message to the `fal_webhook` of an ended job."""
    payload = {
        "request_id": job_id,
        "gateway_request_id": job_id,
        "status": status,
        "payload": {"images": []},
    }
    return sign_with_key(
        payload, key, headers="x-fal-webhook-", id_header="request-id", id=job_id, now=now
    )


def _read_work(model: str, fields: Mapping[str, object], job: Job) -> _Work:
    app = "/".join(model.split("/")[: _app_parts(model)])
    try:
        return _Work(app, model, read_ask(MODELS[model], fields, read_data_url))
    except WrongInputError as wrong:
        detail = [
            {"loc": ["body", wrong.field], "msg": wrong.message, "type": wrong.kind, "input": None}
        ]
        return _Work(app, model, None, _Refusal(422, wrong.kind, detail))


def _app_parts(model: str) -> int:
    return 3 if model.startswith(("workflows/", "comfy/")) else 2


def _work(remote: RemoteJob) -> _Work:
    assert isinstance(remote.result, _Work)
    return remote.result


def _refusal_of(remote: RemoteJob) -> _Refusal | None:
    if remote.cancelled:
        return _Refusal(499, "client_cancelled", "The request was cancelled by the client.")
    if isinstance(remote.fault, JobFails):
        return _Refusal(500, "runner_server_error", remote.fault.text)
    return _work(remote).refusal


def _output(job: Job, remote: RemoteJob, work: _Work, ask: Ask) -> dict[str, object]:
    """The image of a model of one image, or the list of them with seed and
    flags.
    """
    withheld = isinstance(remote.fault, Withheld)
    images = [
        {
            "url": job.as_link(black(ask) if withheld else content, format=ask.format),
            "width": ask.width,
            "height": ask.height,
            "content_type": f"image/{ask.format}",
        }
        for content in work.images
    ]
    if ask.takes.single:
        return {"image": images[0]}
    return {
        "images": images,
        "timings": {"inference": 1.2},
        "seed": ask.fields.get("seed", 42),
        "has_nsfw_concepts": [withheld] * len(images),
        "prompt": ask.fields.get("prompt", ""),
    }


def _state(word: str, id: str) -> dict[str, object]:
    return {"status": word, "request_id": id, "logs": None, "metrics": {}}


def _cancelled(status: int, word: str) -> Reply:
    return json_reply({"status": word}, status=status)


def _refused(field: str) -> list[dict[str, object]]:
    text = "The content could not be processed because it was flagged by a content checker."
    return [{"loc": ["body", field], "msg": text, "type": "content_policy_violation", "ctx": {}}]


def _error(
    status: int, kind: str, text: str, *, headers: tuple[tuple[str, str], ...] = ()
) -> Reply:
    told = (("x-fal-request-id", "none"), ("x-fal-error-type", kind), *headers)
    return json_reply({"detail": text, "error_type": kind}, status=status, headers=told)


SIMULATED = (Fal(),)
