"""The exception tree."""

from __future__ import annotations

import imagen


def test_every_error_has_a_code_and_says_whether_it_was_billed():
    def leaves(kind: type[imagen.ImagenError]) -> list[type[imagen.ImagenError]]:
        return [kind, *(leaf for below in kind.__subclasses__() for leaf in leaves(below))]

    for kind in leaves(imagen.ImagenError):
        if kind.__name__.startswith("_"):
            continue
        error = kind("A sentence.")
        assert error.code == error.code.upper()
        assert error.billed in ("yes", "no", "unknown")
        assert isinstance(error.retryable, bool)
        assert str(error) == "A sentence."
        assert kind.__name__ in imagen.__all__
