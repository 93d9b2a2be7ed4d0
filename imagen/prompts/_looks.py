"""A look that is kept from image to image: styles, a family of seeds, and
images that lend it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Unpack

import msgspec

from .._requests.catalog import Model
from .._requests.request import Generate, ImageSource, LibraryImage
from ._styles import Style, apply_styles

if TYPE_CHECKING:
    from .._requests.options import GenerateFields

__all__ = ["SharedStyle"]

# Seeds of most models are 32 bits long.
_SEEDS = 1 << 32


class SharedStyle:
    """Makes requests that go together. It lives in memory, and belongs to one
    Trio run.

    Args:
        styles: Are put onto every prompt.
        seed: The seed of the first prompt; each further prompt has the next
            one, and the same prompt the same one again.
        references: Images that lend the look to all of them.
        model_for: Says which model does a request, as `Client.model_for` does:
            how many references it takes.
    """

    def __init__(
        self,
        styles: Sequence[Style] = (),
        *,
        seed: int | None = None,
        references: Sequence[ImageSource] = (),
        model_for: Callable[[Generate], Model],
    ) -> None:
        self.styles = tuple(styles)
        self.seed = seed
        self.references = tuple(references)
        self.kept: tuple[LibraryImage, ...] = ()
        self._model_for = model_for
        self._seeds: dict[str, int] = {}

    def request(self, prompt: str, **parameters: Unpack[GenerateFields]) -> Generate:
        """A generation in this look. What is said here of seed, size and so on
        counts before what the look says.

        Raises:
            ImagenError: there is no model for it.
        """
        asked = Generate(prompt=prompt, **parameters)
        if asked.seed is None and self.seed is not None:
            asked = msgspec.structs.replace(asked, seed=self._seed_of(prompt, self.seed))
        asked = msgspec.structs.replace(asked, references=(*asked.references, *self.references))
        styled = apply_styles(asked, self.styles)
        return self._with_kept(styled) if self.kept else styled

    def keep(self, image: LibraryImage) -> None:
        """Lets an image lend its look to the following ones, as far as their
        model takes references: the latest first.
        """
        self.kept = (image, *(kept for kept in self.kept if kept.id != image.id))

    def _seed_of(self, prompt: str, first: int) -> int:
        return self._seeds.setdefault(prompt, (first + len(self._seeds)) % max(_SEEDS, first + 1))

    def _with_kept(self, request: Generate) -> Generate:
        room = self._model_for(request).capabilities.inputs.max_references - len(request.references)
        return msgspec.structs.replace(
            request, references=(*request.references, *self.kept[: max(room, 0)])
        )
