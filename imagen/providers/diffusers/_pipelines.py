"""Pipelines that are loaded: which, on which device, and for how long. All that
touches torch is here.

torch and diffusers are imported when the first image is drawn, in the worker
thread, since that takes seconds.

Weights are loaded once and shared by the pipelines for text, for images and for
masks. They stay until others need the room, or the process ends; two clients in
one process share them, so a bench has a lock though every client has one worker
per device.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..._errors import ConfigurationError, InvalidRequestError
from .._steps import Reporter
from ._errors import INSTALL

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Kind",
    "Loaded",
    "PipelineCache",
    "Weights",
    "bench_of",
    "free_memory",
    "parameters_of",
    "side_step",
]

Kind = Literal["text2image", "image2image", "inpaint"]

_ASK_SECONDS = 1.0
# Latents this long make images of 512 pixels: a preview needs no more.
_PREVIEW_LATENTS = 64
_BFLOAT16_CAPABILITY = 8  # Ampere


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Weights to load: source, revision and form; different ones are loaded
    separately.
    """

    repository: str
    revision: str | None = None
    variant: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    offload: str = "none"
    local_files_only: bool = False
    allow_pickle: bool = False


class Loaded:
    """Weights on their device, and the pipelines that share them."""

    def __init__(self, weights: Weights) -> None:
        self._torch = _need("torch")
        self._diffusers = _need("diffusers")
        self.device = _pick_device(self._torch) if weights.device == "auto" else weights.device
        # On the CPU there is no device to move weights from.
        self.offload = "none" if self.device == "cpu" else weights.offload
        self._base = self._load(weights)
        self._pipelines: dict[Kind, Any] = {}

    def _load(self, weights: Weights) -> Any:
        pipeline = self._diffusers.DiffusionPipeline.from_pretrained(
            os.path.expanduser(weights.repository),
            revision=weights.revision,
            variant=weights.variant,
            dtype=_pick_dtype(self._torch, weights.dtype, self.device),
            local_files_only=weights.local_files_only,
            # Other files are pickles, which can run code.
            use_safetensors=None if weights.allow_pickle else True,
        )
        if self.offload == "none":
            pipeline.to(self.device)
        elif self.offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=self.device)
        else:
            pipeline.enable_model_cpu_offload(device=self.device)
        return pipeline

    def pipeline(self, kind: Kind) -> Any:
        """The pipeline of a kind.

        Raises:
            InvalidRequestError: these weights have no such pipeline.
        """
        if kind not in self._pipelines:
            pipeline = self._derive(kind)
            pipeline.set_progress_bar_config(disable=True)
            self._pipelines[kind] = pipeline
        return self._pipelines[kind]

    def _derive(self, kind: Kind) -> Any:
        takes = parameters_of(self._base)
        as_it_is = {
            "text2image": "image" not in takes,
            "image2image": "image" in takes and "mask_image" not in takes,
            "inpaint": "image" in takes and "mask_image" in takes,
        }
        if as_it_is[kind]:
            return self._base
        names = {"text2image": "Text2Image", "image2image": "Image2Image", "inpaint": "Inpainting"}
        try:
            pipeline = getattr(self._diffusers, f"AutoPipelineFor{names[kind]}").from_pipe(
                self._base
            )
        except ValueError as error:
            if kind == "text2image":
                # It may draw without an image anyway, and raises if it cannot.
                return self._base
            what = "inside a mask" if kind == "inpaint" else "from an image"
            raise InvalidRequestError(f"{type(self._base).__name__} cannot draw {what}.") from error
        if self.offload == "model":
            # The hooks hang on the weights, and belong to the pipeline that put
            # them there last.
            pipeline.enable_model_cpu_offload(device=self.device)
        return pipeline

    def generator(self, seed: int) -> Any:
        """Random numbers, of the CPU: the same on every device."""
        return self._torch.Generator("cpu").manual_seed(seed)

    def can_preview(self, pipeline: Any, tensors: Mapping[str, Any]) -> bool:
        """Return True if its VAE can decode the latents, without moving
        weights.
        """
        latents = tensors.get("latents")
        has_vae = getattr(pipeline, "vae", None) is not None and hasattr(
            pipeline, "image_processor"
        )
        return self.offload == "none" and has_vae and latents is not None and latents.ndim == 4

    def preview(self, pipeline: Any, latents: Any) -> Image.Image | None:
        """Return the latents as a small image; None for invalid numbers."""
        vae, latents = pipeline.vae, latents[:1]
        if max(latents.shape[-2:]) > _PREVIEW_LATENTS:
            latents = self._torch.nn.functional.interpolate(
                latents, scale_factor=0.5, mode="bilinear"
            )
        scale, shift = (
            getattr(vae.config, "scaling_factor", 1.0),
            getattr(vae.config, "shift_factor", None) or 0.0,
        )
        decoded = vae.decode((latents / scale + shift).to(vae.dtype), return_dict=False)[0]
        if not bool(self._torch.isfinite(decoded).all()):
            return None
        image: Image.Image = pipeline.image_processor.postprocess(decoded, output_type="pil")[0]
        return image


