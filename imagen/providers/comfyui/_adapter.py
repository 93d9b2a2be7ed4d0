"""ComfyUI: a self-hosted engine that runs a graph of nodes.

The id of a job is chosen here and stored before the graph is sent, so that
another process can find it even if the reply was lost. A WebSocket reports the
progress (with `imagen-trio[comfyui]`); without one it is polled.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Generator, Mapping
from functools import partial
from typing import Annotated
from urllib.parse import quote, urlencode

import msgspec

from ..._errors import (
    AuthenticationError,
    ConfigurationError,
    ImagenError,
    InvalidRequestError,
    OutcomeUnknownError,
    ProviderError,
)
from ..._requests.catalog import JsonValue
from ..._requests.request import Enhance, Vary
from ..._requests.translation import Adjustment
from .._provider import Call, EncodedImage, ListedModel, ModelListing, Provider
from .._replies.decoding import MALFORMED, decode, decode_json, one_line, outage, trace
from .._steps import (
    Cancellable,
    Compute,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    LostImage,
    PartialImage,
    Progress,
    ReadChunk,
    Step,
    Wait,
)
from .._wire.http import FormFile, form_request, json_request, leave_out, send
from .._wire.masks import transparent_image, white_mask
from .._wire.self_hosted import (
    checkpoint_of,
    fitted_size,
    keep_free,
    number_setting,
    runs_out_of_memory,
)
from ._graphs import (
    Drawing,
    Graph,
    draw_graph,
    enlarge_graph,
    fill_slots,
    find_slots,
    load_workflow,
    read_graph,
)
from ._socket import Preview, SocketReader, open_connection, socket_request

__all__ = ["PROVIDER", "collect", "draw", "enhance", "list_models"]

_NAME = "ComfyUI"
_LONGEST_JOB_SECONDS = 3600.0
# No engine sends as many; after that the job is polled.
_MOST_CHUNKS = 200_000
# A server that was started anew has forgotten the job.
_MOST_MISSES = 5
_MOST_BAD_ANSWERS = 10
_DENOISE_VARIED, _DENOISE_EDITED = 0.6, 0.75
_LIST_SECONDS = 30.0
# Fields of the request, beside the graph.
_ORDER_OPTIONS = ("extra_data", "front", "number")
# Our key in the extra data of a request, which the server keeps in its history.
_NOTE = "imagen"
_SAMPLER_OPTIONS = ("sampler_name", "scheduler", "denoise")


# --- operations ---------------------------------------------------------------


def draw(call: Call) -> Exchange:
    """Text to image, or an image drawn again: with the built-in graph, or with
    the user's workflow.
    """
    workflow = call.model.wire.get("workflow")
    if isinstance(workflow, str):
        return (yield from _draw_workflow(call, workflow))
    adjustments: tuple[Adjustment, ...] = ()
    if call.mask is not None:
        call, adjustments = leave_out(call, "size", reason="an image with a mask keeps its size")
    request = call.request
    known = (*_ORDER_OPTIONS, *_SAMPLER_OPTIONS)
    if unknown := request.options.keys() - set(known):
        raise InvalidRequestError(
            f"The built-in graph has no {min(unknown)}: options may hold {', '.join(known)}."
        )
    image = (yield from _upload_source(call)) if call.images else None
    source = call.images[0] if call.images else None
    drawing = Drawing(
        checkpoint=checkpoint_of(call.model) or (yield from _first_of("checkpoints")),
        prompt=request.prompt,
        negative_prompt=request.negative_prompt or "",
        seed=request.seed if request.seed is not None else secrets.randbelow(2**31),
        steps=int(_choice(call, request.steps, "steps")),
        guidance=float(_choice(call, request.guidance, "guidance")),
        sampler=str(_choice(call, request.options.get("sampler_name"), "sampler")),
        scheduler=str(_choice(call, request.options.get("scheduler"), "scheduler")),
        count=call.count,
        denoise=_denoise(call),
        size=fitted_size(request, source) if source is None or request.size is not None else None,
        image=image,
        masked=call.mask is not None,
    )
    return (
        yield from _run(
            call, draw_graph(drawing), _Note(seed=drawing.seed, adjustments=adjustments)
        )
    )


def enhance(call: Call) -> Exchange:
    """Enlarge the image by an upscale model."""
    if isinstance(workflow := call.model.wire.get("workflow"), str):
        return (yield from _draw_workflow(call, workflow))
    fields = ("prompt", "size", "negative_prompt", "guidance", "steps")
    call, adjustments = leave_out(
        call, *fields, reason="an upscaler takes no more than an image and a scale"
    )
    request = call.request
    assert isinstance(request, Enhance)
    if unknown := request.options.keys() - {"upscaler", *_ORDER_OPTIONS}:
        raise InvalidRequestError(
            f"The built-in graph has no {min(unknown)}: options may hold upscaler."
        )
    upscaler = request.options.get("upscaler") or call.model.wire.get("upscaler")
    source = call.images[0]
    size = None
    if request.scale is not None:
        size = round(source.width * request.scale), round(source.height * request.scale)
    image = yield from _upload(source)
    upscaler = str(upscaler) if upscaler else (yield from _first_of("upscale_models"))
    return (
        yield from _run(call, enlarge_graph(image, upscaler, size), _Note(adjustments=adjustments))
    )


def list_models() -> ModelListing:
    """The checkpoints in the engine's folder."""
    return tuple(ListedModel(wire_name=name) for name in (yield from _list("checkpoints")))


