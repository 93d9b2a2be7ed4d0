"""The subscribers of production, in memory."""

from __future__ import annotations

import pytest

from tests.support.telemetry import Watch


@pytest.fixture
def watch():
    return Watch()
