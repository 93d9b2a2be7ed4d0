"""What a provider is given with a request: the account's terms, and the means to draw."""

import random
import time
from decimal import Decimal
from typing import Protocol

import pybase64

from ._faults import BrokenBase64, ExpiredLink, Fault, FewerImages, WrongMedia
from ._pictures import picture
from ._words import Received

_NOT_A_PICTURE = b"<!DOCTYPE html><html><body><h1>Sign in to continue</h1></body></html>"


class Shelf(Protocol):
    """Where pictures lie that are handed out as links."""

    def keep(self, content: bytes, format: str, *, expired_status: int | None) -> str:
        """Store one file and return its URL."""
        ...


class Job:
    """One request in the hands of a provider.

    Attributes:
        path: the request's path after the provider's base path.
        key: the key that this provider accepts.
        usd_per_image: a fixed price, or None to bill by the provider's own list.
        seconds: how long the drawing takes.
        created: unix time, for the reply.
        fault: what the server has in mind for this request.
        spoiled: True once a fault has made a picture of this job useless.
    """

    def __init__(
        self,
        received: Received,
        *,
        path: str,
        key: str,
        usd_per_image: Decimal | None,
        image_bytes: int | None,
        seconds: float,
        seed: int,
        shelf: Shelf,
        fault: Fault | None,
    ) -> None:
        self.received = received
        self.path = path
        self.key = key
        self.usd_per_image = usd_per_image
        self.seconds = seconds
        self.created = int(time.time())
        self.spoiled = False
        self.chance = random.Random(f"{seed}/{received.number}")
        self._image_bytes = image_bytes
        self._shelf = shelf
        self.fault = fault

    def count(self, asked: int) -> int:
        """How many of the images asked for will be drawn."""
        return max(0, asked - self.fault.missing) if isinstance(self.fault, FewerImages) else asked

    def draw(self, width: int, height: int, *, format: str = "png", frames: int = 1) -> bytes:
        """One picture; every call gives another one."""
        if isinstance(self.fault, WrongMedia):
            self.spoiled = True
            return _NOT_A_PICTURE
        seed = self.chance.getrandbits(64)
        return picture(format, width, height, seed=seed, size_bytes=self._image_bytes, frames=frames)

    def as_base64(self, content: bytes) -> str:
        text = pybase64.b64encode_as_string(content)
        if isinstance(self.fault, BrokenBase64):
            self.spoiled = True
            middle = len(text) // 2
            return f"{text[:middle]}*!*{text[middle + 1 : -1]}"
        return text

    def as_link(self, content: bytes, *, format: str = "png") -> str:
        if isinstance(self.fault, ExpiredLink):
            self.spoiled = True
            return self._shelf.keep(content, format, expired_status=self.fault.status)
        return self._shelf.keep(content, format, expired_status=None)
