"""OpenAI's Batch API: POST /files, POST and GET /batches, GET /files/X/content,
as of 2026-11-22.

https://developers.openai.com/api/reference/resources/batches
"""

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
from ..._core.fields import BadRequestError, Fields
from ..._core.forms import FormError, parse_form
from ..._core.jobs import Job, RemoteJob
from ..._core.messages import Kind, Reply, Submission, encode, json_reply

_ENDPOINT = "/v1/images/generations"
_MOST_LINES = 50_000
_EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before its time was over.",
}


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Body(msgspec.Struct):
    model: str = ""


def kind_of(method: str, path: str) -> Kind | None:
    """Return the kind of a request to this API; None if it is none."""
    if path.startswith("/batches"):
        if method == "GET":
            return "poll"
        return "cancel" if path.endswith("/cancel") else "create"
    if path.startswith("/files"):
        return "upload" if method == "POST" else "download"
    return None


def answer_batch(job: Job, execute: Execute, *, executes: int | None) -> Reply | Submission:
    """Reply to a request of one of these kinds; of a batch the first requests
    up to a limit are executed, or all.
    """
    match kind_of(job.received.method, job.path):
        case "upload":
            return _upload(job)
        case "download":
            return _download(job)
        case "create" if job.path == "/batches":
            return _create(job, execute, executes)
    id, _, _ = job.path.removeprefix("/batches/").partition("/")
    found = find_batch(job, id)
    if found is None:
        raise BadRequestError(f"No batch found with id '{id}'.", param=None, code=None, status=404)
    remote, batch = found
    if kind_of(job.received.method, job.path) == "cancel" and job.now < remote.ready_at:
        remote.cancelled = True
    return json_reply(_describe(job, remote, batch))


def _upload(job: Job) -> Reply:
    try:
        texts, files = parse_form(job.received.headers, job.received.body)
    except FormError as error:
        raise BadRequestError(str(error), param=None, code=None) from error
    if texts.get("purpose") != ["batch"] or len(files.get("file", [])) != 1:
        raise BadRequestError(
            "A file and its purpose are wanted.", param="purpose", code="invalid_value"
        )
    (file,) = files["file"]
    id = keep_file(job, file.data, prefix="file-")
    return json_reply(
        {
            "id": id,
            "object": "file",
            "bytes": len(file.data),
            "purpose": "batch",
            "status": "processed",
        }
    )


def _create(job: Job, execute: Execute, executes: int | None) -> Submission:
    fields = Fields(job.received.body)
    fields.refuse_unknown(
        ("input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after")
    )
    id = fields.text("input_file_id", required=True)
    fields.choice("endpoint", (_ENDPOINT,), "")
    fields.choice("completion_window", ("24h",), "")
    content = find_file(job, id)
    if content is None:
        raise BadRequestError(
            f"No such File object: {id}", param="input_file_id", code=None, status=404
        )
    batch, model = _read_requests(job, content.splitlines(), execute, executes)
    remote = submit_batch(job, batch, prefix="batch_")
    return Submission(
        model=model,
        images=batch.images,
        usd=batch.usd,
        reply=json_reply(_describe(job, remote, batch)),
    )


def _read_requests(
    job: Job, lines: list[bytes], execute: Execute, executes: int | None
) -> tuple[Batch, str]:
    """Return the batch and its model. Faults of the file are found later, and
    shown with the batch.
    """
    errors: list[dict[str, object]] = []
    requests: dict[str, _Request] = {}
    models: set[str] = set()
    for number, line in enumerate(lines, start=1):
        try:
            request = msgspec.json.decode(line, type=_Request)
            models.add(msgspec.json.decode(request.body, type=_Body).model)
        except msgspec.DecodeError as error:
            errors.append({"code": "invalid_json_line", "message": str(error), "line": number})
            continue
        if request.custom_id in requests:
            errors.append(
                {
                    "code": "duplicate_custom_id",
                    "message": "A custom_id is used twice.",
                    "line": number,
                }
            )
        if (request.method, request.url) != ("POST", _ENDPOINT):
            errors.append(
                {
                    "code": "mismatched_endpoint",
                    "message": "Another endpoint is meant.",
                    "line": number,
                }
            )
        requests[request.custom_id] = request
    if not lines or len(lines) > _MOST_LINES:
        errors.append({"code": "invalid_file", "message": "The file has too many lines, or none."})
    if len(models) > 1:
        errors.append(
            {
                "code": "mismatched_model",
                "message": "A file may name one model.",
                "param": "body.model",
            }
        )
    if isinstance(job.fault, JobFails):
        errors.append({"code": "invalid_file", "message": job.fault.text})
    names = list(requests)
    done = [] if errors else names[:executes]
    executed = [Line(name=name, answer=execute(bytes(requests[name].body))) for name in done]
    return Batch(executed, skipped=names[len(done) :], errors=errors), "".join(sorted(models)[:1])


def _describe(job: Job, remote: RemoteJob, batch: Batch) -> dict[str, object]:
    total = len(batch.lines) + len(batch.skipped)
    ended = remote.cancelled or job.now >= remote.ready_at
    done = len(batch.lines) if ended else int(len(batch.lines) * remote.progress(job.now))
    status = "in_progress" if job.now > remote.started_at else "validating"
    if ended:
        status = "cancelled" if remote.cancelled else "expired" if batch.skipped else "completed"
    if batch.errors:
        status, total, done = "failed", 0, 0
    refused = len(batch.refusals) if ended else 0
    has_results = ended and not batch.errors
    return {
        "id": remote.id,
        "object": "batch",
        "endpoint": _ENDPOINT,
        "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
        "completion_window": "24h",
        "status": status,
        "output_file_id": f"file-output-{remote.id}" if has_results and batch.drawings else None,
        "error_file_id": (
            f"file-error-{remote.id}" if has_results and (refused or batch.skipped) else None
        ),
        "request_counts": {"total": total, "completed": max(0, done - refused), "failed": refused},
    }


def _download(job: Job) -> Reply:
    id, _, content = job.path.removeprefix("/files/").partition("/")
    name, _, batch_id = id.removeprefix("file-").partition("-")
    found = find_batch(job, batch_id)
    if found is None or content != "content":
        raise BadRequestError(f"No such File object: {id}", param="id", code=None, status=404)
    remote, batch = found
    lines = [
        _line(job, line.name, reply)
        for line, reply in batch.results()
        if (reply.status == 200) == (name == "output")
    ]
    if name == "output":
        job.collected(remote)
    else:
        lines += [_line(job, skipped, None) for skipped in batch.skipped]
    headers = (("content-type", "application/octet-stream"),)
    return Reply(headers=headers, pieces=shuffled(job, lines), chunked=True)


def _line(job: Job, name: str, reply: Reply | None) -> bytes:
    id = f"batch_req_{job.chance.getrandbits(96):024x}"
    response = None
    if reply is not None:
        response = {"status_code": reply.status, "request_id": id, "body": body_of(reply)}
    error = _EXPIRED if reply is None else None
    return encode({"id": id, "custom_id": name, "response": response, "error": error}) + b"\n"
