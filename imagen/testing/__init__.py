"""For tests of programs that use imagen, and of imagen itself: no network, no
waiting, and nothing mocked.

`ScriptedTransport` returns exact replies at exact times, `InlineWorkers` runs
blocking work inline so that virtual time stays exact, `cancel_at_every_step`
shows that a program survives a cancellation anywhere. The provider simulator, a
real server on loopback, is `imagen.testing.simulator`.
"""

from __future__ import annotations

from ._cancelling import cancel_at_every_step
from ._inline import InlineWorkers
from ._scripted import Fault, ScriptedReply, ScriptedTransport

__all__ = ["Fault", "InlineWorkers", "ScriptedReply", "ScriptedTransport", "cancel_at_every_step"]
