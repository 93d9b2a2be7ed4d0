"""Keys, kept out of every text."""

from __future__ import annotations

__all__ = ["Secret"]


class Secret:
    """A text that no repr, log, error or pickle shows; `reveal` is the one way
    to it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def hide_in(self, text: str) -> str:
        """The text with every occurrence of the secret blotted out."""
        return text.replace(self._text, "[hidden]") if self._text else text

    def hide_in_bytes(self, data: bytes) -> bytes:
        """The same for bytes."""
        return data.replace(self._text.encode(), b"[hidden]") if self._text else data

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")
