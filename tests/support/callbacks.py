"""Signed callbacks of each provider that sends them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pybase64
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imagen.providers import HttpResponse
from imagen.testing.simulator._core import callbacks as _callbacks
from imagen.testing.simulator._providers.bfl import server as simulated_bfl
from imagen.testing.simulator._providers.fal import server as simulated_fal
from imagen.testing.simulator._providers.ideogram import server as simulated_ideogram
from imagen.testing.simulator._providers.replicate import server as simulated_replicate
from tests.support.exchanges import reply

NOW = 1_795_000_000


SECRET = "a secret that must stay secret"


KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))


Signed = tuple[dict[str, str], bytes]


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """How one provider signs, by its own secret or by another's, and what it
    answers to who checks that.

    `nameless` is a callback of its own that names no job.
    """

    name: str
    sign: Callable[[bool], Signed]
    nameless: Signed
    answers: tuple[HttpResponse, ...] = ()
    dated: bool = True


PUBLISHED = (reply(_callbacks.published_keys(KEY)),)


SENDERS = [
    Sender(
        name="bfl",
        sign=lambda own: simulated_bfl.sign_callback("j1", SECRET if own else "another secret"),
        nameless=simulated_bfl.sign_callback("", SECRET),
        dated=False,
    ),
    Sender(
        name="fal",
        sign=lambda own: simulated_fal.sign_callback("j1", KEY if own else OTHER_KEY, now=NOW),
        nameless=_callbacks.sign_with_key(
            {}, KEY, headers="x-fal-webhook-", id_header="request-id", id="j1", now=NOW
        ),
        answers=PUBLISHED,
    ),
    Sender(
        name="ideogram",
        sign=lambda own: simulated_ideogram.sign_callback("j1", KEY if own else OTHER_KEY, now=NOW),
        nameless=_callbacks.sign_with_key(
            [], KEY, headers="x-ideogram-webhook-", id_header="generation-id", id="j1", now=NOW
        ),
        answers=PUBLISHED,
    ),
    Sender(
        name="replicate",
        sign=lambda own: simulated_replicate.sign_callback(
            "j1", SECRET if own else "another secret", now=NOW
        ),
        nameless=simulated_replicate.sign_callback("", SECRET, now=NOW),
        answers=(reply({"key": f"whsec_{pybase64.b64encode_as_string(SECRET.encode())}"}),),
    ),
]


each_sender = pytest.mark.parametrize("sender", SENDERS, ids=[sender.name for sender in SENDERS])