def _choice(call: Call, asked: JsonValue, name: str) -> str | float:
    """Return the value of the request, the catalog entry, or the setting."""
    default = PROVIDER.settings[name]
    said = (asked, call.model.wire.get(name), call.settings.get(name, default))
    value = next(value for value in said if value is not None)
    is_name = isinstance(default, str)
    if isinstance(value, bool) or not isinstance(value, str if is_name else (int, float)):
        raise InvalidRequestError(f"{name} must be {'a name' if is_name else 'a number'}.")
    assert isinstance(value, (str, int, float))
    return value


def _denoise(call: Call) -> float:
    """Return how much of an image is redrawn, from 0 to 1; a masked area is
    redrawn wholly.
    """
    request, own = call.request, call.request.options.get("denoise")
    if isinstance(own, (int, float)) and not isinstance(own, bool):
        return float(own)
    if not call.images or call.mask is not None:
        return 1.0
    if isinstance(request, Vary):
        return _DENOISE_VARIED if request.strength is None else request.strength
    return _DENOISE_EDITED


# --- the user's workflow ------------------------------------------------------


def _draw_workflow(call: Call, path: str) -> Exchange:
    data = yield Compute(call=partial(load_workflow, path), repeatable=True)
    assert isinstance(data, bytes)
    graph = read_graph(data, path)
    slots = find_slots(graph)
    call, adjustments = _leave_without_slots(call, slots)
    if call.count > 1 and "count" not in slots:
        raise InvalidRequestError(
            f"The workflow {path} has no slot {{{{count}}}}: ask for one image at a time, without"
            " together."
        )
    values = _slot_values(call)
    # Checked before anything is uploaded.
    fill_slots(graph, {**values, **dict.fromkeys(_image_slots(call), "")})
    values |= yield from _upload_for(call, slots)
    seed = values["seed"] if "seed" in slots else None
    note = _Note(seed=seed if isinstance(seed, int) else None, adjustments=adjustments)
    return (yield from _run(call, fill_slots(graph, values), note))