class PipelineCache:
    """Loaded pipelines of one device. It draws one image at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Weights, Loaded] = {}

    @contextmanager
    def turn(self, reporter: Reporter) -> Iterator[None]:
        """Wait until the device is free, as long as the caller waits for the
        image.
        """
        while not self._lock.acquire(timeout=_ASK_SECONDS):
            reporter.progress(0.0)
        try:
            yield
        finally:
            self._lock.release()

    def load(self, weights: Weights, *, most: int) -> Loaded:
        """Return loaded weights. Others are unloaded, least recently used
        first, until at most `most` are left.
        """
        loaded = self._kept.pop(weights, None)
        if loaded is None:
            self.make_room(most=max(0, most - 1))
            loaded = Loaded(weights)
        self._kept[weights] = loaded
        return loaded

    def make_room(self, *, most: int) -> None:
        """Lets go of all but `most` weights, the longest unused first."""
        if len(self._kept) > most:
            for weights in list(self._kept)[: len(self._kept) - most]:
                del self._kept[weights]
            free_memory()


_BENCHES: dict[str, PipelineCache] = {}


def bench_of(device: str) -> PipelineCache:
    """The bench of a device, as the settings name it."""
    return _BENCHES.setdefault(device, PipelineCache())


def free_memory() -> None:
    """Release unused memory of the devices."""
    gc.collect()
    torch = sys.modules.get("torch")
    for name in ("cuda", "mps", "xpu"):
        if torch is not None and _is_there(torch, name):
            getattr(torch, name).empty_cache()


def parameters_of(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a pipeline's call."""
    return inspect.signature(pipeline.__call__).parameters


def side_step(pipeline: Any) -> int:
    """Both sides of an image are multiples of this: of the pixels in a latent,
    and of the latents in a patch.
    """
    factor, patch = getattr(pipeline, "vae_scale_factor", 8), getattr(pipeline, "patch_size", 1)
    own = getattr(
        getattr(getattr(pipeline, "image_processor", None), "config", None), "vae_scale_factor", 1
    )
    return max(int(own), int(factor) * (patch if isinstance(patch, int) else 1))


def _need(name: str) -> Any:
    try:
        # By name: this very package has a module `diffusers`, and type checkers
        # need not have torch.
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The package {error.name or name} is not installed: {INSTALL}."
        ) from error


def _is_there(torch: Any, name: str) -> bool:
    """Return True if the machine has such a device; MPS is a back end of torch,
    the others are modules.
    """
    kind = getattr(torch.backends, "mps", None) if name == "mps" else getattr(torch, name, None)
    return kind is not None and bool(kind.is_available())


def _pick_device(torch: Any) -> str:
    return next((name for name in ("cuda", "mps", "xpu") if _is_there(torch, name)), "cpu")


def _pick_dtype(torch: Any, name: str, device: str) -> Any:
    if name == "auto":
        name = "float32"
        if device.startswith("cuda"):
            able = torch.cuda.get_device_capability(device)[0] >= _BFLOAT16_CAPABILITY
            name = "bfloat16" if able else "float16"
        elif device.startswith(("mps", "xpu")):
            name = "float16"
    return getattr(torch, name)
