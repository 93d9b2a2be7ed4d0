"""The tools that a server offers: those that its user chose, and that some
configured model can serve. A list of tools begins every conversation.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Collection, Mapping

import imagen

from ._models import is_available, live_models
from ._unknown_arguments import nearest

__all__ = ["GROUPS", "OWN_TOOLS", "Offer", "read_choice"]

GROUPS: Mapping[str, frozenset[str]] = {
    "generate": frozenset({"generate_image"}),
    "batch": frozenset(
        {
            "start_image_batch",
            "get_next_image",
            "get_batch_status",
            "cancel_batch",
            "resume_batch",
        }
    ),
    "edit": frozenset({"edit_image", "create_variations", "enhance_image", "restyle_image"}),
    "library": frozenset({"search_images", "show_image", "organize_images"}),
    "models": frozenset({"find_models", "estimate_cost"}),
}
"""Names for several tools in IMAGEN_MCP_TOOLS."""

OWN_TOOLS = frozenset().union(*GROUPS.values())
"""All tools of imagen; a program that embeds the server may add others."""

# An edit stands for the operation, if the caller names a model.
_SERVED_BY: Mapping[str, frozenset[imagen.Operation]] = {
    "edit_image": frozenset({"edit"}),
    "create_variations": frozenset({"vary", "edit"}),
    "enhance_image": frozenset({"enhance"}),
    "restyle_image": frozenset({"restyle", "edit"}),
}


class Offer:
    """Choice of tools. What the models serve may change from day to day, as
    makers shut models down.
    """

    def __init__(
        self,
        settings: imagen.Settings,
        catalog: imagen.providers.Catalog,
        chosen: Collection[str],
        *,
        today: Callable[[], datetime.date] = lambda: datetime.datetime.now(datetime.UTC).date(),
    ) -> None:
        self.chosen = frozenset(chosen)
        self._settings = settings
        self._catalog = catalog
        self._today = today
        self._served: tuple[datetime.date, frozenset[str]] | None = None
        self._known = self.listed

    @property
    def listed(self) -> frozenset[str]:
        """The names of the tools in the list."""
        today = self._today()
        if self._served is None or self._served[0] != today:
            self._served = today, self._serve(today)
        return self._served[1]

    def has_changed(self) -> bool:
        """Return True if the list is another one than when it was last asked."""
        before, self._known = self._known, self.listed
        return before != self._known

    def _serve(self, today: datetime.date) -> frozenset[str]:
        operations = {
            operation
            for model in live_models(self._catalog, today)
            if is_available(model, self._settings)
            for operation in model.capabilities.operations
        }
        return frozenset(
            name
            for name in self.chosen
            if name not in _SERVED_BY or not _SERVED_BY[name].isdisjoint(operations)
        )


def read_choice(tools: Mapping[str, bool], *, read_only: bool = False) -> frozenset[str]:
    """Return the tools that IMAGEN_MCP_TOOLS names, which is all if it is empty;
    with `read_only` only those that change nothing. The values of `tools` say
    which those are.

    Raises:
        ConfigurationError: the variable names something else.
    """
    words = os.environ.get("IMAGEN_MCP_TOOLS", "").replace(",", " ").split()
    chosen = {tool for word in words for tool in _named(word, tools)} if words else set(tools)
    return frozenset(tool for tool in chosen if tools[tool] or not read_only)


def _named(word: str, tools: Collection[str]) -> Collection[str]:
    if word in GROUPS:
        return GROUPS[word]
    if word in tools:
        return (word,)
    known = [*GROUPS, *tools]
    meant = nearest(word, known)
    hint = f"did you mean {' or '.join(meant)}?" if meant else f"name some of {', '.join(known)}."
    raise imagen.ConfigurationError(
        f"IMAGEN_MCP_TOOLS names {word[:40]!r}, which is no tool: {hint}"
    )
