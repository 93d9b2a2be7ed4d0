"""Errors of torch, diffusers and the hub, as one sentence with what to do. None
of them is billed.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from ..._errors import (
    AuthenticationError,
    ConfigurationError,
    ImagenError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
)
from .._replies.decoding import one_line

__all__ = ["INSTALL", "explain_drawing", "explain_loading"]

INSTALL = 'pip install "imagen-trio[diffusers]"'

# The classes are known by name: their packages may be absent.
_GATED = {"GatedRepoError"}
_NOT_FOUND = {
    "RepositoryNotFoundError",
    "RevisionNotFoundError",
    "RevisionResolutionError",
    "HFValidationError",
}
_NOT_CACHED = {"OfflineModeIsEnabled", "LocalEntryNotFoundError"}
_UNREACHABLE = {"ConnectionError", "NetworkError", "TimeoutException", "Timeout", "TimeoutError"}
_OUT_OF_MEMORY = {"OutOfMemoryError", "MemoryError"}
# MPS and the allocator of the CPU raise a plain RuntimeError.
_OUT_OF_MEMORY_TEXTS = ("out of memory", "not enough memory", "can't allocate memory")


def explain_loading(error: Exception, repository: str) -> ImagenError:
    """Return the error of loading a pipeline."""
    if (known := _explain_anywhere(error)) is not None:
        return known
    kinds, status = _kinds(error), _status(error)
    if kinds & _GATED:
        return AuthenticationError(
            f"{repository} is gated: accept its terms at https://huggingface.co/{repository} and"
            " set HF_TOKEN to a token of that account."
        )
    if kinds & _NOT_FOUND:
        return ModelNotFoundError(
            f"{repository} is no folder here, and huggingface.co has no such repository or"
            " revision, or shows it to others only: look at wire.repository in imagen.toml, and at"
            " HF_TOKEN where it is private."
        )
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AuthenticationError(
            f"huggingface.co refuses to give {repository} ({status}): look at HF_TOKEN."
        )
    if kinds & _NOT_CACHED:
        return ModelNotFoundError(
            f"{repository} is not on this machine, or not as a whole, and may not be downloaded:"
            " unset HF_HUB_OFFLINE and the setting local_files_only of diffusers for once."
        )
    if kinds & _UNREACHABLE or status is not None:
        *_, first = _chain(error)
        why = _text(first) if status is None else f"it answers {status}."
        return ProviderError(
            f"{repository} cannot be downloaded from huggingface.co: {why} Try again later.",
            retryable=True,
        )
    if isinstance(error, ValueError) and "neither a valid local path" in str(error):
        return ModelNotFoundError(
            f"There is no folder {repository}: look at wire.repository in imagen.toml."
        )
    hint = (
        " Set allow_pickle in its settings if you trust it." if "safetensors" in str(error) else ""
    )
    return ConfigurationError(f"{repository} cannot be loaded as a pipeline. {_text(error)}{hint}")


def explain_drawing(error: Exception, repository: str) -> ImagenError:
    """Return the error of a loaded pipeline."""
    if (known := _explain_anywhere(error)) is not None:
        return known
    if isinstance(error, ValueError):
        return InvalidRequestError(
            f"The pipeline of {repository} does not take this: {_text(error)}", code="API_ERROR"
        )
    return ProviderError(f"The pipeline of {repository} failed: {_text(error)}")


def _explain_anywhere(error: Exception) -> ImagenError | None:
    if isinstance(error, ImagenError):
        return error
    if isinstance(error, ImportError):
        return ConfigurationError(
            f"A package is missing or broken: {_text(error)} Run {INSTALL}, and what is named here."
        )
    text = str(error).lower()
    if _kinds(error) & _OUT_OF_MEMORY or any(words in text for words in _OUT_OF_MEMORY_TEXTS):
        return ProviderError(
            "The device has too little memory for this: ask for a smaller size, set offload to"
            " model or sequential under [providers.diffusers.settings] in imagen.toml, or take a"
            " smaller repository or dtype."
        )
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _kinds(error: Exception) -> set[str]:
    """The names of its classes, and of those of the errors behind it."""
    return {kind.__name__ for one in _chain(error) for kind in type(one).__mro__}


def _status(error: Exception) -> int | None:
    """Return the status of the hub's reply in an error, if there is one."""
    codes = (getattr(getattr(one, "response", None), "status_code", None) for one in _chain(error))
    return next((code for code in codes if isinstance(code, int)), None)


def _text(error: BaseException) -> str:
    return (one_line(str(error)) or type(error).__name__).rstrip(".") + "."
