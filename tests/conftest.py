"""What every test needs."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_proxy_around_us(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
