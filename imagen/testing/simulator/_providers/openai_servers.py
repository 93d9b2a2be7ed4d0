"""Self-hosted servers with OpenAI's Images API: LocalAI, vLLM-Omni, SGLang and
stable-diffusion.cpp's.

As of August 2026, from their sources and documentation, but strict about
unknown fields. They bill nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from .._core.edits import ImageError, draw_edit, open_image, read_base64
from .._core.faults import (
    Decline,
    ExpiredLink,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    ServerError,
)
from .._core.fields import BadRequestError, Fields
from .._core.forms import FilePart, FormError, parse_form
from .._core.jobs import Job
from .._core.messages import Drawing, Kind, Reply, json_reply

if TYPE_CHECKING:
    from PIL import Image

_DECLINED: dict[type[Decline], tuple[int, str]] = {
    RateLimited: (429, "Too many requests wait already."),
    QuotaExhausted: (429, "No more requests are taken."),
    Overloaded: (503, "The model is still loading."),
    NotAllowed: (403, "That is not allowed."),
    Refused: (400, "The prompt was refused: NSFW content."),
    ServerError: (500, "CUDA out of memory."),
}
_SIZE = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})")
_EXTRA = re.compile(r"<sd_cpp_extra_args>(.*?)</sd_cpp_extra_args>")
_IMAGES = "/generated-images/"


class _ExtraArgs(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments inside a prompt for stable-diffusion.cpp."""

    seed: int = -1
    negative_prompt: str = ""
    sample_params: dict[str, object] = {}


