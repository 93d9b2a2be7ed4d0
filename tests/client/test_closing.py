"""A client lets go of its home, whatever hangs or fails while it closes."""

from __future__ import annotations

import pytest
import trio

import imagen
from imagen.testing import InlineWorkers, ScriptedTransport
from tests.support.job_provider import Works
from tests.support.three_providers import image_reply


class Stubborn(ScriptedTransport):
    """A transport that does not close."""

    def __init__(self, *, raises: bool) -> None:
        super().__init__(lambda request: image_reply())
        self._raises = raises

    async def aclose(self) -> None:
        if self._raises:
            raise imagen.ProviderError("The connection cannot be closed.")
        await trio.sleep_forever()


@pytest.mark.parametrize("raises", [True, False])
async def test_a_connection_that_does_not_close_keeps_no_lock(raises, autojump_clock, tmp_path):
    works = Works()
    try:
        async with imagen.open_client(
            works.settings(tmp_path),
            transport=lambda access: Stubborn(raises=raises),
            workers=InlineWorkers(),
        ) as client:
            await client.generate("x", model="sync-1")
    except imagen.ProviderError:
        assert raises
    assert list((tmp_path / "owners").iterdir()) == []
