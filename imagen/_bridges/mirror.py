"""Classes that mirror those of the client for another way of calling.

A mirrored object stands before one object of the Trio run. Its methods run
there, with the names, arguments, types and errors of the original. The stubs
`aio.pyi` and `blocking.pyi` list them for type checkers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Protocol

from .._client.batch import Batch
from .._client.client import Client
from .._client.session import Session
from .._client.sessions import Sessions
from .._storage.webhooks import Webhooks
from ..library._collections import Collections
from ..library._imaging.renditions import Renditions
from ..library._imaging.similar import Similar
from ..library._library import Library
from ..prompts._prompt_library import PromptLibrary
from ..sharing._archive.archives import Archives
from ..sharing._links.shares import Shares
from ..sharing._publishing.publisher import Publisher

__all__ = ["LEFT_OUT", "MIRRORED", "Bridge", "Mirrored", "define_mirrors", "public_members"]

MIRRORED: tuple[type, ...] = (
    Client,
    Batch,
    Session,
    Sessions,
    Library,
    Collections,
    PromptLibrary,
    Archives,
    Shares,
    Publisher,
    Webhooks,
    Similar,
    Renditions,
)
# The client itself calls these, in tasks of its own; or they cannot be undone
# by a bridge that has not made them.
LEFT_OUT: Mapping[type, frozenset[str]] = {
    Batch: frozenset({"completed"}),
    Library: frozenset({"adopt"}),
    Publisher: frozenset({"run", "close"}),
    Sessions: frozenset({"start", "submit", "resume", "forget", "cancel_all"}),
    Webhooks: frozenset({"run", "close", "enqueue"}),
}


class Bridge(Protocol):
    """One way of calling: what a mirrored object does with its members."""

    mirrors: ClassVar[dict[type, Any]]

    def call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Return the result of an asynchronous function of the Trio run, or an
        awaitable of it.
        """
        ...

    def call_sync(self, function: Callable[[], Any]) -> Any:
        """Return the result of a synchronous function of the Trio run."""
        ...

    def iterate(self, source: AsyncIterator[Any]) -> Any:
        """Return the items of an iterator of the Trio run."""
        ...

    def lend(self, value: object) -> Any:
        """Return an argument as the Trio run may use it."""
        ...


class Mirrored:
    """Base of the mirrored classes."""

    def __init__(self, bridge: Bridge, target: object) -> None:
        self._bridge = bridge
        self._target = target

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return returned(self._bridge, getattr(self._target, name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mirrored) and other._target is self._target

    def __hash__(self) -> int:
        return hash(id(self._target))

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} of {self._target!r}>"


def returned(bridge: Bridge, value: object) -> Any:
    """Return a result of the Trio run as the caller may use it."""
    mirror = bridge.mirrors.get(type(value))
    return value if mirror is None else mirror(bridge, value)


def public_members(original: type) -> Iterator[tuple[str, Any]]:
    """Yield the methods and properties of a class that its mirror has."""
    left_out = LEFT_OUT.get(original, frozenset())
    for name, member in vars(original).items():
        if name.startswith("_") or name in left_out:
            continue
        if inspect.isfunction(member) or isinstance(member, property):
            yield name, member


def define_mirrors(
    module: str, bases: Mapping[type, type[Mirrored]], method: Callable[[Any], Any]
) -> dict[type, Any]:
    """Define the mirror of each class.

    Args:
        module: Name of the module that shows them.
        bases: Mirrors with members of their own, which are kept.
        method: Returns the mirror of an asynchronous method.
    """
    mirrors: dict[type, Any] = {}
    for original in MIRRORED:
        base = bases.get(original, Mirrored)
        body: dict[str, Any] = {"__module__": module, "__doc__": original.__doc__}
        for name, member in public_members(original):
            own = vars(base).get(name)
            body[name] = (
                _mirror_member(name, member, method)
                if own is None
                else functools.wraps(member)(own)
            )
        mirrors[original] = type(original.__name__, (base,), body)
    return mirrors


def _mirror_member(name: str, member: Any, method: Callable[[Any], Any]) -> Any:
    if isinstance(member, property):
        return _mirror_property(name, member)
    if inspect.iscoroutinefunction(member):
        return method(member)
    if inspect.isasyncgenfunction(member):
        return _mirror_iterator(member)
    return _mirror_method(member)


def _mirror_property(name: str, member: property) -> property:
    def read(self: Mirrored) -> Any:
        get = partial(getattr, self._target, name)
        return returned(self._bridge, self._bridge.call_sync(get))

    return property(read, doc=member.__doc__)


def _mirror_method(member: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(member)
    def method(self: Mirrored, *args: Any, **kwargs: Any) -> Any:
        return returned(self._bridge, self._bridge.call_sync(bound(self, member, args, kwargs)))

    return method


def _mirror_iterator(member: Callable[..., AsyncIterator[Any]]) -> Callable[..., Any]:
    @functools.wraps(member)
    def method(self: Mirrored, *args: Any, **kwargs: Any) -> Any:
        return self._bridge.iterate(bound(self, member, args, kwargs)())

    return method


def bound(
    mirrored: Mirrored,
    member: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Callable[[], Any]:
    """Return the call of a member on the original, with the arguments lent."""
    lend = mirrored._bridge.lend
    return partial(
        member,
        mirrored._target,
        *(lend(value) for value in args),
        **{name: lend(value) for name, value in kwargs.items()},
    )
