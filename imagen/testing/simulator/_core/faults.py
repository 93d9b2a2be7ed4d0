"""Faults as values: `faults=[None, Reset(after_billing=True),
RateLimited(wait_seconds=12)]`.

Fault
 +-- Decline   error reply of the provider: nothing is drawn, never billed
 +-- Withheld  drawn and billed, withheld by the filter with a status of success
 +-- JobFails  the job is accepted, and fails later
 +-- Spoil     drawn and always billed, but the reply lacks what was asked for
 +-- Break     the reply is lost; with `after_billing` the work was billed before
"""

import math
import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

import msgspec

from .messages import Delivery, Ending, Received, Reply, text_reply


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all faults."""


class Decline(Fault, frozen=True, kw_only=True):
    """Error reply of the provider, at once and not billed."""


class RateLimited(Decline, frozen=True, kw_only=True):
    """429. The wait is in `Retry-After`, or only in the text ("Please try again in 12s")."""

    wait_seconds: float = 12.0
    told: Literal["header", "text"] = "header"


class QuotaExhausted(Decline, frozen=True, kw_only=True):
    """No credit left: 429 insufficient_quota, or 402 if the provider uses that."""


class ServerError(Decline, frozen=True, kw_only=True):
    """500."""


class Overloaded(Decline, frozen=True, kw_only=True):
    """503."""


class Refused(Decline, frozen=True, kw_only=True):
    """The safety system refuses the prompt."""


class NotAllowed(Decline, frozen=True, kw_only=True):
    """403: the key is right, but the organisation is not verified or lacks the
    right.
    """


class Withheld(Fault, frozen=True, kw_only=True):
    """Drawn and billed, and then withheld by the filter, in a reply that looks
    like success.
    """


class JobFails(Fault, frozen=True, kw_only=True):
    """Job that is accepted and later fails. `text` is the reason, if there is
    one.
    """

    text: str = "Internal error while drawing."


class Spoil(Fault, frozen=True, kw_only=True):
    """Reply that arrives but lacks what was asked for. Always billed."""


class FewerImages(Spoil, frozen=True, kw_only=True):
    """`missing` fewer images than asked. Only those that were drawn are billed;
    none at all is possible.
    """

    missing: int = 1


class ExpiredLink(Spoil, frozen=True, kw_only=True):
    """Links in the reply return `status` (403 or 404). A reply without links is
    unchanged.
    """

    status: int = 403


class BrokenBase64(Spoil, frozen=True, kw_only=True):
    """The base64 text holds invalid characters. A reply with links is
    unchanged.
    """


class WrongMedia(Spoil, frozen=True, kw_only=True):
    """HTML page in place of the image."""


class Break(Fault, frozen=True, kw_only=True):
    """The way back is broken: at once and for nothing, or `after_billing` (and
    after the latency).
    """

    spares_image: ClassVar[bool] = False
    """True if a patient client still gets the image."""

    after_billing: bool = True

    def spoil(self, reply: Reply, *, chance: random.Random, elsewhere: str) -> Delivery:
        """Turn the provider's reply into what is sent. `elsewhere` is this path
        at another origin.
        """
        raise NotImplementedError  # pragma: no cover (a base class)


class Reset(Break, frozen=True, kw_only=True):
    """The connection is reset (RST) before any byte. Not billed unless
    `after_billing`.
    """

    after_billing: bool = False

    def spoil(self, reply: Reply, *, chance: random.Random, elsewhere: str) -> Delivery:
        return Delivery(reply=reply, pieces=(), head=False, ending=Ending.RESET)


class Stall(Break, frozen=True, kw_only=True):
    """Nothing, the headers, or headers and half the body; then silence; then
    the connection is closed.
    """

    seconds: float = math.inf
    sent: Literal["nothing", "headers", "half"] = "headers"

    def spoil(self, reply: Reply, *, chance: random.Random, elsewhere: str) -> Delivery:
        return Delivery(
            reply=reply,
            pieces=_first_part(reply.pieces, 0.5) if self.sent == "half" else (),
            head=self.sent != "nothing",
            stall_seconds=self.seconds,
            ending=Ending.CLOSED,
        )


class Truncated(Break, frozen=True, kw_only=True):
    """The connection closes after a share of the body: short of Content-Length,
    or of the last chunk.
    """

    share: float = 0.5
    chunked: bool = False

    def spoil(self, reply: Reply, *, chance: random.Random, elsewhere: str) -> Delivery:
        return Delivery(
            reply=msgspec.structs.replace(reply, chunked=self.chunked),
            pieces=_first_part(reply.pieces, self.share),
            ending=Ending.CLOSED,
        )


class Garbage(Break, frozen=True, kw_only=True):
    """200, application/json, and random bytes (the same for the same seed and
    request number).
    """

    size_bytes: int = 4096

    def spoil(self, reply: Reply, *, chance: random.Random, elsewhere: str) -> Delivery:
        return _instead(
            Reply(
                headers=(("content-type", "application/json"),),
                pieces=(chance.randbytes(self.size_bytes),),
            )
        )


class HtmlError(Break, frozen=True, kw_only=True):
    """A proxy's HTML page with an error status. Not billed unless
    `after_billing`.
    """

    after_billing: bool = False
    status: int = 502

    def spoil(self, reply: Reply, *, chance: random.Random, elsewhere: str) -> Delivery:
        page = f"<html><body><h1>{self.status}</h1><p>The proxy got no answer.</p></body></html>"
        return _instead(text_reply(page, status=self.status, media_type="text/html"))


class GzipBomb(Break, frozen=True, kw_only=True):
    """A small body with Content-Encoding gzip that expands to
    `expands_to_bytes` spaces.
    """

    expands_to_bytes: int = 1 << 30

    def spoil(self, reply: Reply, *, chance: random.Random, elsewhere: str) -> Delivery:
        headers = (("content-type", "application/json"), ("content-encoding", "gzip"))
        return _instead(Reply(headers=headers, pieces=(_gzip_of_spaces(self.expands_to_bytes),)))


class Drip(Break, frozen=True, kw_only=True):
    """The whole reply, `piece_bytes` at a time, with a pause before each piece."""

    spares_image: ClassVar[bool] = True
    piece_bytes: int = 1024
    pause_seconds: float = 0.01

    def spoil(self, reply: Reply, *, chance: random.Random, elsewhere: str) -> Delivery:
        body = b"".join(reply.pieces)
        pieces = tuple(
            body[at : at + self.piece_bytes] for at in range(0, len(body), self.piece_bytes)
        )
        return Delivery(reply=reply, pieces=pieces, pause_seconds=self.pause_seconds)


class Redirect(Break, frozen=True, kw_only=True):
    """307 to `to`, or to the same path at the simulator's second origin. Not
    billed unless `after_billing`.
    """

    after_billing: bool = False
    to: str | None = None

    def spoil(self, reply: Reply, *, chance: random.Random, elsewhere: str) -> Delivery:
        return _instead(Reply(status=307, headers=(("location", self.to or elsewhere),)))


FaultPlan = (
    Fault | Sequence[Fault | None] | Mapping[int, Fault] | Callable[[Received], Fault | None] | None
)
"""One fault for every request; or by the request's index among its kind; or a
function of the request.
"""


def planned_fault(plan: FaultPlan, place: int, received: Received) -> Fault | None:
    """The fault for this request, the `place`-th of its kind."""
    if plan is None or isinstance(plan, Fault):
        return plan
    if isinstance(plan, Mapping):
        return plan.get(place)
    if isinstance(plan, Sequence):
        return plan[place] if place < len(plan) else None
    return plan(received)


NAMED: Mapping[str, Fault] = {
    "broken-base64": BrokenBase64(),
    "drip": Drip(),
    "expired-link": ExpiredLink(),
    "fewer-images": FewerImages(),
    "garbage": Garbage(),
    "gzip-bomb": GzipBomb(),
    "html": HtmlError(),
    "job-fails": JobFails(),
    "not-allowed": NotAllowed(),
    "overloaded": Overloaded(),
    "quota": QuotaExhausted(),
    "rate-limited": RateLimited(),
    "rate-limited-text": RateLimited(told="text"),
    "redirect": Redirect(),
    "refused": Refused(),
    "reset": Reset(),
    "reset-after-billing": Reset(after_billing=True),
    "server-error": ServerError(),
    "stall": Stall(),
    "stall-silent": Stall(sent="nothing"),
    "truncated": Truncated(),
    "truncated-chunked": Truncated(chunked=True),
    "withheld": Withheld(),
    "wrong-media": WrongMedia(),
}
"""The faults as the command line names them."""


def _instead(reply: Reply) -> Delivery:
    return Delivery(reply=reply, pieces=reply.pieces)


def _first_part(pieces: tuple[bytes, ...], share: float) -> tuple[bytes, ...]:
    left = int(sum(map(len, pieces)) * share)
    kept = []
    for piece in pieces:
        if left > 0:
            kept.append(piece[:left])
        left -= len(piece)
    return tuple(kept)


def _gzip_of_spaces(size_bytes: int) -> bytes:
    """A gzip file of one member, because clients' decoders stop after the
    first.

    A full flush ends a block on a byte boundary and forgets the window, so the
    block of one MiB can be repeated as bytes.
    """
    blocks, rest = divmod(size_bytes, 1 << 20)
    block = b" " * (1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed_block = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    packed_rest = packer.compress(block[:rest]) + packer.flush()
    checksum = 0
    for _ in range(blocks):
        checksum = zlib.crc32(block, checksum)
    checksum = zlib.crc32(block[:rest], checksum)
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    trailer = checksum.to_bytes(4, "little") + (size_bytes & 0xFFFFFFFF).to_bytes(4, "little")
    return header + packed_block * blocks + packed_rest + trailer
