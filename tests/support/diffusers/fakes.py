"""As much of torch and diffusers as the provider touches, so that its tests
need neither.

`test_real_pipeline.py` does the same with the real packages, where they are.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import Image

import imagen
from imagen.providers import Cancellable, GeneratedImages, Render
from imagen.providers.diffusers import _pipelines as pipelines
from tests.support import exchanges as stepping

STEPS = 8


class Latents:
    """A tensor of so many dimensions, whose elements are all one number."""

    def __init__(self, *shape: int, value: float = 1.0) -> None:
        self.shape, self.ndim, self.value = shape, len(shape), value

    def __getitem__(self, part: object) -> Latents:
        return self

    def __truediv__(self, number: float) -> Latents:
        return Latents(*self.shape, value=self.value / number)

    def __add__(self, number: float) -> Latents:
        return Latents(*self.shape, value=self.value + number)

    def to(self, dtype: str) -> Latents:
        return self


class Pipe:
    """A pipeline for text: an image in one colour, which the seed says. Its
    subclasses take other things.
    """

    vae_scale_factor = 8
    do_classifier_free_guidance = True
    latents: Any = Latents(1, 4, 128, 128)
    alarms: tuple[bool, ...] | None = None
    fails: BaseException | None = None
    default_size = (512, 512)

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.log: list[object] = []
        self.image_processor = SimpleNamespace(
            config=SimpleNamespace(vae_scale_factor=8),
            postprocess=lambda decoded, output_type: [Image.new("RGB", (64, 64), "gray")],
        )
        self.vae = SimpleNamespace(
            config=SimpleNamespace(scaling_factor=0.5, shift_factor=0.25),
            dtype="float32",
            decode=self._decode,
        )
        self.decoded: list[float] = []

    def _decode(self, latents: Latents, return_dict: bool) -> tuple[Latents]:
        self.decoded.append(latents.value)
        return (latents,)

    def to(self, device: str) -> None:
        self.log.append(("to", device))

    def enable_model_cpu_offload(self, device: str) -> None:
        self.log.append(("model offload", device))

    def enable_sequential_cpu_offload(self, device: str) -> None:
        self.log.append(("sequential offload", device))

    def set_progress_bar_config(self, disable: bool) -> None:
        self.log.append(("bar", not disable))

    def maybe_free_model_hooks(self) -> None:
        self.log.append("freed")

    def __call__(
        self,
        prompt,
        negative_prompt=None,
        width=None,
        height=None,
        num_inference_steps=STEPS,
        guidance_scale=7.5,
        generator=None,
        output_type="np",
        eta=0.0,
        callback_on_step_end=None,
    ):
        return self.draw(**{name: value for name, value in locals().items() if name != "self"})

    def draw(self, **arguments: Any) -> Any:
        self.calls.append(arguments)
        if self.fails is not None:
            raise self.fails
        self.num_timesteps = arguments.get("num_inference_steps") or STEPS
        for step in range(self.num_timesteps):
            if (tell := arguments.get("callback_on_step_end")) is not None:
                tell(self, step, 1000 - step, {"latents": self.latents})
        size = (
            arguments.get("width") or self.default_size[0],
            arguments.get("height") or self.default_size[1],
        )
        if isinstance(image := arguments.get("image"), Image.Image):
            size = image.size
        seed = arguments["generator"]
        decoded = Image.new(
            "RGB", size, (0, 0, 0) if seed is None else (seed % 256, seed // 256 % 256, 99)
        )
        return SimpleNamespace(
            images=[decoded], nsfw_content_detected=self.alarms and list(self.alarms)
        )


class ImagePipe(Pipe):
    """From an image: as large as the image, and distilled, so without a
    negative prompt.
    """

    def __call__(
        self,
        prompt,
        image=None,
        strength=0.8,
        num_inference_steps=STEPS,
        guidance_scale=7.5,
        generator=None,
        output_type="np",
        callback_on_step_end=None,
    ):
        return self.draw(**{name: value for name, value in locals().items() if name != "self"})


class MaskPipe(Pipe):
    """Inside a mask."""

    def __call__(
        self,
        prompt,
        image=None,
        mask_image=None,
        width=None,
        height=None,
        strength=1.0,
        generator=None,
        output_type="np",
        callback_on_step_end=None,
    ):
        return self.draw(**{name: value for name, value in locals().items() if name != "self"})


class EditPipe(Pipe):
    """One that follows instructions about images, with a guidance of its own
    and patches of two latents.
    """

    patch_size = 2

    def __call__(
        self,
        prompt,
        image=None,
        negative_prompt=None,
        true_cfg_scale=1.0,
        guidance_scale=None,
        width=None,
        height=None,
        generator=None,
        output_type="np",
        callback_on_step_end=None,
    ):
        return self.draw(**{name: value for name, value in locals().items() if name != "self"})


class SilentPipe(Pipe):
    """An old one, which says nothing on its way."""

    def __call__(self, prompt, generator=None, output_type="np"):
        return self.draw(prompt=prompt, generator=generator, output_type=output_type)


class Shop:
    """The packages as modules, and what was asked of them. `base` makes what a
    repository holds.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.base: Callable[[], Pipe] = Pipe
        self.kin: dict[str, Callable[[], Pipe]] = {"Image2Image": ImagePipe, "Inpainting": MaskPipe}
        self.error: Exception | None = None
        self.loads: list[dict[str, Any]] = []
        self.kept_meanwhile: list[int] = []
        self.pipes: list[Pipe] = []
        self.emptied: list[str] = []
        self.torch = ModuleType("torch")
        self.torch.__dict__.update(
            cuda=self._devices("cuda", there=False),
            backends=SimpleNamespace(mps=self._devices("mps", there=False)),
            mps=SimpleNamespace(empty_cache=lambda: self.emptied.append("mps")),
            Generator=lambda device: SimpleNamespace(manual_seed=lambda seed: seed),
            nn=SimpleNamespace(functional=SimpleNamespace(interpolate=self._interpolate)),
            isfinite=lambda tensor: SimpleNamespace(all=lambda: math.isfinite(tensor.value)),
            float32="float32",
            float16="float16",
            bfloat16="bfloat16",
        )
        self.diffusers = ModuleType("diffusers")
        self.diffusers.__dict__.update(
            DiffusionPipeline=SimpleNamespace(from_pretrained=self._load)
        )
        for kind in ("Text2Image", "Image2Image", "Inpainting"):
            auto = SimpleNamespace(from_pipe=lambda pipe, kind=kind: self._derive(kind))
            self.diffusers.__dict__[f"AutoPipelineFor{kind}"] = auto
        self.interpolated = 0
        patch.setitem(sys.modules, "torch", self.torch)
        patch.setitem(sys.modules, "diffusers", self.diffusers)
        patch.setattr(pipelines, "_BENCHES", {})

    def has(self, device: str, *, capability: int = 9) -> None:
        """Puts a device into the machine."""
        found = self._devices(device, there=True, capability=capability)
        if device == "mps":
            self.torch.backends.mps = found
        else:
            setattr(self.torch, device, found)

    def _devices(self, name: str, *, there: bool, capability: int = 9) -> SimpleNamespace:
        return SimpleNamespace(
            is_available=lambda: there,
            get_device_capability=lambda device: (capability, 0),
            empty_cache=lambda: self.emptied.append(name),
        )

    def _interpolate(self, latents: Latents, scale_factor: float, mode: str) -> Latents:
        self.interpolated += 1
        return latents

    def _load(self, repository: str, **how: Any) -> Pipe:
        self.loads.append({"repository": repository, **how})
        self.kept_meanwhile.append(sum(len(bench._kept) for bench in pipelines._BENCHES.values()))
        if self.error is not None:
            raise self.error
        return self._made(self.base)

    def _derive(self, kind: str) -> Pipe:
        if kind not in self.kin:
            raise ValueError("AutoPipeline can't find a pipeline linked to it")
        return self._made(self.kin[kind])

    def _made(self, make: Callable[[], Pipe]) -> Pipe:
        self.pipes.append(make())
        return self.pipes[-1]

    @property
    def pipe(self) -> Pipe:
        """The pipeline that drew last."""
        return next(pipe for pipe in reversed(self.pipes) if pipe.calls)

    @property
    def arguments(self) -> dict[str, Any]:
        """What it was called with, without what it was not told."""
        return {name: value for name, value in self.pipe.calls[-1].items() if value is not None}


