"""The Batch API of Gemini: requests in a file, done within a day for half the
price.

https://ai.google.dev/gemini-api/docs/batch-api. Requests can also be sent
inside the job; then all images come in the one reply at its end, too much for
memory, and of a thousand it never came (googleapis/python-genai#2519). Files
are read line by line.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from ..._errors import ImagenError, InvalidRequestError, OutcomeUnknownError, ProviderError
from ..._requests.catalog import JsonValue
from .._provider import BatchApi, Call
from .._replies.decoding import MALFORMED, decode, decode_json, one_line
from .._steps import (
    BatchExchange,
    Cancellable,
    Exchange,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    Progress,
    Step,
)
from .._wire.batch_files import Results, as_batch_api, encode_requests, patient_call, patient_job
from .._wire.http import json_request, send
from .._wire.polling import Ended, await_end
from ._errors import refusal

__all__ = ["batch_api"]

_NAME = "Google"
_MEDIA_TYPE = "application/jsonl"
# Documents use JOB_STATE_ and BATCH_STATE_; replies were seen with the latter.
_ENDED = frozenset(("SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"))
# A line may have the number of google.rpc.Code as its error. Any other leaves
# the bill unknown, like a 500.
_HTTP_STATUS = {3: 400, 5: 404, 7: 403, 8: 429, 9: 400, 14: 503, 16: 401}


class _Upload(msgspec.Struct):
    file: object = None


class _Operation(msgspec.Struct):
    # None of them is worth a paid batch, so their types are looked at when they
    # are read.
    name: object = None
    done: object = None
    metadata: object = None
    response: object = None
    error: object = None


class _Line(msgspec.Struct):
    key: str
    response: msgspec.Raw = msgspec.Raw(b"null")
    error: object = None
    status: object = None


_decode_upload = msgspec.json.Decoder(_Upload).decode
_decode_operation = msgspec.json.Decoder(_Operation).decode
_decode_line = msgspec.json.Decoder(_Line).decode


class _Wire(NamedTuple):
    """Builder and reader of a synchronous generation."""

    body: Callable[[Call], Mapping[str, JsonValue]]
    read: Callable[[Call, HttpResponse], GeneratedImages]


class _End(NamedTuple):
    state: str
    results: str
    error: dict[str, object]


def batch_api(
    body: Callable[[Call], Mapping[str, JsonValue]],
    read: Callable[[Call, HttpResponse], GeneratedImages],
) -> BatchApi:
    """Return the batch API for the body of a synchronous generation and the
    reader of its reply.
    """
    wire = _Wire(body, read)
    return as_batch_api(partial(_submit, wire), partial(_collect, wire))


def _submit(
    wire: _Wire, calls: Sequence[Call]
) -> Generator[Step, HttpResponse | bytes | None, JobAccepted]:
    requests = (
        {"key": str(position), "request": dict(wire.body(call))}
        for position, call in enumerate(calls)
    )
    file = yield from _upload(encode_requests(requests, _NAME))
    order: dict[str, JsonValue] = {
        "batch": {"displayName": "imagen", "inputConfig": {"fileName": file}}
    }
    response = yield from send(
        json_request(f"models/{calls[0].model.wire_name}:batchGenerateContent", order)
    )
    if response.status != 200:
        raise refusal(response, _NAME, calls[0].model)
    name = _resource("batches", decode(_decode_operation, response, _NAME).name)
    if not name:
        raise ProviderError(
            f"{_NAME} took the batch and gives it no name; it may be billed.", billed="unknown"
        )
    return JobAccepted(job_id=name, poll_url=name)


def _upload(content: bytes) -> Generator[Step, HttpResponse | bytes | None, str]:
    """Upload the file of requests and return its name; it is free and expires."""
    start = json_request(
        "../upload/v1beta/files", {"file": {"displayName": "imagen"}}, repeatable=True
    )
    headers = {
        **start.headers,
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": str(len(content)),
        "x-goog-upload-header-content-type": _MEDIA_TYPE,
    }
    response = yield from _send_free(msgspec.structs.replace(start, headers=headers))
    url = response.headers.get("x-goog-upload-url", "")
    if "://" not in url:
        raise ProviderError(f"{_NAME} does not say where to upload the file of requests.")
    headers = {
        "content-type": _MEDIA_TYPE,
        "x-goog-upload-offset": "0",
        "x-goog-upload-command": "upload, finalize",
    }
    response = yield from _send_free(
        HttpRequest(method="POST", url=url, headers=headers, body=content, repeatable=True)
    )
    uploaded = decode(_decode_upload, response, _NAME, billed="no")
    name = _resource("files", _object(uploaded.file).get("name"))
    if not name:
        raise ProviderError(f"{_NAME} took the file of requests and gives it no name.")
    return name


def _send_free(request: HttpRequest) -> Generator[Step, HttpResponse | bytes | None, HttpResponse]:
    response = yield from send(request)
    if response.status != 200:
        error = refusal(response, _NAME)
        error.billed = "no"
        raise error
    return response


def _resource(collection: str, name: object) -> str:
    """Return a resource as a path below the base URL; "" if it is not in the
    collection.
    """
    kind, _, id = name.partition("/") if isinstance(name, str) else ("", "", "")
    return f"{collection}/{quote(id, safe='')}" if kind == collection and id else ""


def _collect(wire: _Wire, calls: Sequence[Call], accepted: JobAccepted) -> BatchExchange:
    """Wait for a batch and deliver its results in the order of its file."""
    # The cost of a stopped batch is undocumented.
    yield Cancellable(request=HttpRequest(method="POST", url=f"{accepted.poll_url}:cancel"))
    end = yield from await_end(
        patient_call(calls[0]), patient_job(accepted, _NAME), _read_operation
    )
    results = Results(calls, accepted, _NAME, partial(_read_line, wire, calls))
    if end.results:
        yield from results.deliver_file(f"{end.results}:download?alt=media")
    yield from results.deliver_missing(partial(_explain_missing, calls, end, accepted))


def _read_operation(response: HttpResponse, early: bool) -> Ended[_End] | tuple[Progress] | None:
    try:
        operation = (
            decode_json(_decode_operation, response.body)
            if response.status == 200
            else _Operation()
        )
    except MALFORMED:
        return None
    metadata = _object(operation.metadata)
    state = one_line(metadata.get("state")).rpartition("_STATE_")[2]
    if state not in _ENDED and operation.done is not True:
        return (_progress(metadata, state),) if state else None
    # The examples have the file in different places.
    outputs = (_object(operation.response), _object(metadata.get("output")))
    files = (_resource("files", output.get("responsesFile")) for output in outputs)
    return Ended(_End(state, next(filter(None, files), ""), _object(operation.error)))


def _progress(metadata: Mapping[str, object], state: str) -> Progress:
    stats = _object(metadata.get("batchStats"))
    total, waiting = _count(stats.get("requestCount")), _count(stats.get("pendingRequestCount"))
    if not 0 < total - waiting <= total:
        return Progress(note=state.lower())
    return Progress(
        fraction=(total - waiting) / total, note=f"{state.lower()}: {total - waiting} of {total}"
    )


def _count(value: object) -> int:
    """A number of 64 bits, which Google's JSON writes as text; one of zero is
    left out.
    """
    return (
        int(value)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19
        else 0
    )


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _read_line(wire: _Wire, calls: Sequence[Call], line: bytes) -> tuple[str, Exchange] | None:
    try:
        parsed = decode_json(_decode_line, line)
    except MALFORMED:
        return None
    return parsed.key, _read_result(wire, calls, parsed)


def _read_result(wire: _Wire, calls: Sequence[Call], line: _Line) -> Exchange:
    """Read a line: the reply of a single request, or an error without its
    envelope.
    """
    yield from ()
    call = calls[int(line.key)]
    # Under which of the two names an error comes is not verified.
    if error := _object(line.error) or _object(line.status):
        raise _refusal(error, call)
    return wire.read(call, HttpResponse(status=200, body=bytes(line.response)))


def _refusal(error: Mapping[str, object], call: Call) -> ImagenError:
    code = error.get("code")
    number = code if isinstance(code, int) else 0
    status = number if 400 <= number < 600 else _HTTP_STATUS.get(number, 500)
    fields = {name: one_line(error.get(name)) for name in ("message", "status")}
    return refusal(
        HttpResponse(status=status, body=msgspec.json.encode({"error": fields})), _NAME, call.model
    )


def _explain_missing(
    calls: Sequence[Call], end: _End, accepted: JobAccepted, position: int
) -> ImagenError:
    if end.error and isinstance(found := _refusal(end.error, calls[position]), InvalidRequestError):
        # It was not begun.
        return found
    said = one_line(end.error.get("message"))
    return OutcomeUnknownError(
        f"{_NAME}'s {accepted.job_id} ended ({end.state.lower() or 'done'}) without a word on this"
        f" request; it may be billed. {said}".strip(),
        details={"job_id": accepted.job_id},
    )
