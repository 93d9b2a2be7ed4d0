"""Server with the routes of midjourney-proxy, as of 2026-11-22: /mj/submit/...,
/mj/task/{id}/fetch.

There are two families: newer servers list the buttons of a finished task and
take `action`, older ones take `change`. The real ones ignore unknown fields;
this one refuses them.
"""

import io
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec

from .._core.edits import ImageError, open_image, read_data_url
from .._core.faults import (
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
from .._core.jobs import Job, RemoteJob
from .._core.messages import Kind, Reply, Submission, json_reply, text_reply

if TYPE_CHECKING:
    from PIL import Image

_COMMON = ("state", "notifyHook", "accountFilter")
_FIELDS: dict[str, tuple[str, ...]] = {
    "imagine": ("prompt", "base64Array", "botType"),
    "change": ("taskId", "action", "index"),
    "action": ("taskId", "customId", "enableRemix"),
    "modal": ("taskId", "prompt", "maskBase64"),
    "edits": ("prompt", "image"),
    "retexture": ("prompt", "image"),
    "upload-discord-images": ("base64Array", "filter"),
}
_FLAGS = frozenset(
    (
        *(
            "ar",
            "aspect",
            "seed",
            "no",
            "stylize",
            "s",
            "chaos",
            "c",
            "weird",
            "w",
            "q",
            "quality",
            "v",
            "version",
        ),
        *(
            "niji",
            "iw",
            "sref",
            "sw",
            "cref",
            "cw",
            "oref",
            "ow",
            "raw",
            "style",
            "tile",
            "fast",
            "relax",
            "turbo",
        ),
        *("draft", "exp", "stop"),
    )
)
_FLAG = re.compile(r"(?<!\S)--(\S+)((?:\s+(?!--)\S+)*)")
_BUTTON = re.compile(
    r"MJ::JOB::(upsample|variation)::([1-4])::[0-9a-f-]+|MJ::JOB::upsample_v6_2x_(subtle|creative)::.+"
)
_TASK = re.compile(r"/mj/task/([^/]+)/(fetch|cancel)")


class _SayNoError(Exception):
    """Reply with a code of refusal, with HTTP 200 unless it is another."""

    def __init__(self, code: int, description: str, *, status: int = 200) -> None:
        super().__init__(description)
        self.reply = json_reply(
            {"code": code, "description": description, "result": None}, status=status
        )


class _Made(msgspec.Struct):
    """Result of a task: one image, or a grid of four."""

    content: bytes
    grid: bool
    prompt: str


class _Open(msgspec.Struct):
    """A task of the editor, which waits for its mask."""

    prompt: str
    image: bytes


class MidjourneyProxy(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated server.

    Args:
        cell: the side of one of the four images, if it is square.
        has_buttons: True if finished tasks list their buttons; other servers
            take `change` instead of `action`.
        cuts: whether finished tasks also link to the four images one by one.
        remixes: True if a variation asks for a prompt before it is drawn.
        cancels: True if tasks can be cancelled.
        bearer: whether the key comes as a Bearer token, as with gateways.
    """

    cell: int = 1024
    has_buttons: bool = True
    cuts: bool = False
    remixes: bool = False
    cancels: bool = True
    bearer: bool = False
    name: str = "midjourney"
    base_path: str = ""

    def kind(self, method: str, path: str) -> Kind:
        if path.endswith("/upload-discord-images"):
            return "upload"
        if path.endswith("/edits"):
            return "other"
        if path.startswith("/mj/submit/"):
            return "create"
        return (
            "cancel" if path.endswith("/cancel") else "poll" if path.endswith("/fetch") else "other"
        )

    def answer(self, job: Job) -> Reply | Submission:
        headers = job.received.headers
        key = headers.get("authorization") if self.bearer else headers.get("mj-api-secret")
        if key != (f"Bearer {job.key}" if self.bearer else job.key):
            return json_reply({"code": 4, "description": "mj-api-secret is wrong"}, status=401)
        if found := _TASK.fullmatch(job.path):
            return (
                self._cancel(job, found[1]) if found[2] == "cancel" else self._poll(job, found[1])
            )
        route = job.path.removeprefix("/mj/submit/")
        missing = "change" if self.has_buttons else "action"
        if job.received.method != "POST" or route not in _FIELDS or route == missing:
            return json_reply(
                {"timestamp": 1700000000000, "status": 404, "error": "Not Found"}, status=404
            )
        try:
            return self._submit(job, route, _read_fields(route, job.received.body))
        except _SayNoError as no:
            return no.reply

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited(wait_seconds=wait, told="header"):
                return json_reply({}, status=429, headers=(("retry-after", f"{wait:g}"),))
            case RateLimited(wait_seconds=wait):
                return _SayNoError(23, f"The queue is full, please try again in {wait:g}s").reply
            case QuotaExhausted():
                return _SayNoError(30, "No quota left").reply
            case Overloaded():
                return text_reply("", status=503)
            case NotAllowed():
                return text_reply("", status=403)
            case Refused():
                no = {"code": 24, "description": "May contain sensitive words", "result": None}
                return json_reply({**no, "properties": {"promptEn": "a cat", "bannedWord": "cat"}})
            case _:
                assert isinstance(fault, ServerError), fault
                return json_reply({"status": 500, "error": "Internal Server Error"}, status=500)

    # --- orders ---------------------------------------------------------------

    def _submit(self, job: Job, route: str, fields: Mapping[str, object]) -> Reply | Submission:
        match route:
            case "imagine":
                images = [_read_image(item) for item in _listed(fields.get("base64Array"))]
                prompt = _needed(fields, "prompt")
                return self._take(job, prompt, lambda: self._paint_grid(job, prompt, images))
            case "upload-discord-images":
                datas = [_read_image(item) for item in _listed(fields.get("base64Array"))]
                links = [job.as_link(data) for data in datas]
                for link, data in zip(links, datas, strict=True):
                    job.remote.submit(job, partial(bytes, data), id=link)
                return json_reply({"code": 1, "description": "success", "result": links})
            case "edits":
                waiting = _Open(
                    prompt=_needed(fields, "prompt"), image=_read_image(fields.get("image"))
                )
                return _accepted(job.remote.submit(job, lambda: waiting, id=_new_id(job)).id)
            case "retexture":
                prompt, image = _needed(fields, "prompt"), _read_image(fields.get("image"))
                return self._take(job, prompt, lambda: self._paint_single(job, prompt, image, None))
            case "modal":
                return self._complete(job, fields)
            case _:
                return self._press(job, fields)

    def _take(
        self, job: Job, prompt: str, paint: Callable[[], _Made], *, id: str | None = None
    ) -> Submission:
        complaint = _complaint(prompt)
        remote = job.remote.submit(job, paint, id=id or _new_id(job))
        if complaint is not None and remote.fault is None:
            remote.fault = JobFails(text=complaint)
        # An account is paid by the month.
        usd = Decimal(0) if job.usd_per_image is None else job.usd_per_image * 4
        return Submission(model="midjourney", images=4, usd=usd, reply=_accepted(remote.id))

    def _press(self, job: Job, fields: Mapping[str, object]) -> Reply | Submission:
        """Press a button of a finished task, by its id or by its effect."""
        parent = job.remote.find(_needed(fields, "taskId"))
        if parent is None:
            raise _SayNoError(3, "The task does not exist", status=404)
        if job.now < parent.ready_at or not isinstance(made := parent.painted(), _Made):
            raise _SayNoError(4, "The task has not ended")
        action, index, custom_id = fields.get("action"), fields.get("index"), fields.get("customId")
        if isinstance(custom_id, str):
            found = _BUTTON.fullmatch(custom_id)
            if found is None or custom_id not in {
                button["customId"] for button in _buttons(parent.id, made)
            }:
                raise _SayNoError(4, "customId is wrong")
            if found[3]:
                return self._take(
                    job, "", lambda: _Made(_enlarged(made.content), grid=False, prompt=made.prompt)
                )
            action, index = (
                {"upsample": "UPSCALE", "variation": "VARIATION"}[found[1]],
                int(found[2]),
            )
        if action not in ("UPSCALE", "VARIATION") or index not in (1, 2, 3, 4) or not made.grid:
            raise _SayNoError(4, "action or index is wrong")
        assert isinstance(index, int)
        content = _quarter(made.content, index)
        if action == "UPSCALE":
            return self._take(job, "", lambda: _Made(content, grid=False, prompt=made.prompt))
        if self.remixes:
            waiting = _Open(prompt=made.prompt, image=content)
            asks = job.remote.submit(job, lambda: waiting, id=_new_id(job))
            return _accepted(asks.id, code=21)
        return self._take(job, "", lambda: self._paint_grid(job, made.prompt, [content]))

    def _complete(self, job: Job, fields: Mapping[str, object]) -> Submission:
        opened = job.remote.find(_needed(fields, "taskId"))
        waiting = None if opened is None else opened.painted()
        if opened is None or not isinstance(waiting, _Open):
            raise _SayNoError(3, "The task does not exist", status=404)
        prompt = _needed(fields, "prompt")
        if self.remixes:
            image = waiting.image
            return self._take(
                job, prompt, lambda: self._paint_grid(job, prompt, [image]), id=opened.id
            )
        mask = None if fields.get("maskBase64") is None else _read_image(fields["maskBase64"])
        return self._take(
            job, prompt, lambda: self._paint_single(job, prompt, waiting.image, mask), id=opened.id
        )

    # --- tasks ----------------------------------------------------------------

    def _cancel(self, job: Job, id: str) -> Reply:
        if not self.cancels:
            return json_reply({"status": 404, "error": "Not Found"}, status=404)
        if (remote := job.remote.find(id)) is not None and job.now < remote.ready_at:
            remote.cancelled = True
        return Reply(status=200)

    def _poll(self, job: Job, id: str) -> Reply:
        remote = job.remote.find(id)
        if remote is None:
            return Reply(status=204)
        done = remote.progress(job.now)
        waiting = remote.painted() if done == 1 and remote.fault is None else None
        if remote.cancelled:
            return json_reply(_task(id, "FAILURE", failReason="取消任务"))
        if isinstance(waiting, _Open):
            return json_reply(_task(id, "MODAL", progress="0%"))
        if done < 1:
            preview = (
                job.as_link(job.draw(64, 64, format="webp"), format="webp") if done > 0.2 else None
            )
            state: Literal["SUBMITTED", "IN_PROGRESS"] = (
                "IN_PROGRESS" if done > 0.1 else "SUBMITTED"
            )
            return json_reply(_task(id, state, progress=f"{done:.0%}", imageUrl=preview))
        if isinstance(remote.fault, JobFails):
            return json_reply(_task(id, "FAILURE", failReason=remote.fault.text))
        if isinstance(remote.fault, Withheld):
            return json_reply(_task(id, "FAILURE", failReason="Image blocked by moderation"))
        return self._hand_out(job, remote)

    def _hand_out(self, job: Job, remote: RemoteJob) -> Reply:
        made = remote.painted()
        assert isinstance(made, _Made)
        if isinstance(remote.fault, ExpiredLink):
            job.fault = remote.fault
        task = _task(
            remote.id,
            "SUCCESS",
            progress="100%",
            imageUrl=job.as_link(made.content),
            prompt=made.prompt,
        )
        if self.has_buttons:
            task["buttons"] = _buttons(remote.id, made)
        if self.cuts and made.grid:
            task["imageUrls"] = [
                {"url": job.as_link(_quarter(made.content, place))} for place in (1, 2, 3, 4)
            ]
        if not made.content.startswith(b"<"):
            job.collected(remote)
        return json_reply(task)

    # --- drawing --------------------------------------------------------------

    def _paint_grid(self, job: Job, prompt: str, images: list[bytes]) -> _Made:
        """Four images in one; the images of the prompt shine through by their
        weight, a style by half.
        """
        from PIL import Image

        flags = _flags(prompt)
        across, down = (int(side) for side in flags.get("ar", "1:1").split(":"))
        width = round(self.cell * (across / down) ** 0.5)
        height = round(self.cell * (down / across) ** 0.5)
        cells = [job.draw(width, height) for _ in range(4)]
        if cells[0].startswith(b"<"):
            return _Made(cells[0], grid=True, prompt=prompt)
        canvas = Image.new("RGB", (2 * width, 2 * height))
        share = float(flags.get("iw", "1")) / 3
        style = job.remote.find(flags.get("sref", ""))
        for at, cell in enumerate(cells):
            drawn = _open(cell)
            if images:
                drawn = Image.blend(
                    drawn, _open(images[at % len(images)]).resize(drawn.size), share
                )
            if style is not None and isinstance(lent := style.painted(), bytes):
                drawn = Image.blend(drawn, _open(lent).resize(drawn.size), 0.5)
            canvas.paste(drawn, (at % 2 * width, at // 2 * height))
        return _Made(_png(canvas), grid=True, prompt=prompt)

    def _paint_single(self, job: Job, prompt: str, image: bytes, mask: bytes | None) -> _Made:
        from PIL import Image

        before = _open(image)
        content = job.draw(*before.size)
        if content.startswith(b"<"):
            return _Made(content, grid=False, prompt=prompt)
        painted = _open(content)
        if mask is not None:
            painted = Image.composite(
                painted, before, open_image(mask).convert("L").resize(before.size)
            )
        return _Made(_png(painted), grid=False, prompt=prompt)


def _accepted(id: str, *, code: int = 1) -> Reply:
    return json_reply(
        {"code": code, "description": "Submit success", "result": id, "properties": {}}
    )


def _new_id(job: Job) -> str:
    return f"{1_700_000_000_000_000 + job.received.number}"


def _task(id: str, status: str, **more: object) -> dict[str, object]:
    return {
        "id": id,
        "action": "IMAGINE",
        "status": status,
        "prompt": "",
        "promptEn": more.get("prompt", ""),
        "description": "/imagine",
        "submitTime": 1700000000000,
        "startTime": 1700000001000,
        "finishTime": None,
        "progress": "0%",
        "imageUrl": None,
        "failReason": None,
        "state": "",
        "buttons": [],
        "properties": {},
        **more,
    }


def _buttons(id: str, made: _Made) -> list[dict[str, object]]:
    uuid = f"{int(id):032x}"
    if made.grid:
        names = [(f"MJ::JOB::upsample::{at}::{uuid}", f"U{at}") for at in (1, 2, 3, 4)]
        names += [(f"MJ::JOB::variation::{at}::{uuid}", f"V{at}") for at in (1, 2, 3, 4)]
    else:
        kinds = ("subtle", "creative")
        names = [
            (f"MJ::JOB::upsample_v6_2x_{kind}::1::{uuid}::SOLO", f"Upscale ({kind.title()})")
            for kind in kinds
        ]
    return [
        {"customId": custom_id, "label": label, "emoji": "", "style": 2, "type": 2}
        for custom_id, label in names
    ]


# --- reading ------------------------------------------------------------------


def _read_fields(route: str, body: bytes) -> dict[str, object]:
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _SayNoError(4, "The body is not a JSON object") from None
    if unknown := set(fields) - {*_FIELDS[route], *_COMMON}:
        raise _SayNoError(4, f"Unknown: {min(unknown)}")
    if fields.get("botType") not in (None, "MID_JOURNEY", "NIJI_JOURNEY"):
        raise _SayNoError(4, "botType is wrong")
    return fields


def _needed(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _SayNoError(4, f"{name} must not be empty")
    return value


def _listed(value: object) -> list[object]:
    if value is not None and not isinstance(value, list):
        raise _SayNoError(4, "base64Array is wrong")
    return value or []


def _read_image(value: object) -> bytes:
    try:
        data = read_data_url(value if isinstance(value, str) else "")
        open_image(data)
    except ImageError:
        raise _SayNoError(4, "The image is wrong") from None
    return data


def _flags(prompt: str) -> dict[str, str]:
    return {name: value.strip() for name, value in _FLAG.findall(prompt)}


def _complaint(prompt: str) -> str | None:
    """Return the failure of a task, for parameters that Midjourney does not
    know, or takes once only.
    """
    names = [name for name, _ in _FLAG.findall(prompt)]
    if unknown := [name for name in names if name not in _FLAGS]:
        return f"Invalid parameter: Unrecognized parameter(s): `--{unknown[0]}`"
    if len(set(names)) < len(names):
        return "Invalid parameter: a parameter is there twice"
    flags = _flags(prompt)
    if not re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", flags.get("ar", "1:1")):
        return "Invalid parameter: `--ar`"
    if (
        not re.fullmatch(r"[0-9]{1,10}", flags.get("seed", "0"))
        or int(flags.get("seed", "0")) > 4294967295
    ):
        return "Invalid parameter: `--seed`"
    if not 0 <= float(flags.get("iw", "1")) <= 3 or not 0.25 <= float(flags.get("q", "1")) <= 2:
        return "Invalid parameter: out of range"
    return None


# --- images -------------------------------------------------------------------


def _open(data: bytes) -> "Image.Image":
    return open_image(data).convert("RGB")


def _quarter(data: bytes, index: int) -> bytes:
    """Return one image of a grid, counted in reading order."""
    if data.startswith(b"<"):
        return data
    grid = _open(data)
    width, height = grid.width // 2, grid.height // 2
    left, top = (index - 1) % 2 * width, (index - 1) // 2 * height
    return _png(grid.crop((left, top, left + width, top + height)))


def _enlarged(data: bytes) -> bytes:
    image = _open(data)
    return _png(image.resize((2 * image.width, 2 * image.height)))


def _png(image: "Image.Image") -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


SIMULATED = (
    MidjourneyProxy(),
    MidjourneyProxy(name="midjourney_gateway", bearer=True, has_buttons=False),
)
