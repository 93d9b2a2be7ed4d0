"""Gemini's Batch API: files that are uploaded in two steps,
models/X:batchGenerateContent, batches/X and files/X:download.

https://ai.google.dev/gemini-api/docs/batch-api, as of 2026-11-22
"""

from collections.abc import Callable

import msgspec

from ..._core.batches import (
    Batch,
    Execute,
    Line,
    body_of,
    find_batch,
    find_file,
    keep_file,
    shuffled,
    submit_batch,
)
from ..._core.faults import JobFails
from ..._core.jobs import Job, RemoteJob
from ..._core.messages import Kind, Reply, Submission, encode, json_reply

_MOST_BYTES = 2_000_000_000

Refuse = Callable[[int, str, str], Reply]
"""Makes an error of a status, its word, and a text."""


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    request: msgspec.Raw


class _InputConfig(msgspec.Struct, forbid_unknown_fields=True):
    fileName: str


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    displayName: str
    inputConfig: _InputConfig


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    batch: _Order


def kind_of(method: str, path: str) -> Kind | None:
    """Return the kind of a request to this API; None if it is none."""
    if method == "POST" and path.startswith("/models/") and path.endswith(":batchGenerateContent"):
        return "create"
    if path.startswith("/batches/"):
        return "cancel" if method == "POST" and path.endswith(":cancel") else "poll"
    if path == "/files" and method == "POST":
        return "upload"
    return "download" if path.startswith("/files/") and path.endswith(":download") else None


def start_upload(job: Job, refuse: Refuse) -> Reply:
    """Reply to the first step of an upload, at a path of its own, with the
    address for the file.
    """
    headers = job.received.headers
    command = (headers.get("x-goog-upload-protocol"), headers.get("x-goog-upload-command"))
    size = headers.get("x-goog-upload-header-content-length", "")
    if command != ("resumable", "start") or not size.isdigit() or int(size) > _MOST_BYTES:
        return refuse(400, "INVALID_ARGUMENT", "No upload was begun.")
    query = f"upload_id={job.received.number}&upload_protocol=resumable"
    url = f"{job.origin}/google/v1beta/files?{query}"
    return Reply(headers=(("x-goog-upload-url", url), ("x-goog-upload-status", "active")))


def answer_batch(job: Job, execute: Execute, refuse: Refuse) -> Reply | Submission:
    """Reply to a request of one of these kinds."""
    match kind_of(job.received.method, job.path):
        case "upload":
            return _upload(job, refuse)
        case "create":
            return _create(job, execute, refuse)
        case "download":
            return _download(job, refuse)
        case kind:
            id, _, _ = job.path.removeprefix("/batches/").partition(":")
            found = find_batch(job, id)
            if found is None:
                return refuse(404, "NOT_FOUND", "Requested entity was not found.")
            remote, batch = found
            if kind == "cancel":
                remote.cancelled = remote.cancelled or job.now < remote.ready_at
                return json_reply({})
            return json_reply(_describe(job, remote, batch))


def _upload(job: Job, refuse: Refuse) -> Reply:
    headers = job.received.headers
    if (
        headers.get("x-goog-upload-command") != "upload, finalize"
        or headers.get("x-goog-upload-offset") != "0"
    ):
        return refuse(400, "INVALID_ARGUMENT", "The upload is not complete.")
    id = keep_file(job, job.received.body, prefix="")
    size = str(len(job.received.body))
    return json_reply(
        {"file": {"name": f"files/{id}", "mimeType": "application/jsonl", "sizeBytes": size}}
    )


def _create(job: Job, execute: Execute, refuse: Refuse) -> Reply | Submission:
    try:
        order = msgspec.json.decode(job.received.body, type=_Body).batch
    except msgspec.DecodeError as error:
        return refuse(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {error}")
    content = find_file(job, order.inputConfig.fileName.removeprefix("files/"))
    if content is None:
        return refuse(404, "NOT_FOUND", "Requested entity was not found.")
    errors: list[dict[str, object]] = []
    lines: list[Line] = []
    for line in content.splitlines():
        try:
            request = msgspec.json.decode(line, type=_Request)
        except msgspec.DecodeError as error:
            errors.append({"code": 3, "message": f"Failed to parse the input file: {error}"})
            break
        lines.append(Line(name=request.key, answer=execute(bytes(request.request))))
    if isinstance(job.fault, JobFails):
        errors.append({"code": 13, "message": job.fault.text})
    batch = Batch(lines, errors=errors)
    model, _, _ = job.path.removeprefix("/models/").partition(":")
    remote = submit_batch(job, batch, prefix="")
    return Submission(
        model=model,
        images=batch.images,
        usd=batch.usd,
        reply=json_reply(_describe(job, remote, batch)),
    )


def _describe(job: Job, remote: RemoteJob, batch: Batch) -> dict[str, object]:
    ended = remote.cancelled or job.now >= remote.ready_at
    total = len(batch.lines)
    waiting = 0 if ended else total - int(total * remote.progress(job.now))
    failed = len(batch.refusals) if ended else 0
    stats = {
        "requestCount": total,
        "pendingRequestCount": waiting,
        "successfulRequestCount": max(0, total - waiting - failed),
        "failedRequestCount": failed,
    }
    state = "RUNNING" if job.now > remote.started_at else "PENDING"
    operation: dict[str, object] = {}
    if ended:
        output = {"responsesFile": f"files/batch-{remote.id}"}
        state = "CANCELLED" if remote.cancelled else "FAILED" if batch.errors else "SUCCEEDED"
        operation = {
            "done": True,
            **({"error": batch.errors[0]} if batch.errors else {"response": output}),
        }
    metadata = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        # Zeros are left out, and numbers of 64 bits are texts.
        "batchStats": {name: str(count) for name, count in stats.items() if count},
        "state": f"BATCH_STATE_{state}",
    }
    return {"name": f"batches/{remote.id}", "metadata": metadata, **operation}


def _download(job: Job, refuse: Refuse) -> Reply:
    id = job.path.removeprefix("/files/batch-").removesuffix(":download")
    found = find_batch(job, id)
    if found is None or job.received.query != "alt=media":
        return refuse(404, "NOT_FOUND", "Requested entity was not found.")
    remote, batch = found
    job.collected(remote)
    lines = [_line(line.name, reply) for line, reply in batch.results()]
    return Reply(
        headers=(("content-type", "application/jsonl"),), pieces=shuffled(job, lines), chunked=True
    )


def _line(name: str, reply: Reply) -> bytes:
    if reply.status == 200:
        return encode({"key": name, "response": body_of(reply)}) + b"\n"
    envelope = msgspec.json.decode(body_of(reply), type=dict[str, dict[str, object]])
    return encode({"key": name, "error": envelope["error"]}) + b"\n"
