"""Midjourney through a proxy: the routes of midjourney-proxy, which many
servers and gateways serve.

Midjourney has no official API, and automating an account is against its terms:
accounts are banned for it. So this provider is off until MIDJOURNEY_BASE_URL
names a server of the user's choice, and the cost is between those two. A
gateway that wants `Authorization: Bearer` is the provider `midjourney_gateway`.

A request makes a grid of two by two images, which is cut into four: all are
paid, so all are kept. Its parameters are flags in the prompt (`--ar 16:9`);
flags of the caller come first.
"""

from __future__ import annotations

import io
import re
from collections.abc import Generator, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import msgspec
import pybase64

from ..._errors import ImagenError, InvalidRequestError, ProviderError
from ..._requests.catalog import JsonValue
from ..._requests.request import Edit, Enhance, Generate, Restyle, Vary
from ..._requests.translation import Adjustment
from ...metadata._image_header import read_image_header
from .._provider import Call, EncodedImage, Provider
from .._replies.decoding import download, one_line, outage, trace
from .._steps import (
    Cancellable,
    Compute,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    PartialImage,
    Progress,
    Step,
)
from .._wire.http import as_data_url, json_request, leave_out, send
from .._wire.masks import black_mask, transparent_mask, white_mask
from .._wire.polling import Ended, Job, await_end
from ._prompts import Words, refuse_repeats, with_options
from ._replies import (
    NAME,
    Submitted,
    Task,
    code_of,
    failure,
    forgotten,
    read_fraction,
    read_submitted,
    read_task,
    refusal,
    state_of,
    text_of,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PROVIDERS", "collect", "edit", "enhance", "generate", "restyle", "vary"]

# In relax mode an image may wait for an hour before it is drawn.
_LONGEST_JOB_SECONDS = 7200.0
_MOST_EMPTY_ANSWERS = 10
# The state of a task that waits for words or a mask.
_ASKS = "modal"
# Marks the second task of a request, in the part of an address that is never
# sent: a collecting process then knows that nothing is missing.
_LAST = "#last"
_LARGEST_IMAGE_WEIGHT = 3.0
# A grid has 4 megapixels, or 16 after upscaling; a larger claim is not opened.
_MOST_GRID_PIXELS = 1 << 26
_VARIATION = "another image like this one"
_BY_BUTTON = "a button takes no more words"


# --- operations ---------------------------------------------------------------


def generate(call: Call) -> Exchange:
    """Text to four images; references are image prompts."""
    return (yield from _imagine(call, _words(call), call.references))


def vary(call: Call) -> Exchange:
    """Four variations: of image `index` of the grid `task_id` in options, or of
    any image as an image prompt.
    """
    if (origin := _read_origin(call)) is not None:
        return (yield from _vary_again(call, *origin))
    return (yield from _imagine(call, _words(call), call.images))


def _vary_again(call: Call, origin_id: str, index: int | None) -> Exchange:
    """The button of a grid. Only in remix mode does the server ask for words."""
    if index is None:
        raise InvalidRequestError(
            "A variation of a grid needs `index` in options: which image of it, from 1 to 4."
        )
    refuse_repeats(call, call.request.prompt)
    # Raises for a strict request, while nothing has been ordered.
    _left_by_button(call)
    task = yield from _fetch(origin_id)
    task_id = yield from _press(call, task, origin_id, "variation", index)
    return (
        yield from _finish_asked(
            call, task_id, {"prompt": call.request.prompt or text_of(task.prompt)}
        )
    )


def enhance(call: Call) -> Exchange:
    """Select image `index` of the grid `task_id`, and enlarge it twice if a
    mode is given.
    """
    request = call.request
    assert isinstance(request, Enhance)
    origin_id, index = _read_origin(call) or (None, None)
    if origin_id is None:
        raise InvalidRequestError(
            "Midjourney enlarges only what it has made: name the task in options, with `task_id`,"
            " and with `index` the image of its grid, from 1 to 4."
        )
    if index is None and request.mode is None:
        raise InvalidRequestError(
            "Name the image of the grid by `index` in options, or a mode for a single image."
        )
    # Raises for a strict request, while nothing has been ordered.
    _left_by_button(call)
    task = yield from _fetch(origin_id)
    if index is None:
        task_id, task = yield from _enlarge(call, task, origin_id)
        return (yield from _hand_over(call, task, task_id))
    task_id = yield from _press(call, task, origin_id, "upsample", index)
    task = yield from _await_image(call, task_id)
    if request.mode is None:
        return (yield from _hand_over(call, task, task_id))
    try:
        larger_id, larger = yield from _enlarge(call, task, task_id)
    except ImagenError as error:
        # The image itself is made and paid: it is returned unchanged.
        lacks = (Adjustment(field="mode", asked=request.mode, sent=None, reason=error.message),)
        return (yield from _hand_over(call, task, task_id, lacks=lacks))
    return (yield from _hand_over(call, larger, larger_id))


def _enlarge(
    call: Call, task: Task, task_id: str
) -> Generator[Step, HttpResponse | bytes | None, tuple[str, Task]]:
    """Press the button that doubles a single image."""
    assert isinstance(call.request, Enhance)
    mode = str(call.request.mode)
    custom_id = _find_button(task, label={"conservative": "subtle"}.get(mode, mode))
    if custom_id is None:
        raise InvalidRequestError(f"The task {task_id} offers no enlargement of the kind {mode!r}.")
    fields: dict[str, JsonValue] = {"taskId": task_id, "customId": custom_id}
    larger_id = yield from _submit("action", with_options(call, fields), last=True)
    return larger_id, (yield from _await_image(call, larger_id))


def edit(call: Call) -> Exchange:
    """An image in the editor of the website, which only some servers have."""
    words = _words(call)
    asked: dict[str, JsonValue] = {"prompt": words.text}
    if call.mask is not None:
        forms = {"white": white_mask, "black": black_mask, "transparent": transparent_mask}
        form = forms.get(str(call.settings.get("mask")), white_mask)
        data = yield Compute(call=partial(form, call.mask), repeatable=True)
        assert isinstance(data, bytes)
        asked["maskBase64"] = f"data:image/png;base64,{pybase64.b64encode_as_string(data)}"
    task_id = yield from _submit("edits", words.body({"image": as_data_url(call.images[0])}))
    return (yield from _finish_asked(call, task_id, asked))


def restyle(call: Call) -> Exchange:
    """An image drawn again in the look of a reference, which has to lie at an
    address that Midjourney can see.
    """
    words = _words(call)
    images: dict[str, JsonValue] = {"base64Array": [as_data_url(call.references[0])]}
    uploaded = yield from send(
        json_request("mj/submit/upload-discord-images", images, repeatable=True)
    )
    words.add("sref", _read_upload(uploaded))
    if not _retextures(call):
        return (yield from _imagine(call, words, call.images))
    task_id = yield from _submit("retexture", words.body({"image": as_data_url(call.images[0])}))
    return (yield from _finish(call, task_id))


def collect(call: Call, accepted: JobAccepted) -> Exchange:
    """Wait for the end of a task and return its images. Requests that were not
    sent by then are not sent any more.
    """
    task_id, is_last = accepted.job_id, accepted.poll_url.endswith(_LAST)
    task = yield from _await_image(call, task_id, answered=is_last)
    return (yield from _hand_over(call, task, task_id, lacks=() if is_last else _lacks(call)))


def _imagine(call: Call, words: Words, images: tuple[EncodedImage, ...]) -> Exchange:
    fields: dict[str, JsonValue] = (
        {"base64Array": [as_data_url(image) for image in images]} if images else {}
    )
    task_id = yield from _submit("imagine", words.body(fields))
    return (yield from _finish(call, task_id))


def _finish(call: Call, task_id: str) -> Exchange:
    task = yield from _await_image(call, task_id)
    return (yield from _hand_over(call, task, task_id))


def _finish_asked(call: Call, task_id: str, fields: Mapping[str, JsonValue]) -> Exchange:
    """Return the end of a task that may need more input first: then it is sent
    `fields`.
    """
    task = yield from _await_end(call, task_id)
    if state_of(task) != _ASKS:
        return (yield from _hand_over(call, task, task_id, lacks=_lacks(call)))
    task_id = yield from _submit("modal", {"taskId": task_id, **fields}, last=True)
    task = yield from _await_end(call, task_id, answered=True)
    return (yield from _hand_over(call, task, task_id))


# --- what is asked for --------------------------------------------------------


def _words(call: Call) -> Words:
    """Return the prompt of a request that is not a button."""
    request = call.request
    if isinstance(request, Restyle):
        return _restyling_words(call, request)
    if not isinstance(request, Vary):
        return Words(call, request.prompt)
    words = Words(call, request.prompt or _VARIATION)
    if request.strength is not None:
        words.add("iw", _image_weight(request.strength), field="strength")
    return words


def _restyling_words(call: Call, request: Restyle) -> Words:
    adjustments: tuple[Adjustment, ...] = ()
    if _retextures(call):
        call, adjustments = leave_out(call, "strength", reason="a retexture has no strength")
    words = Words(call, request.prompt or "the same image", adjustments)
    if words.has("sref"):
        raise InvalidRequestError(
            "--sref names a style, and so does the reference: leave one of them out."
        )
    if not _retextures(call) and request.strength is not None:
        words.add("iw", _image_weight(request.strength), field="strength")
    return words


def _retextures(call: Call) -> bool:
    return call.settings.get("restyle") == "retexture"


def _image_weight(strength: float) -> str:
    """Return the weight of the image beside the prompt, from 0 to 3: the more
    it may change, the less.
    """
    return f"{_LARGEST_IMAGE_WEIGHT * (1 - strength):g}"


def _left_by_button(call: Call) -> tuple[Adjustment, ...]:
    """Return the adjustments for a pressed button."""
    own = "prompt" if isinstance(call.request, Enhance) else "strength"
    return leave_out(call, own, "aspect_ratio", "quality", "negative_prompt", reason=_BY_BUTTON)[1]


def _lacks(call: Call) -> tuple[Adjustment, ...]:
    """Return the adjustments if the first of two tasks is all there is."""
    match call.request:
        case Vary(prompt=prompt) if prompt and _read_origin(call) is not None:
            field, asked, reason = (
                "prompt",
                prompt,
                "the server did not ask for words, as it does in remix mode",
            )
        case Edit(mask=mask) if (call.mask or mask) is not None:
            field, asked, reason = (
                "mask",
                "a mask",
                "the server drew the image without asking for the mask",
            )
        case Enhance(mode=str() as mode):
            field, asked, reason = (
                "mode",
                mode,
                "who ordered the image was gone before it could be enlarged",
            )
        case _:
            return ()
    return (Adjustment(field=field, asked=asked, sent=None, reason=f"{call.model.id}: {reason}"),)


def _read_origin(call: Call) -> tuple[str, int | None] | None:
    """The task, and the place in its grid, that options name."""
    task_id, index = call.request.options.get("task_id"), call.request.options.get("index")
    if task_id is None and index is None:
        return None
    if isinstance(task_id, str) and index is None and "#" in task_id:
        # How an image that was cut out of a grid is called.
        task_id, _, place = task_id.partition("#")
        index = int(place) if place.isdecimal() else None
    if not isinstance(task_id, str) or not task_id:
        raise InvalidRequestError(
            "`task_id` in options must be the id of a task of this server, as a text."
        )
    if index is not None and (
        not isinstance(index, int) or isinstance(index, bool) or not 1 <= index <= 4
    ):
        raise InvalidRequestError(
            "`index` in options must be 1, 2, 3 or 4: the place in the grid, as it is read."
        )
    return task_id, index


# --- orders -------------------------------------------------------------------


_ACCEPTED, _EXISTS, _QUEUED = 1, 21, 22


def _submit(
    route: str, body: Mapping[str, JsonValue], *, last: bool = False
) -> Generator[Step, HttpResponse | bytes | None, str]:
    """Submit a request and return the id of its task; `last` marks the second
    one, which completes the first.
    """
    response = yield from send(json_request(f"mj/submit/{route}", body))
    submitted = read_submitted(response)
    code = code_of(submitted)
    if response.status >= 300 or code not in (_ACCEPTED, _EXISTS, _QUEUED):
        raise refusal(response, submitted, code)
    task_id = submitted.result
    # An id is a text of digits; as a number it would not survive every JSON
    # parser.
    if isinstance(task_id, bool) or not isinstance(task_id, (str, int)) or not str(task_id):
        raise ProviderError(
            f"{NAME} took the order and did not say by which id; it may have been billed.",
            billed="unknown",
            details=trace(response),
        )
    if code == _QUEUED:
        yield Progress(note=one_line(submitted.description) or "queued")
    yield JobAccepted(
        job_id=str(task_id), poll_url=_task_url(str(task_id)) + (_LAST if last else "")
    )
    return str(task_id)


def _press(
    call: Call, task: Task, task_id: str, action: Literal["variation", "upsample"], index: int
) -> Generator[Step, HttpResponse | bytes | None, str]:
    """Press a button of a finished grid: by its id if the server lists it, else
    by its effect.
    """
    custom_id = _find_button(task, custom_id=f"MJ::JOB::{action}::{index}::")
    if custom_id is not None:
        return (
            yield from _submit(
                "action", with_options(call, {"taskId": task_id, "customId": custom_id})
            )
        )
    word = {"variation": "VARIATION", "upsample": "UPSCALE"}[action]
    fields: dict[str, JsonValue] = {"taskId": task_id, "action": word, "index": index}
    return (yield from _submit("change", with_options(call, fields)))


def _find_button(task: Task, *, custom_id: str = "", label: str = "") -> str | None:
    for button in task.buttons if isinstance(task.buttons, list) else ():
        if isinstance(button, dict):
            found, said = button.get("customId"), button.get("label")
            fits = isinstance(found, str) and found.startswith(custom_id)
            if fits and label in str(said).casefold():
                return str(found)
    return None


def _fetch(task_id: str) -> Generator[Step, HttpResponse | bytes | None, Task]:
    """An earlier task; nothing has been ordered yet."""
    response = yield from send(HttpRequest(method="GET", url=_task_url(task_id), repeatable=True))
    task = read_task(response)
    if response.status in (401, 403):
        raise refusal(response, Submitted(), None)
    state = state_of(task)
    if response.status >= 500 or response.status == 429:
        raise outage(response, NAME, "Nothing was ordered.")
    if response.status >= 300 or not state:
        raise InvalidRequestError(
            f"{NAME} knows no task {task_id}; it may have forgotten it.", code="API_ERROR"
        )
    if state != "success":
        raise InvalidRequestError(
            f"The task {task_id} has not ended well; it says {one_line(task.status)}."
        )
    return task


def _task_url(task_id: str) -> str:
    return f"mj/task/{quote(task_id, safe='')}/fetch"


def _await_image(
    call: Call, task_id: str, *, answered: bool = False
) -> Generator[Step, HttpResponse | bytes | None, Task]:
    """Wait for a task that needs no more input."""
    task = yield from _await_end(call, task_id, answered=answered)
    if state_of(task) == _ASKS:
        raise ProviderError(
            f"{NAME} waits for more words before it draws the task {task_id}, and there are none;"
            " it may be billed. Order it again, and switch off the remix mode of the account.",
            billed="unknown",
            details={"task_id": task_id},
        )
    return task


def _await_end(
    call: Call, task_id: str, *, answered: bool = False
) -> Generator[Step, HttpResponse | bytes | None, Task]:
    """Poll until the task has succeeded, or needs input that was not
    `answered`; raise for other ends.
    """
    url = _task_url(task_id)
    # Only some servers can cancel, and the minutes of the account may be gone
    # all the same.
    stop = HttpRequest(method="POST", url=url.removesuffix("fetch") + "cancel")
    yield Cancellable(request=stop, stops_bill=False)
    shown, empty_answers = list[str](), 0

    def read(response: HttpResponse, early: bool) -> Ended[Task] | Iterable[Step] | None:
        nonlocal empty_answers
        # Reply to an unknown task; of several servers behind one address, some
        # may not know it yet.
        is_empty = response.status < 300 and response.body in (b"", b"null")
        empty_answers = empty_answers + 1 if is_empty else 0
        if empty_answers == _MOST_EMPTY_ANSWERS:
            raise forgotten(task_id)
        task = read_task(response)
        match state_of(task) if response.status < 300 else "":
            case "":
                return None
            case "failure" | "cancel" as state:
                raise failure(task, task_id, state)
            case state if state == "success" or (state == _ASKS and not answered):
                return Ended(task)
            case state:
                return _show(call, task, state, shown)

    job = Job(id=task_id, url=url, provider=NAME, longest_seconds=_LONGEST_JOB_SECONDS)
    return (yield from await_end(call, job, read))


def _show(
    call: Call, task: Task, state: str, shown: list[str]
) -> Generator[Step, HttpResponse | bytes | None, None]:
    """Show the progress of a task, and its unfinished grid if previews were
    asked for and there is a new one.
    """
    yield Progress(fraction=read_fraction(task.progress), note=state.replace("_", " "))
    url = text_of(task.image_url)
    if (
        len(shown) >= call.request.previews
        or url in shown
        or not url.startswith(("https://", "http://"))
    ):
        return
    shown.append(url)
    response = yield from send(HttpRequest(method="GET", url=url, repeatable=True))
    if response.status == 200 and response.body:
        yield PartialImage(data=response.body, number=len(shown) - 1)


def _read_upload(response: HttpResponse) -> str:
    """The address of an image that was laid down."""
    submitted = read_submitted(response)
    code = code_of(submitted)
    if response.status >= 300 or code != _ACCEPTED:
        raise refusal(response, submitted, code)
    link = (
        submitted.result[0]
        if isinstance(submitted.result, list) and submitted.result
        else submitted.result
    )
    if not isinstance(link, str) or not re.fullmatch(r"https?://\S+", link):
        raise ProviderError(
            f"{NAME} took the reference and did not say where it lies.", details=trace(response)
        )
    return link


# --- the images ---------------------------------------------------------------


def _hand_over(
    call: Call, task: Task, task_id: str, *, lacks: tuple[Adjustment, ...] = ()
) -> Exchange:
    """Return the images of a task: four links if the server cuts the grid
    itself, else the grid, cut here.
    """
    request = call.request
    if isinstance(request, Enhance) or (
        isinstance(request, Vary) and _read_origin(call) is not None
    ):
        seed, adjustments = None, _left_by_button(call)
    else:
        words = _words(call)
        seed, adjustments = words.seed, words.adjustments
    grid = isinstance(request, (Generate, Vary)) or (
        isinstance(request, Restyle) and not _retextures(call)
    )
    grid = (
        grid
        or len(_links(task)) == 4
        or _find_button(task, custom_id="MJ::JOB::upsample::1::") is not None
    )
    cut = grid and call.model.wire.get("grid") != "whole"
    datas = (yield from _collect_singles(task)) if cut else []
    if not datas:
        url = text_of(task.image_url)
        if not url:
            raise ProviderError(
                f"{NAME} finished the task {task_id} and gives no image; it was billed.",
                billed="yes",
                details={"task_id": task_id},
            )
        datas = [(yield from download(url, NAME))]
        if cut:
            pieces = yield Compute(call=partial(_cut, datas[0]), repeatable=True)
            assert isinstance(pieces, bytes)
            datas = msgspec.msgpack.decode(pieces, type=list[bytes])
    revised = text_of(task.prompt_en)
    images = (
        GeneratedImage(
            data=data,
            seed=seed,
            revised_prompt=revised if revised and revised != text_of(task.prompt) else None,
            provider_id=f"{task_id}#{place}" if len(datas) > 1 else task_id,
        )
        for place, data in enumerate(datas, 1)
    )
    return GeneratedImages(images=tuple(images), adjustments=adjustments + lacks)


def _links(task: Task) -> list[str]:
    """The links of single images."""
    items = task.image_urls if isinstance(task.image_urls, list) else []
    return [
        link
        for item in items
        if (link := text_of(item.get("url") if isinstance(item, dict) else item))
    ]


def _collect_singles(task: Task) -> Generator[Step, HttpResponse | bytes | None, list[bytes]]:
    """Fetch the four images from their own links; none if one fails, as the
    grid has them too.
    """
    links, datas = _links(task), list[bytes]()
    if len(links) != 4:
        return []
    try:
        for link in links:
            datas.append((yield from download(link, NAME)))
    except ProviderError:
        if not text_of(task.image_url):
            raise
        return []
    return datas


def _cut(data: bytes) -> bytes:
    """The four quarters of a grid, packed; what cannot be cut stays whole."""
    from PIL import Image

    try:
        found = read_image_header(data)
        if found.width * found.height > _MOST_GRID_PIXELS or min(found.width, found.height) < 2:
            return msgspec.msgpack.encode([data])
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            grid = opened if opened.mode in ("RGB", "RGBA", "L") else opened.convert("RGB")
            return msgspec.msgpack.encode([_png(grid.crop(box)) for box in _quarters(*grid.size)])
    except (
        ProviderError,
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        Image.DecompressionBombError,
    ):
        return msgspec.msgpack.encode([data])


def _quarters(width: int, height: int) -> Iterable[tuple[int, int, int, int]]:
    """Return the quarters in reading order; the middle line of an odd side is
    dropped.
    """
    across, down = width // 2, height // 2
    for top in (0, height - down):
        for left in (0, width - across):
            yield left, top, left + across, top + down


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return file.getvalue()


# --- the providers ------------------------------------------------------------


def _provider(name: str, *, key_header: str, key_prefix: str) -> Provider:
    prefix = name.upper()
    return Provider(
        name=name,
        operations={
            "generate": generate,
            "edit": edit,
            "vary": vary,
            "enhance": enhance,
            "restyle": restyle,
        },
        collect=collect,
        base_url_variable=f"{prefix}_BASE_URL",
        key_variables=(
            ("MIDJOURNEY_API_SECRET",) if name == "midjourney" else (f"{prefix}_API_KEY",)
        ),
        key_required=False,
        key_header=key_header,
        key_prefix=key_prefix,
        optional=True,
        home_page="github.com/novicezk/midjourney-proxy",
        settings={
            # Seconds between two questions whether a task has ended.
            "poll_seconds": 3.0,
            # Form of a mask's changing area: undocumented, so it can be
            # "white", "black" or "transparent".
            "mask": "white",
            # How a style is lent: "imagine" works with most servers,
            # "retexture" keeps more of the image, with some.
            "restyle": "imagine",
        },
    )


PROVIDERS = (
    _provider("midjourney", key_header="mj-api-secret", key_prefix=""),
    _provider("midjourney_gateway", key_header="authorization", key_prefix="Bearer "),
)