def _slot_values(call: Call) -> dict[str, JsonValue]:
    request = call.request
    width, height = fitted_size(request, call.images[0] if call.images else None)
    scale = request.scale if isinstance(request, Enhance) else None
    options = {name: value for name, value in request.options.items() if name not in _ORDER_OPTIONS}
    return {
        **options,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt or "",
        "seed": request.seed if request.seed is not None else secrets.randbelow(2**31),
        "width": width,
        "height": height,
        "steps": int(_choice(call, request.steps, "steps")),
        "guidance": float(_choice(call, request.guidance, "guidance")),
        "strength": _denoise(call),
        "count": call.count,
        "scale": 2.0 if scale is None else scale,
    }


def _image_slots(call: Call) -> dict[str, EncodedImage]:
    """The images by the names of their slots."""
    images = (*call.images, *call.references)
    named = {
        "image" if place == 1 else f"image_{place}": source
        for place, source in enumerate(images, 1)
    }
    return named if call.mask is None else {**named, "mask": call.mask}


def _upload_for(
    call: Call, slots: set[str]
) -> Generator[Step, HttpResponse | bytes | None, dict[str, JsonValue]]:
    """The names of the uploaded images that the workflow has slots for."""
    names: dict[str, JsonValue] = {}
    for name, source in _image_slots(call).items():
        if name == "mask":
            if "mask" in slots:
                data = yield Compute(call=partial(white_mask, source), repeatable=True)
                assert isinstance(data, bytes)
                names[name] = yield from _upload_bytes(data, "image/png")
        elif name == "image" and "mask" not in slots:
            names[name] = yield from _upload_source(call) if call.images else _upload(source)
        else:
            names[name] = yield from _upload(source)
    return names


def _leave_without_slots(call: Call, slots: set[str]) -> tuple[Call, tuple[Adjustment, ...]]:
    """Return the call without fields that have no slot in the workflow; an
    input image without a slot is refused.
    """
    images = _image_slots(call)
    if lost := [name for name in images if name != "mask" and name not in slots]:
        raise InvalidRequestError(
            f"The workflow has no slot {{{{{lost[0]}}}}} for an image that was given."
        )
    unknown = call.request.options.keys() - slots - {*_ORDER_OPTIONS}
    if unknown:
        raise InvalidRequestError(
            f"The workflow has no slot {{{{{min(unknown)}}}}} for what is in options."
        )
    fields = [
        name
        for name in ("prompt", "negative_prompt", "steps", "guidance", "strength", "scale")
        if name not in slots
    ]
    if not slots & {"width", "height"}:
        fields.append("size")
    return leave_out(call, *fields, reason="its workflow has no slot for it")


# --- images to work on --------------------------------------------------------


class _Uploaded(msgspec.Struct):
    name: str
    subfolder: str = ""


_decode_uploaded = msgspec.json.Decoder(_Uploaded).decode


def _upload_source(call: Call) -> Generator[Step, HttpResponse | bytes | None, str]:
    """Upload the first image, transparent where it changes."""
    source = call.images[0]
    if call.mask is None:
        return (yield from _upload(source))
    data = yield Compute(call=partial(transparent_image, source, call.mask), repeatable=True)
    assert isinstance(data, bytes)
    return (yield from _upload_bytes(data, "image/png"))


def _upload(source: EncodedImage) -> Generator[Step, HttpResponse | bytes | None, str]:
    return (yield from _upload_bytes(source.data, source.media_type))


def _upload_bytes(
    data: bytes, media_type: str
) -> Generator[Step, HttpResponse | bytes | None, str]:
    """Upload an image under a name made of its hash, so that it can be
    repeated; return the name for a node.
    """
    ending = media_type.rpartition("/")[2]
    name = f"imagen-{hashlib.sha256(data).hexdigest()[:24]}.{ending}"
    form = form_request(
        "upload/image",
        [("type", "input"), ("overwrite", "true")],
        [FormFile("image", data, media_type, name)],
    )
    response = yield from send(msgspec.structs.replace(form, repeatable=True))
    if response.status != 200:
        raise _refusal(response)
    uploaded = decode(_decode_uploaded, response, _NAME, billed="no")
    return f"{uploaded.subfolder}/{uploaded.name}" if uploaded.subfolder else uploaded.name


