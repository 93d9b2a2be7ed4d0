"""Secrets in texts and pickles."""

from __future__ import annotations

import pickle

import pytest

import imagen


def test_a_secret_shows_nowhere():
    secret = imagen.Secret("sk-very-secret")
    assert "very" not in repr(secret) + str(secret) + f"{secret}"
    assert secret.reveal() == "sk-very-secret"
    assert secret.hide_in("the key sk-very-secret is wrong") == "the key [hidden] is wrong"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
