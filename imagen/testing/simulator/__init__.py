"""A provider simulator: the providers' wire formats over real HTTP, chosen
latency and faults, its own bill.

    faults = [None, Reset(after_billing=True)]
    async with open_simulator(latency=(0.1, 0.5), faults=faults) as simulator:
        ...  # a client with base URL simulator.base_url("openai") and key "test-key"
    assert ledger_total == simulator.billed_usd

As a separate process: `python -m imagen.testing.simulator`. It needs the extra
`testing` (h11).
"""

from ._core.faults import (
    NAMED,
    Break,
    BrokenBase64,
    Decline,
    Drip,
    ExpiredLink,
    Fault,
    FaultPlan,
    FewerImages,
    Garbage,
    GzipBomb,
    HtmlError,
    JobFails,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Redirect,
    Refused,
    Reset,
    ServerError,
    Spoil,
    Stall,
    Truncated,
    Withheld,
    WrongMedia,
)
from ._core.images import make_image, png
from ._core.latency import Latency
from ._core.messages import Answered, Bill, Received
from ._core.server import open_simulator
from ._core.simulator import Simulator
from ._providers.nexos import NEXOS_MODELS, Nexos, NexosModel
from ._providers.openai.server import OpenAI

__all__ = [
    "Answered",
    "Bill",
    "Break",
    "BrokenBase64",
    "Decline",
    "Drip",
    "ExpiredLink",
    "Fault",
    "FaultPlan",
    "FewerImages",
    "Garbage",
    "GzipBomb",
    "HtmlError",
    "JobFails",
    "Latency",
    "NAMED",
    "NEXOS_MODELS",
    "Nexos",
    "NexosModel",
    "NotAllowed",
    "OpenAI",
    "Overloaded",
    "QuotaExhausted",
    "RateLimited",
    "Received",
    "Redirect",
    "Refused",
    "Reset",
    "ServerError",
    "Simulator",
    "Spoil",
    "Stall",
    "Truncated",
    "Withheld",
    "WrongMedia",
    "make_image",
    "open_simulator",
    "png",
]