class LocalServer(msgspec.Struct, frozen=True, kw_only=True):
    """One server.

    `errors` is the form of its errors: an object, a bare text, or FastAPI's
    `detail`. `formats` are the values of `response_format`, the default first;
    None if the field is unknown. `known` are its other fields. A server that
    `inpaints` has no path for edits, and one for enlarging. With
    `relative_links` links are paths.
    """

    name: str
    base_path: str = "/v1"
    models: tuple[str, ...] = ("local-model",)
    errors: Literal["object", "text", "detail"] = "detail"
    formats: tuple[str, ...] | None = ("b64_json",)
    known: frozenset[str] = frozenset()
    outputs: tuple[str, ...] = ("png",)
    side: int = 1024
    masks: bool = False
    inpaints: bool = False
    looks_in_prompt: bool = False
    relative_links: bool = False

    def kind(self, method: str, path: str) -> Kind:
        paths = (
            ("generations", "inpainting", "upscale") if self.inpaints else ("generations", "edits")
        )
        if method == "POST" and path in [f"/images/{name}" for name in paths]:
            return "create"
        if method == "GET" and path.startswith(_IMAGES):
            return "download"
        return "list" if (method, path) == ("GET", "/models") else "other"

    def answer(self, job: Job) -> Reply | Drawing:
        if job.received.headers.get("authorization", f"Bearer {job.key}") != f"Bearer {job.key}":
            return self._refuse("The key is wrong.", status=401)
        kind = self.kind(job.received.method, job.path)
        if kind == "list":
            return json_reply(
                {
                    "object": "list",
                    "data": [{"id": name, "object": "model"} for name in self.models],
                }
            )
        if kind == "download":
            kept = job.remote.find(job.path.removeprefix(_IMAGES))
            if kept is None or not isinstance(data := kept.painted(), bytes):
                return self._refuse("Not Found", status=404)
            return Reply(headers=(("content-type", "image/png"),), pieces=(data,))
        if kind != "create":
            return self._refuse("Not Found", status=404)
        try:
            return self._create(job)
        except (BadRequestError, ImageError, FormError) as error:
            return self._refuse(str(error), status=400, field=getattr(error, "param", None))

    def decline(self, job: Job, fault: Decline) -> Reply:
        status, text = _DECLINED[type(fault)]
        reply = self._refuse(text, status=status)
        if isinstance(fault, RateLimited) and fault.told == "header":
            return msgspec.structs.replace(
                reply, headers=(*reply.headers, ("retry-after", f"{fault.wait_seconds:.0f}"))
            )
        return reply

    # --- requests -------------------------------------------------------------

    def _create(self, job: Job) -> Drawing:
        match job.path:
            case "/images/generations":
                return self._generate(job)
            case "/images/edits":
                return self._edit(job)
            case "/images/inpainting":
                return self._inpaint(job)
            case _:
                return self._enlarge(job)

    def _generate(self, job: Job) -> Drawing:
        fields = Fields(job.received.body)
        width, height, format = self._read(fields)
        sources = [fields.get("file")] if "file" in fields else []
        references = fields.get("ref_images")
        sources += references if isinstance(references, list) else []
        images = [
            open_image(read_base64(source if isinstance(source, str) else "*"))
            for source in sources
        ]
        return self._drawing(job, fields, lambda: _paint(job, images, width, height, None, format))

    def _edit(self, job: Job) -> Drawing:
        fields, files = _read_form(job)
        names = {"image", "image[]", "mask"} if self.masks else {"image", "image[]"}
        if unknown := files.keys() - names:
            raise BadRequestError(f"Unknown file: {min(unknown)}", param=min(unknown), code=None)
        # The list counts, and the single one only without it.
        uploads = files.get("image[]", []) or files.get("image", [])[:1]
        images = [open_image(file.data) for file in uploads]
        if not images:
            raise BadRequestError("at least one image[] required", param="image", code=None)
        width, height, format = self._read(fields, default=images[0].size)
        mask = open_image(files["mask"][0].data) if "mask" in files else None
        return self._drawing(job, fields, lambda: _paint(job, images, width, height, mask, format))

    def _inpaint(self, job: Job) -> Drawing:
        """Return 512 pixels square, always by a link."""
        fields, files = _read_form(job)
        self._refuse_unknown(fields, {"model", "prompt", "steps"})
        fields.text("model", required=True)
        fields.prompt()
        if files.keys() != {"image", "mask"}:
            raise BadRequestError("missing image file or mask file", param="image", code=None)
        image, mask = (open_image(files[name][0].data) for name in ("image", "mask"))
        return self._drawing(
            job, fields, lambda: _paint(job, [image], 512, 512, mask, "png"), linked=True
        )

    def _enlarge(self, job: Job) -> Drawing:
        fields, files = _read_form(job)
        self._refuse_unknown(fields, {"model", "scale"})
        fields.text("model", required=True)
        scale = fields.integer("scale", 2, 4, 2)
        if scale == 3 or files.keys() != {"image"}:
            raise BadRequestError(
                "scale must be 2 or 4, and there must be an image", param="scale", code=None
            )
        image = open_image(files["image"][0].data)
        larger = image.resize((image.width * scale, image.height * scale))
        return self._drawing(
            job, fields, lambda: _paint(job, [larger], *larger.size, "keep", "png")
        )

    def _read(
        self, fields: Fields, *, default: tuple[int, int] | None = None
    ) -> tuple[int, int, str]:
        """Check the fields, and return width, height and format."""
        self._refuse_unknown(fields, self.known | {"prompt", "model", "n", "size"})
        prompt = fields.prompt()
        if self.looks_in_prompt and (found := _EXTRA.search(prompt)):
            try:
                msgspec.json.decode(found[1], type=_ExtraArgs)
            except msgspec.DecodeError as error:
                raise BadRequestError(
                    "invalid sd_cpp_extra_args", param="prompt", code=None
                ) from error
        fields.integer("num_inference_steps", 1, 200, 20)
        fields.number("guidance_scale", 0, 20)
        for name in ("seed", "step"):
            fields.integer(name, 0, 2**63, 0)
        size = _SIZE.fullmatch(
            fields.text("size", "x".join(map(str, default or (self.side, self.side))))
        )
        if size is None:
            raise BadRequestError("size must be WIDTHxHEIGHT", param="size", code=None)
        return int(size[1]), int(size[2]), fields.choice("output_format", self.outputs, "png")

    def _refuse_unknown(self, fields: Fields, known: set[str] | frozenset[str]) -> None:
        for name in fields.names():
            if name not in known and (name != "response_format" or self.formats is None):
                raise BadRequestError(f"unknown field: {name}", param=name, code=None)
        if self.formats is not None:
            fields.choice("response_format", self.formats, self.formats[0])
        model = fields.text("model", self.models[0])
        if model not in self.models:
            raise BadRequestError(f"The model {model} is not loaded.", param="model", code=None)

    # --- answers --------------------------------------------------------------

    def _drawing(
        self, job: Job, fields: Fields, draw: Callable[[], bytes], *, linked: bool = False
    ) -> Drawing:
        images = job.count(fields.integer("n", 1, 10, 1))
        linked = linked or (
            self.formats is not None and fields.text("response_format", self.formats[0]) == "url"
        )

        def paint() -> Reply:
            data = [
                self._link(job, draw()) if linked else {"b64_json": job.as_base64(draw())}
                for _ in range(images)
            ]
            return json_reply({"created": job.created, "data": data})

        return Drawing(model=self.models[0], images=images, usd=Decimal(0), paint=paint)

    def _link(self, job: Job, content: bytes) -> dict[str, object]:
        """Return a link on the server itself. The real path is beside `/v1`;
        here it serves nothing.
        """
        kept = job.remote.submit(job, lambda: content, id=f"{job.chance.getrandbits(64):016x}.png")
        if isinstance(job.fault, ExpiredLink):
            job.spoiled = True
            kept.result = "gone"
        path = f"{self.base_path}{_IMAGES}{kept.id}"
        return {"url": path if self.relative_links else f"{job.origin}/{self.name}{path}"}

    def _refuse(self, text: str, *, status: int, field: str | None = None) -> Reply:
        match self.errors:
            case "object":
                return json_reply(
                    {"error": {"code": status, "message": text, "type": ""}}, status=status
                )
            case "text":
                return json_reply({"error": text}, status=status)
            case _ if field is not None:
                wrong = {"type": "value_error", "loc": ["body", field], "msg": text}
                return json_reply({"detail": [wrong]}, status=422)
            case _:
                return json_reply({"detail": text}, status=status)


