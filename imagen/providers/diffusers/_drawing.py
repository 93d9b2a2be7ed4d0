"""One image in a pipeline, in the worker thread of its device."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter
from typing import TYPE_CHECKING, Any

import msgspec

from ..._errors import ImagenError, InvalidRequestError, ProviderError
from ..._requests.catalog import JsonValue
from ..._requests.request import Vary
from ..._requests.sizes import parse_size
from ..._requests.translation import Adjustment
from .._provider import Call, EncodedImage
from .._steps import GeneratedImage, Reporter, WithheldImage
from .._wire.http import add_options
from .._wire.masks import white_mask
from ._errors import explain_drawing, explain_loading
from ._pipelines import (
    Kind,
    Loaded,
    PipelineCache,
    Weights,
    bench_of,
    free_memory,
    parameters_of,
    side_step,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Drawing", "Task"]

_RESERVED = (
    "prompt",
    "image",
    "mask_image",
    "generator",
    "num_images_per_prompt",
    "output_type",
    "return_dict",
    "callback_on_step_end",
    "callback_on_step_end_tensor_inputs",
)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Task: kind of pipeline, weights, and request."""

    call: Call
    kind: Kind
    weights: Weights
    pipelines_kept: int
    keep_unmasked: bool


class Drawing:
    """Drawing of one image of a task. `adjustments` are known when it is drawn."""

    def __init__(self, task: Task, seed: int | None) -> None:
        self.adjustments: list[Adjustment] = []
        self._task = task
        self._call = task.call
        self._seed = seed
        self._withheld = False
        self._previews = 0
        self._shown = 0
        self._explain: Callable[[Exception, str], ImagenError] = explain_loading

    def run(self, reporter: Reporter) -> bytes:
        """Load the weights if needed and draw. A report that raises `Cancelled`
        ends it between two steps, undecoded.

        Raises:
            ImagenError: it cannot be drawn.
        """
        bench = bench_of(self._task.weights.device)
        try:
            with bench.turn(reporter):
                try:
                    return self._draw(bench, reporter)
                finally:
                    bench.make_room(most=self._task.pipelines_kept)
        except Exception as error:
            failure = self._explain(error, self._task.weights.repository)
        # Raised without a cause: the traceback of the first error keeps tensors
        # on the device.
        failure.__cause__ = failure.__context__ = None
        free_memory()
        raise failure.with_traceback(None)

    def image(self, data: bytes) -> GeneratedImage | WithheldImage:
        """Return the result of `run` as the end of an exchange."""
        if self._withheld:
            return WithheldImage(
                reason="the safety checker of the pipeline was alarmed; another seed may do.",
                billed=False,
            )
        return GeneratedImage(data=data, seed=self._seed)

    def _draw(self, bench: PipelineCache, reporter: Reporter) -> bytes:
        loaded = bench.load(self._task.weights, most=self._task.pipelines_kept)
        self._explain = explain_drawing
        # Loading cannot be stopped: a caller who left meanwhile is noticed
        # here.
        reporter.progress(0.0)
        pipeline = loaded.pipeline(self._task.kind)
        arguments, target = self._fit(pipeline)
        if self._seed is not None:
            arguments["generator"] = loaded.generator(self._seed)
        watch = {}
        if "callback_on_step_end" in parameters_of(pipeline):
            watch["callback_on_step_end"] = partial(self._on_step_end, loaded, reporter, arguments)
        else:
            # It reports no progress, and cannot be stopped there.
            self._look_at_previews(False)
        try:
            result = pipeline(**arguments, **watch)
        finally:
            # A stopped pipeline has not moved its weights back from the device.
            pipeline.maybe_free_model_hooks()
        return self._finish(result, arguments, target)

    # --- before ---------------------------------------------------------------

    def _fit(self, pipeline: Any) -> tuple[dict[str, Any], tuple[int, int] | None]:
        """The arguments in the words of the pipeline, and the size that the
        image should get.
        """
        request, takes = self._call.request, parameters_of(pipeline)
        arguments: dict[str, Any] = {"prompt": request.prompt, "output_type": "pil"}
        # Beside `true_cfg_scale` the other guidance is one that distilled
        # weights have learnt; with no default they have not.
        distilled = takes.get("guidance_scale")
        true_cfg = "true_cfg_scale" in takes and (distilled is None or distilled.default is None)
        wishes = {
            "negative_prompt": ("negative_prompt", request.negative_prompt),
            "guidance": ("true_cfg_scale" if true_cfg else "guidance_scale", request.guidance),
            "steps": ("num_inference_steps", request.steps),
            "strength": ("strength", request.strength if isinstance(request, Vary) else None),
        }
        for field, (name, value) in wishes.items():
            if value is not None and name in takes:
                arguments[name] = value
            elif value is not None:
                self._adjust(field, value, None, f"{type(pipeline).__name__} has no such parameter")
        sized = "width" in takes and "height" in takes
        if request.size is not None and not sized and not self._call.images:
            self._adjust("size", request.size, None, f"{type(pipeline).__name__} has one size")
        target = self._fit_size(pipeline) if sized or self._call.images else None
        if target is not None:
            arguments |= {"width": target[0], "height": target[1]} if sized else {}
            arguments |= self._open_inputs(takes, target)
        arguments = self._add_options(pipeline, arguments)
        _check_steps(arguments, takes)
        return arguments, target

    def _fit_size(self, pipeline: Any) -> tuple[int, int] | None:
        request, images = self._call.request, self._call.images
        asked = parse_size(request.size or "") or (
            (images[0].width, images[0].height) if images else None
        )
        if asked is None:
            return None
        step = side_step(pipeline)
        width, height = (max(step, round(side / step) * step) for side in asked)
        if (width, height) != asked:
            reason = f"{type(pipeline).__name__} draws in multiples of {step} pixels"
            self._adjust("size", _by(asked), _by((width, height)), reason)
        return width, height

    def _open_inputs(self, takes: Mapping[str, object], target: tuple[int, int]) -> dict[str, Any]:
        images, mask = self._call.images, self._call.mask
        if not images:
            return {}
        # One that is only looked at keeps its shape, and may have others beside
        # it.
        draws_over = mask is not None or "strength" in takes
        if len(images) > 1 and draws_over:
            raise InvalidRequestError("This pipeline draws over one image: leave out the others.")
        first, *others = [_open(image) for image in images]
        if first.size != target and draws_over:
            first = first.resize(target)
        inputs: dict[str, Any] = {"image": [first, *others] if others else first}
        if mask is not None:
            inputs["mask_image"] = self._open_mask(mask, target)
        return inputs

    def _open_mask(self, mask: EncodedImage, target: tuple[int, int]) -> Image.Image:
        from PIL import Image

        with Image.open(io.BytesIO(white_mask(mask))) as opened:
            # To the nearest, so that nothing becomes half to be changed.
            return opened.resize(target, Image.Resampling.NEAREST)

    def _add_options(self, pipeline: Any, arguments: dict[str, JsonValue]) -> dict[str, Any]:
        takes, options = parameters_of(pipeline), self._call.request.options
        if unknown := sorted(options.keys() - takes.keys()):
            raise InvalidRequestError(
                f"{type(pipeline).__name__} takes no {' and no '.join(unknown)}: look at options."
            )
        return add_options(arguments, self._call.request, reserved=_RESERVED)

    # --- on the way -----------------------------------------------------------

    def _on_step_end(
        self,
        loaded: Loaded,
        reporter: Reporter,
        arguments: Mapping[str, Any],
        pipeline: Any,
        step: int,
        timestep: object,
        tensors: dict[str, Any],
    ) -> dict[str, Any]:
        steps = (
            getattr(pipeline, "num_timesteps", None)
            or arguments.get("num_inference_steps")
            or step + 1
        )
        reporter.progress(min(1.0, (step + 1) / steps))
        if step == 0:
            self._look_at_guidance(pipeline, arguments)
            self._look_at_previews(loaded.can_preview(pipeline, tensors))
        if self._is_preview_due(step, steps):
            self._show(loaded, pipeline, tensors, reporter)
        return tensors

    def _look_at_guidance(self, pipeline: Any, arguments: Mapping[str, Any]) -> None:
        """A negative prompt is taken by many a pipeline that does not look at
        it then.
        """
        if not arguments.get("negative_prompt"):
            return
        takes = parameters_of(pipeline)
        if "true_cfg_scale" in takes:
            looks = arguments.get("true_cfg_scale", takes["true_cfg_scale"].default) > 1
            how = "with true_cfg_scale above 1 in options"
        else:
            looks = getattr(pipeline, "do_classifier_free_guidance", True)
            how = "with more guidance, if at all"
        if not looks:
            asked = self._call.request.negative_prompt
            self._adjust(
                "negative_prompt", asked, None, f"{type(pipeline).__name__} looks at it {how}"
            )

    def _look_at_previews(self, able: bool) -> None:
        self._previews = self._call.request.previews if able else 0
        if self._call.request.previews and not able:
            self._adjust(
                "previews",
                self._call.request.previews,
                None,
                "what this pipeline has on the way is no image",
            )

    def _is_preview_due(self, step: int, steps: int) -> bool:
        """Return True after equal parts of the steps; the last step is the
        image itself.
        """
        parts = self._previews + 1
        return step + 1 < steps and (step + 1) * parts // steps > step * parts // steps

    def _show(
        self, loaded: Loaded, pipeline: Any, tensors: Mapping[str, Any], reporter: Reporter
    ) -> None:
        try:
            image = loaded.preview(pipeline, tensors["latents"])
        except Exception:
            # A preview must not cost the image.
            image = None
        if image is None:
            self._previews = 0
            reason = "its latents could not be decoded on the way"
            self._adjust(
                "previews", self._call.request.previews, self._shown or None, reason, late=True
            )
            return
        reporter.preview(_encode(image, "png"), self._shown)
        self._shown += 1

    # --- after ----------------------------------------------------------------

    def _finish(
        self, result: Any, arguments: Mapping[str, Any], target: tuple[int, int] | None
    ) -> bytes:
        from PIL import Image

        alarms = getattr(result, "nsfw_content_detected", None)
        if alarms and alarms[0]:
            # The pipeline returns a black image with it.
            self._withheld = True
            return b""
        images = getattr(result, "images", None)
        image = images[0] if isinstance(images, list) and images else None
        if not isinstance(image, Image.Image):
            raise ProviderError(
                f"{self._task.weights.repository} gave no image: it is made for something else."
            )
        if target is not None and image.size != target:
            self._adjust(
                "size", _by(target), _by(image.size), "the pipeline took another", late=True
            )
        elif "mask_image" in arguments and self._task.keep_unmasked:
            # An image that went through the VAE comes back a little different
            # everywhere.
            image = Image.composite(image, arguments["image"], arguments["mask_image"])
        return _encode(image, self._call.request.output_format or "png")

    def _adjust(
        self, field: str, asked: object, sent: object, reason: str, *, late: bool = False
    ) -> None:
        """Note an adjustment, or refuse it while work can be saved."""
        request, model = self._call.request, self._call.model
        instead = "it would be left out" if sent is None else f"{sent} would be taken"
        if request.strict and not late:
            raise InvalidRequestError(
                f"{model.id} does not take {field} {asked!r} as it is: {reason}, so {instead}."
                " Change it, or drop strict."
            )
        words = None if sent is None else str(sent)
        self.adjustments.append(
            Adjustment(field=field, asked=str(asked), sent=words, reason=f"{model.id}: {reason}")
        )


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _check_steps(arguments: Mapping[str, Any], takes: Mapping[str, Parameter]) -> None:
    """Check the steps: from an image, the share `strength` of them is run. With
    none, pipelines fail in their own words.
    """
    if "strength" not in arguments or "num_inference_steps" not in takes:
        return
    strength, steps = (
        arguments["strength"],
        arguments.get("num_inference_steps", takes["num_inference_steps"].default),
    )
    if int(steps * strength) < 1:
        raise InvalidRequestError(
            f"A strength of {strength:g} leaves less than one of {steps} steps: ask for more"
            " strength, or more steps."
        )


def _open(image: EncodedImage) -> Image.Image:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image.data)) as opened:
            if not opened.has_transparency_data:
                return opened.convert("RGB")
            clear = opened.convert("RGBA")
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidRequestError(f"The image cannot be read: {error}.") from error
    # Pixels below transparent parts are often garbage.
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def _encode(image: Image.Image, media: str) -> bytes:
    file = io.BytesIO()
    image = image.convert("RGB") if media == "jpeg" else image
    image.save(
        file, media.upper(), **({"compress_level": 3} if media == "png" else {"quality": 95})
    )
    return file.getvalue()