def _list(folder: str) -> Generator[Step, HttpResponse | bytes | None, list[str]]:
    """The names of the files in a folder of models."""
    url = f"models/{folder}"
    response = yield from send(
        HttpRequest(method="GET", url=url, repeatable=True, cache_seconds=_LIST_SECONDS)
    )
    if response.status != 200:
        raise _refusal(response)
    return [
        name for name in decode(_decode_list, response, _NAME, billed="no") if isinstance(name, str)
    ]


_decode_list = msgspec.json.Decoder(list[object]).decode


def _first_of(folder: str) -> Generator[Step, HttpResponse | bytes | None, str]:
    names = yield from _list(folder)
    if not names:
        raise ConfigurationError(
            f"{_NAME} has no model in its folder models/{folder}: put one there."
        )
    return names[0]


# --- the life of a job --------------------------------------------------------


class _Answered(msgspec.Struct):
    prompt_id: object = None


class _Past(msgspec.Struct):
    prompt: object = None
    outputs: object = None
    status: object = None


class _Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """Facts of a request that its images lack; they are stored with the job for
    the process that collects it.
    """

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    adjustments: tuple[Adjustment, ...] = ()


_decode_answered = msgspec.json.Decoder(_Answered).decode
# Other entries of a history are not this job's, whatever they are.
_decode_history = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_past = msgspec.json.Decoder(_Past).decode
_decode_queue = msgspec.json.Decoder(dict[str, object]).decode


class _Job:
    """A job as this exchange knows it."""

    def __init__(self, call: Call, id: str) -> None:
        self.id = id
        self.client_id = uuid.uuid4().hex
        self.has_arrived = False
        self.runs = False
        self._previews = call.request.previews
        self._shown = 0

    @property
    def url(self) -> str:
        return f"history/{quote(self.id, safe='')}"

    def accepted(self) -> JobAccepted:
        return JobAccepted(job_id=self.id, poll_url=self.url)

    def cancellable(self) -> Cancellable:
        """A job that waits is taken out of the queue; one that runs is
        interrupted, and no other.
        """
        if self.runs:
            return Cancellable(
                request=json_request("interrupt", {"prompt_id": self.id}), stops_bill=True
            )
        return Cancellable(request=json_request("queue", {"delete": [self.id]}), stops_bill=True)

    def show(self, preview: Preview) -> PartialImage | None:
        """Return the preview as a step, up to the number of previews."""
        if self._shown >= self._previews:
            return None
        self._shown += 1
        return PartialImage(data=preview.data, number=self._shown - 1)


def _run(call: Call, graph: Graph, note: _Note) -> Exchange:
    job = _Job(call, str(uuid.uuid4()))
    reader = yield from _listen(call, job)
    # Before it is sent: a lost reply can then be looked up.
    yield job.accepted()
    yield job.cancellable()
    options = {
        name: call.request.options[name] for name in _ORDER_OPTIONS if name in call.request.options
    }
    extra = options.get("extra_data", {})
    if isinstance(extra, dict):
        options["extra_data"] = {**extra, _NOTE: msgspec.to_builtins(note)}
    order = {"prompt": graph, "client_id": job.client_id, "prompt_id": job.id}
    response = yield from send(json_request("prompt", {**order, **options}))
    if response.status != 200:
        raise _refusal(response)
    job.has_arrived = True
    told = decode(_decode_answered, response, _NAME, billed="no").prompt_id
    if isinstance(told, str) and told and told != job.id:
        # An older server chooses the id itself, and sends it on the socket.
        job.id = told
        reader = None if reader is None else reader.of(told)
        yield job.cancellable()
    yield job.accepted()
    past = yield from _await_end(call, job, reader)
    return (yield from _collect(job, past, note))


def collect(call: Call, accepted: JobAccepted) -> Exchange:
    """Looks for a job, which may never have arrived, waits for its end and
    fetches its images.
    """
    return (yield from keep_free(partial(_pick_up, accepted), call))


