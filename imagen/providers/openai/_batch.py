"""OpenAI's Batch API: requests in a file, done within a day for half the price.

https://developers.openai.com/api/reference/resources/batches. Generations only:
an edit needs files in a form, and a line has no place for them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from ..._errors import ImagenError, OutcomeUnknownError, ProviderError
from ..._requests.catalog import JsonValue
from .._provider import BatchApi, Call
from .._replies.decoding import MALFORMED, decode, decode_json, one_line
from .._replies.refusals import refusal
from .._steps import (
    BatchExchange,
    Cancellable,
    Exchange,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    Progress,
    Step,
)
from .._wire.batch_files import Results, as_batch_api, encode_requests, patient_call, patient_job
from .._wire.http import FormFile, form_request, json_request, send
from .._wire.polling import Ended, await_end

__all__ = ["batch_api"]

_NAME = "OpenAI"
_ENDPOINT = "/v1/images/generations"
_ENDED = frozenset(("completed", "failed", "expired", "cancelled"))
# Requests with these were not executed, and only executed ones are charged (API
# reference, the batch output object).
_NOT_EXECUTED = frozenset(("batch_expired", "batch_cancelled"))


class _File(msgspec.Struct):
    id: object = None


class _Batch(msgspec.Struct):
    # None of them is worth a paid batch, so their types are looked at when they
    # are read.
    id: object = None
    status: object = None
    output_file_id: object = None
    error_file_id: object = None
    request_counts: object = None
    errors: object = None


class _LineResponse(msgspec.Struct):
    status_code: object = None
    request_id: object = None
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: str
    response: _LineResponse | None = None
    error: object = None


_decode_file = msgspec.json.Decoder(_File).decode
_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_line = msgspec.json.Decoder(_Line).decode


class _Wire(NamedTuple):
    """Builder and reader of a synchronous generation."""

    body: Callable[[Call], Mapping[str, JsonValue]]
    read: Callable[[HttpResponse], Exchange]


def batch_api(
    body: Callable[[Call], Mapping[str, JsonValue]], read: Callable[[HttpResponse], Exchange]
) -> BatchApi:
    """Return the batch API for the body of a synchronous generation and the
    reader of its reply.
    """
    wire = _Wire(body, read)
    return as_batch_api(partial(_submit, wire), partial(_collect, wire))


def _submit(
    wire: _Wire, calls: Sequence[Call]
) -> Generator[Step, HttpResponse | bytes | None, JobAccepted]:
    lines = encode_requests(
        (_request(wire, position, call) for position, call in enumerate(calls)), _NAME
    )
    file = FormFile("file", lines, "application/jsonl", "requests.jsonl")
    upload = form_request("files", [("purpose", "batch")], [file])
    # A file is free, and an unused one expires.
    response = yield from send(msgspec.structs.replace(upload, repeatable=True))
    if response.status != 200:
        error = refusal(response, _NAME)
        error.billed = "no"
        raise error
    file_id = decode(_decode_file, response, _NAME, billed="no").id
    if not isinstance(file_id, str) or not file_id:
        raise ProviderError(f"{_NAME} took the file of requests and gives it no id.")
    order: dict[str, JsonValue] = {
        "input_file_id": file_id,
        "endpoint": _ENDPOINT,
        "completion_window": "24h",
    }
    response = yield from send(json_request("batches", order))
    if response.status != 200:
        raise refusal(response, _NAME)
    batch_id = decode(_decode_batch, response, _NAME).id
    if not isinstance(batch_id, str) or not batch_id:
        raise ProviderError(
            f"{_NAME} took the batch and gives it no id; it may be billed.", billed="unknown"
        )
    return JobAccepted(job_id=batch_id, poll_url=f"batches/{quote(batch_id, safe='')}")


def _request(wire: _Wire, position: int, call: Call) -> dict[str, JsonValue]:
    # A batch has no previews, and a line of it cannot be a stream.
    unseen = msgspec.structs.replace(
        call, request=msgspec.structs.replace(call.request, previews=0)
    )
    return {
        "custom_id": str(position),
        "method": "POST",
        "url": _ENDPOINT,
        "body": dict(wire.body(unseen)),
    }


def _collect(wire: _Wire, calls: Sequence[Call], accepted: JobAccepted) -> BatchExchange:
    """Wait for a batch and deliver its results in the order of its files."""
    # Requests executed before the batch stops are charged.
    yield Cancellable(request=HttpRequest(method="POST", url=f"{accepted.poll_url}/cancel"))
    batch = yield from await_end(patient_call(calls[0]), patient_job(accepted, _NAME), _read_batch)
    results = Results(calls, accepted, _NAME, partial(_read_line, wire))
    for file_id in (batch.output_file_id, batch.error_file_id):
        if isinstance(file_id, str) and file_id:
            yield from results.deliver_file(f"files/{quote(file_id, safe='')}/content")
    yield from results.deliver_missing(partial(_explain_missing, batch, accepted))


def _read_batch(response: HttpResponse, early: bool) -> Ended[_Batch] | tuple[Progress] | None:
    try:
        batch = decode_json(_decode_batch, response.body) if response.status == 200 else _Batch()
    except MALFORMED:
        return None
    status = one_line(batch.status)
    if status in _ENDED:
        return Ended(batch)
    return (_progress(batch, status),) if status else None


def _progress(batch: _Batch, status: str) -> Progress:
    counts = batch.request_counts if isinstance(batch.request_counts, dict) else {}
    total, done, failed = (counts.get(name) for name in ("total", "completed", "failed"))
    if not (
        isinstance(total, int)
        and isinstance(done, int)
        and isinstance(failed, int)
        and 0 < done + failed <= total
    ):
        return Progress(note=status)
    return Progress(fraction=(done + failed) / total, note=f"{status}: {done + failed} of {total}")


def _read_line(wire: _Wire, line: bytes) -> tuple[str, Exchange] | None:
    try:
        parsed = decode_json(_decode_line, line)
    except MALFORMED:
        return None
    return parsed.custom_id, _read_result(wire, parsed)


def _read_result(wire: _Wire, line: _Line) -> Exchange:
    """Read a line: the reply of a single request, or the reason why it was not
    executed.
    """
    if line.response is None:
        raise _not_executed(line.error if isinstance(line.error, dict) else {})
    status, request_id = line.response.status_code, one_line(line.response.request_id)
    response = HttpResponse(
        status=status if isinstance(status, int) else 0,
        headers={"x-request-id": request_id} if request_id else {},
        body=bytes(line.response.body),
    )
    return (yield from wire.read(response))


def _not_executed(error: Mapping[str, object]) -> ImagenError:
    code, said = (
        one_line(error.get("code")),
        one_line(error.get("message")) or "It gives no reason.",
    )
    free = code in _NOT_EXECUTED
    return ProviderError(
        f"{_NAME} did not finish this request of the batch: {said}"
        + ("" if free else " It may be billed."),
        billed="no" if free else "unknown",
        details={"code": code} if code else {},
    )


def _explain_missing(batch: _Batch, accepted: JobAccepted, position: int) -> ImagenError:
    if batch.status == "failed":
        return _invalid(batch, position)
    return OutcomeUnknownError(
        f"{_NAME}'s batch {accepted.job_id} ended ({one_line(batch.status)}) without a word on this"
        " request; it may be billed.",
        details={"job_id": accepted.job_id},
    )


def _invalid(batch: _Batch, position: int) -> ImagenError:
    """Return the error of a batch whose file is invalid: nothing was executed."""
    data = batch.errors.get("data") if isinstance(batch.errors, dict) else None
    errors = [error for error in data if isinstance(error, dict)] if isinstance(data, list) else []
    own = [error for error in errors if error.get("line") == position + 1]
    error = next(iter(own or errors), {"message": "The batch is not valid."})
    fields = {name: one_line(error.get(name)) for name in ("message", "code", "param")}
    # The same codes as those of a single request, so that they mean the same to
    # the caller.
    found = refusal(HttpResponse(status=400, body=msgspec.json.encode({"error": fields})), _NAME)
    found.billed = "no"
    return found