class Left(BaseException):
    """The caller has gone: what `trio.Cancelled` is in a worker thread."""


class Listener:
    """Hears reports, and leaves at the n-th of them."""

    def __init__(self, *, leaves_at: int | None = None) -> None:
        self.fractions: list[float] = []
        self.previews: list[bytes] = []
        self._leaves_at = leaves_at

    def progress(self, fraction: float) -> None:
        if self._leaves_at == len(self.fractions):
            raise Left
        self.fractions.append(round(fraction, 3))

    def preview(self, data: bytes, number: int) -> None:
        assert number == len(self.previews)
        self.previews.append(data)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(monkeypatch)


def model(**wire: object) -> imagen.Model:
    """The entry of the catalog, with a repository as imagen.toml would name it."""
    return msgspec.structs.replace(
        stepping.CATALOG.find("diffusers"), wire={"repository": "acme/tiny", **wire}
    )


def draw(call: imagen.providers.Call, listener: Listener | None = None) -> GeneratedImages:
    """Steps an exchange to its end, in this thread."""
    provider = imagen.providers.PROVIDERS["diffusers"]
    exchange = provider.operations[type(call.request).__name__.lower()](call)
    answer: bytes | None = None
    while True:
        try:
            step = exchange.send(answer)
        except StopIteration as done:
            return done.value
        assert isinstance(step, Cancellable | Render)
        answer = step.call(listener or Listener()) if isinstance(step, Render) else None


def ask(
    request: imagen.Request | None = None,
    *,
    wire: dict[str, object] | None = None,
    listener: Listener | None = None,
    **more: Any,
) -> GeneratedImages:
    """Draws a request, or a generation with these parameters."""
    return draw(stepping.call(model(**(wire or {})), request=request, **more), listener)


def refusal(*arguments: Any, **more: Any) -> imagen.ImagenError:
    """The error that `ask` ends in."""
    with pytest.raises(imagen.ImagenError) as caught:
        ask(*arguments, **more)
    return caught.value


def frames_of(error: BaseException) -> set[str]:
    """The functions that a traceback holds, with all that is in them."""
    frames, link = set[str](), error.__traceback__
    while link is not None:
        frames.add(link.tb_frame.f_code.co_qualname)
        link = link.tb_next
    return frames