def _pick_up(accepted: JobAccepted, call: Call) -> Exchange:
    job = _Job(call, accepted.job_id)
    yield job.cancellable()
    past = yield from _await_end(call, job, None)
    return (yield from _collect(job, past, _read_note(past)))


def _read_note(past: _Past) -> _Note:
    """Read the note of a stored request: number, id, graph, extra data,
    outputs.
    """
    ordered = past.prompt
    extra = ordered[3] if isinstance(ordered, list) and len(ordered) > 3 else None
    try:
        return msgspec.convert(extra.get(_NOTE) if isinstance(extra, dict) else {}, _Note)
    except msgspec.ValidationError:
        return _Note()


def _listen(
    call: Call, job: _Job
) -> Generator[Step, HttpResponse | bytes | None, SocketReader | None]:
    connection = open_connection() if call.settings.get("socket") is not False else None
    if connection is None:
        return None
    response = yield from send(socket_request(job.client_id))
    return SocketReader(connection, job.id) if response.status == 101 else None


def _await_end(
    call: Call, job: _Job, reader: SocketReader | None
) -> Generator[Step, HttpResponse | bytes | None, _Past]:
    """Listen, and poll in silence; without a socket only poll."""
    pause = number_setting(call, "poll_seconds", 1.0)
    silence = number_setting(call, "silence_seconds", 10.0)
    waited, chunks, looks = 0.0, 0, _Looks()
    while waited < _LONGEST_JOB_SECONDS:
        if reader is not None and reader.is_open and chunks < _MOST_CHUNKS:
            chunk = yield ReadChunk(wait_seconds=silence)
            assert chunk is None or isinstance(chunk, bytes)
            chunks += 1
            if chunk is None:
                waited += silence
            elif (yield from _hear(job, reader, chunk)):
                reader = None
            elif reader.is_open:
                continue
        elif looks.number:
            yield Wait(seconds=pause, job_id=job.id)
            waited += pause
        past = yield from _look(job, looks)
        if past is not None:
            return past
    raise OutcomeUnknownError(
        f"{_NAME} took the job {job.id} and did not say within {waited:g} seconds that it ended.",
        details={"job_id": job.id},
    )


def _hear(
    job: _Job, reader: SocketReader, chunk: bytes
) -> Generator[Step, HttpResponse | bytes | None, bool]:
    """Show what the socket sends, and return True if the job has ended."""
    ended = False
    for told in reader.read(chunk):
        match told:
            case Progress():
                yield told
            case Preview():
                if (partial_step := job.show(told)) is not None:
                    yield partial_step
            case "begun":
                job.runs = True
                yield job.cancellable()
            case "ended":
                ended = True
    return ended


class _Looks(msgspec.Struct):
    """Failed polls in a row."""

    number: int = 0
    misses: int = 0
    bad_answers: int = 0


def _look(job: _Job, looks: _Looks) -> Generator[Step, HttpResponse | bytes | None, _Past | None]:
    """Return the job from the history, or its place in the queue."""
    looks.number += 1
    response = yield from send(HttpRequest(method="GET", url=job.url, repeatable=True))
    history = _read_history(response)
    if history is not None and (past := _read_past(history.get(job.id))) is not None:
        return past
    place = None
    if history is not None:
        queue = yield from send(HttpRequest(method="GET", url="queue", repeatable=True))
        place = _place_in_queue(queue, job.id)
    if place is None:
        looks.bad_answers += 1
        if looks.bad_answers >= _MOST_BAD_ANSWERS:
            raise OutcomeUnknownError(
                f"{_NAME} took the job {job.id} and says nothing more of it.",
                details={"job_id": job.id},
            )
        return None
    looks.bad_answers = 0
    looks.misses = looks.misses + 1 if place < 0 else 0
    job.has_arrived = job.has_arrived or place >= 0
    if looks.misses >= _MOST_MISSES:
        never = "it never arrived there, or the server was started anew since then."
        gone = "it was taken out of the queue, or the server was started anew."
        text = f"{_NAME} does not know the job {job.id}: {gone if job.has_arrived else never}"
        raise ProviderError(text, details={"job_id": job.id})
    if place == 0 and not job.runs:
        job.runs = True
        yield job.cancellable()
    if place >= 0:
        yield Progress(note=f"number {place} in the queue" if place else "drawing")
    return None


