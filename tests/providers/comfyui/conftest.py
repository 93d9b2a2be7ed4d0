"""Fixture of the tests of ComfyUI."""

from __future__ import annotations

import uuid

import pytest

from tests.support.providers.comfyui import JOB


@pytest.fixture
def known_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make JOB the id of the job and of the client."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(JOB))
