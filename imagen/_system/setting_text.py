"""Text of settings as shells, env files, editors and web pages leave it."""

from __future__ import annotations

__all__ = ["clean_text"]

# Marks that have no width, and quotation marks, also typographic ones: what
# copying adds around a value.
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00ad\x00"
_QUOTES = "\"'`\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a"


def clean_text(text: str) -> str:
    """Return the text without blanks, quotation marks and invisible characters
    around it.
    """
    while text != (shorter := text.strip().strip(_INVISIBLE + _QUOTES)):
        text = shorter
    return text