def _read_past(entry: msgspec.Raw | None) -> _Past | None:
    try:
        return None if entry is None else decode_json(_decode_past, bytes(entry))
    except MALFORMED:
        return None


def _read_history(response: HttpResponse) -> Mapping[str, msgspec.Raw] | None:
    if response.status != 200:
        return None
    try:
        return decode_json(_decode_history, response.body)
    except MALFORMED:
        return None


def _place_in_queue(response: HttpResponse, job_id: str) -> int | None:
    """Return 0 for a running job, 1 for the next, and so on; -1 if it is
    absent, None if unreadable.
    """
    try:
        queue = decode_json(_decode_queue, response.body) if response.status == 200 else {}
    except MALFORMED:
        return None
    running, pending = queue.get("queue_running"), queue.get("queue_pending")
    if not isinstance(running, list) or not isinstance(pending, list):
        return None
    if any(_is_job(item, job_id) for item in running):
        return 0
    waiting = sorted((item for item in pending if isinstance(item, list) and item), key=_number_of)
    return next((place for place, item in enumerate(waiting, 1) if _is_job(item, job_id)), -1)


def _number_of(item: list[object]) -> float:
    return float(item[0]) if isinstance(item[0], (int, float)) and abs(item[0]) < 2**53 else 0.0


def _is_job(item: object, job_id: str) -> bool:
    return isinstance(item, list) and len(item) > 1 and item[1] == job_id


# --- the images ---------------------------------------------------------------


def _collect(job: _Job, past: _Past, note: _Note) -> Exchange:
    """Fetch the saved files of the nodes; previews count only if nothing was
    saved.
    """
    status = past.status if isinstance(past.status, dict) else {}
    if status.get("status_str") == "error":
        raise _failure(status, job)
    files = list(_files(past.outputs))
    saved = [file for file in files if file["type"] == "output"] or [
        file for file in files if file["type"] == "temp"
    ]
    images: list[GeneratedImage | LostImage] = []
    for place, file in enumerate(saved):
        url = f"view?{urlencode(file)}"
        response = yield from send(
            HttpRequest(method="GET", url=url, repeatable=True, collects=True)
        )
        if response.status == 200:
            own = note.seed if place == 0 else None
            images.append(
                GeneratedImage(data=response.body, seed=own, provider_id=f"{job.id}#{place + 1}")
            )
        else:
            images.append(
                LostImage(
                    reason=(
                        f"{_NAME} answers {response.status} for its file"
                        f" {one_line(file['filename'])}."
                    )
                )
            )
    if not any(isinstance(source, GeneratedImage) for source in images):
        raise ProviderError(
            f"{_NAME} finished the job {job.id} without an image: its graph needs a node that saves"
            " one.",
            details={"job_id": job.id},
        )
    return GeneratedImages(images=tuple(images), adjustments=note.adjustments)


def _files(outputs: object) -> Generator[dict[str, str]]:
    """Return the files of all nodes in their order."""
    for output in outputs.values() if isinstance(outputs, dict) else ():
        images = output.get("images") if isinstance(output, dict) else None
        for image in images if isinstance(images, list) else ():
            if isinstance(image, dict) and isinstance(image.get("filename"), str):
                told = {name: image.get(name) for name in ("filename", "subfolder", "type")}
                yield {
                    name: value if isinstance(value, str) else "" for name, value in told.items()
                }


# --- errors -------------------------------------------------------------------