def _read_form(job: Job) -> tuple[Fields, dict[str, list[FilePart]]]:
    texts, files = parse_form(job.received.headers, job.received.body)
    return Fields.of_form(texts), files


def _paint(
    job: Job,
    images: list[Image.Image],
    width: int,
    height: int,
    mask: Image.Image | Literal["keep"] | None,
    format: str,
) -> bytes:
    if not images:
        return job.draw(width, height, format=format)
    if mask == "keep":
        from PIL import Image

        mask = Image.new("L", images[0].size, 0)
    return draw_edit(job, images, width, height, mask=mask, format=format)


_DIFFUSION = frozenset(
    {
        "negative_prompt",
        "num_inference_steps",
        "guidance_scale",
        "true_cfg_scale",
        "seed",
        "generator_device",
    }
)

SIMULATED = (
    LocalServer(
        name="localai",
        errors="object",
        formats=("url", "b64_json"),
        known=frozenset({"step", "quality", "mode", "file", "files", "ref_images"}),
        side=512,
        inpaints=True,
    ),
    LocalServer(name="vllm_omni", known=_DIFFUSION),
    LocalServer(name="sglang", known=_DIFFUSION),
    LocalServer(
        name="sd_server",
        models=("sd-cpp-local",),
        errors="text",
        formats=None,
        known=frozenset({"output_format", "output_compression"}),
        outputs=("png", "jpeg", "webp"),
        side=512,
        masks=True,
        looks_in_prompt=True,
    ),
)