def _failure(status: Mapping[str, object], job: _Job) -> ImagenError:
    """The error of a job that ended without its images."""
    details = {"job_id": job.id}
    messages = status.get("messages")
    for message in reversed(messages) if isinstance(messages, list) else ():
        if not isinstance(message, list) or len(message) < 2 or not isinstance(message[1], dict):
            continue
        told = message[1]
        if message[0] == "execution_interrupted":
            return ProviderError(f"The job was interrupted at {_NAME}.", details=details)
        if message[0] == "execution_error":
            kind, text = (
                one_line(told.get("exception_type")),
                one_line(told.get("exception_message")),
            )
            where = one_line(told.get("node_type"))
            said = f"{_NAME} failed in {where or 'a node'}: {kind}: {text.rstrip('.')}."
            hint = " Ask for a smaller size." if runs_out_of_memory(kind, text) else ""
            return ProviderError(
                said + hint, details={**details, "exception_type": kind, "node_type": where}
            )
    return ProviderError(f"{_NAME} failed at the job and does not say why.", details=details)


def _refusal(response: HttpResponse) -> ImagenError:
    """Return the error of a reply other than 200. Nothing was drawn."""
    kind, said = _complaint(response)
    details = trace(response) | ({"type": kind} if kind else {})
    match response.status:
        case 401 | 403:
            return AuthenticationError(
                f"{_NAME}, or a proxy before it, refuses access. {said}", details=details
            )
        case 404:
            return ProviderError(f"There is no {_NAME} at COMFYUI_URL. {said}", details=details)
        case 500:
            return ProviderError(f"{_NAME} failed at the request. {said}", details=details)
        case status if status > 500 or status in (408, 429):
            return outage(response, _NAME, said, details)
        case status if status >= 400:
            return InvalidRequestError(
                f"{_NAME} does not take this. {said}", code="INVALID_PROMPT", details=details
            )
        case _:
            return ProviderError(
                f"{_NAME} answered {response.status}; check COMFYUI_URL.", details=details
            )


def _complaint(response: HttpResponse) -> tuple[str, str]:
    """Return the type of an error, and its text for the request and each node."""
    try:
        body: object = decode_json(msgspec.json.decode, response.body)
    except MALFORMED:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    node_errors = body.get("node_errors") if isinstance(body, dict) else None
    texts = (
        [one_line(error.get("message")), one_line(error.get("details"))]
        if isinstance(error, dict)
        else [one_line(error)]
    )
    for node in node_errors.values() if isinstance(node_errors, dict) else ():
        errors = node.get("errors") if isinstance(node, dict) else None
        for item in errors if isinstance(errors, list) else ():
            if isinstance(item, dict):
                words = f"{one_line(item.get('message'))} ({one_line(item.get('details'))})"
                texts.append(f"{one_line(node.get('class_type'))}: {words}")
    text = one_line("; ".join(filter(None, texts)))
    return (one_line(error.get("type")) if isinstance(error, dict) else ""), (
        f"It says: {text.rstrip('.')}." if text else ""
    )


PROVIDER = Provider(
    name="comfyui",
    operations={
        "generate": partial(keep_free, draw),
        "edit": partial(keep_free, draw),
        "vary": partial(keep_free, draw),
        "enhance": partial(keep_free, enhance),
    },
    collect=collect,
    list_models=list_models,
    base_url="http://127.0.0.1:8188",
    base_url_variable="COMFYUI_URL",
    key_required=False,
    optional=True,
    probe_url="system_stats",
    home_page="github.com/comfyanonymous/ComfyUI",
    settings={
        # Whether progress is listened for on a WebSocket, where wsproto is
        # installed.
        "socket": True,
        # Seconds of silence after which the job is polled; without a socket it
        # is poll_seconds.
        "silence_seconds": 10.0,
        "poll_seconds": 1.0,
        # Defaults of the built-in graph.
        "steps": 20,
        "guidance": 7.0,
        "sampler": "euler",
        "scheduler": "normal",
    },
)
