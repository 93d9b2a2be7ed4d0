"""Webhooks: a signed POST to the user's server when a batch is over, retried
until it is accepted.

::

    pending -> delivered | dead         and `Webhooks.retry` leads from dead back to pending

The form is that of Standard Webhooks (https://www.standardwebhooks.com), so
that receivers can check it with a library.

A message is a row on the disk before it is first sent, and keeps its id at
every try. The process that sends it claims it first: one statement finds a due
message and moves its next try to the end of a lease. That process then records
the result, which ends the claim. If it dies or is cancelled, the message is due
again after the lease. So a message may arrive twice, which the receiver sees by
its id, but it is never lost.

A message belongs to the URL that was set when it was made: others who share the
database may have another receiver.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Literal, get_args

import msgspec
import pybase64
import trio

from .._errors import (
    AuthenticationError,
    ConfigurationError,
    ImagenError,
    InvalidRequestError,
    StorageError,
)
from .._results.events import EventHandler, WebhookDead, WebhookDelivered
from .._system.retry_after import read_wait_seconds
from .._system.secret import Secret
from ..providers._steps import HttpRequest, HttpResponse
from .database import Database, Row
from .outbox import OutboxLoop

__all__ = [
    "BatchCompleted",
    "MOST_IMAGE_IDS",
    "Webhook",
    "WebhookState",
    "Webhooks",
    "sign",
    "verify_webhook",
    "wait_before_next",
]

WebhookState = Literal["pending", "delivered", "dead"]

# Waits from a failure to the next try: seconds for a restart of the receiver,
# seven hours in all for an outage at night. The example in the specification
# goes on for three days, which few batches are worth.
_WAITS = (5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0)
# Maximum of a receiver's Retry-After.
_LONGEST_WAIT_SECONDS = 86400.0
# The specification recommends 15 to 30.
_ANSWER_SECONDS = 20.0
# Longer than a reply and a database write together.
_LEASE_SECONDS = 60.0
# Other processes may have left messages behind, and the clock may have been
# set.
_LOOK_SECONDS = 60.0
_CLOSE_SECONDS = 10.0
# Maximum age of a verified message, against replay; the specification's
# libraries agree.
_TOLERANCE_SECONDS = 300.0
MOST_IMAGE_IDS = 1000
_KEY_PREFIX = "whsec_"
# The specification's bounds for a key, in bytes.
_KEY_BYTES = range(24, 65)


class BatchCompleted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """End of a batch or of a background batch, whose id is that of its session.
    `image_ids` has at most 1000.
    """

    batch_id: str
    requested: int | None
    succeeded: int
    failed: int
    cost_usd: Decimal
    unknown_costs: int
    image_ids: tuple[str, ...] = ()
    tag: str | None = None


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """State of a message. `body` is its JSON; `next_try_at` is None if no try
    follows.
    """

    id: str
    body: str
    state: WebhookState
    attempts: int
    next_try_at: datetime.datetime | None
    last_error: str | None
    created_at: datetime.datetime
    ended_at: datetime.datetime | None


def sign(secret: Secret, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature`; `timestamp` is Unix time.

    Raises:
        ConfigurationError: the secret has another form than whsec_ and base64.
    """
    digest = hmac.digest(
        _read_key(secret), b"%b.%d.%b" % (message_id.encode(), timestamp, body), hashlib.sha256
    )
    return f"v1,{pybase64.b64encode_as_string(digest)}"


def verify_webhook(headers: Mapping[str, str], body: bytes, secret: Secret, *, now: float) -> str:
    """Verify, as a receiver, that a request comes from an imagen with this
    secret; return the message's id.

    A message may come more than once, each time with the same id. Header names
    are lower-case; `now` is Unix time.

    Raises:
        AuthenticationError: the signature is missing, wrong, or older than five
            minutes: answer 401.
        ConfigurationError: the secret has another form than whsec_ and base64.
    """
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (
        message_id
        and message_id.isascii()
        and timestamp.isascii()
        and timestamp.isdigit()
        and len(timestamp) < 12
    ):
        raise AuthenticationError(
            "The webhook is not signed: it lacks webhook-id or webhook-timestamp."
        )
    if abs(now - int(timestamp)) > _TOLERANCE_SECONDS:
        raise AuthenticationError(
            "The webhook was signed more than five minutes ago, or the clocks differ."
        )
    expected = sign(secret, message_id, int(timestamp), body).encode()
    given = headers.get("webhook-signature", "").encode("utf-8", "replace").split()
    # Several while the sender rotates its secret.
    if not any(hmac.compare_digest(expected, one) for one in given):
        raise AuthenticationError(
            "The webhook is signed with another secret, or was changed on the way."
        )
    return message_id


def wait_before_next(attempts: int, retry_after_seconds: float | None = None) -> float | None:
    """Return the seconds to wait after failed try number `attempts`; None after
    the last.
    """
    if attempts > len(_WAITS):
        return None
    return min(max(_WAITS[attempts - 1], retry_after_seconds or 0.0), _LONGEST_WAIT_SECONDS)


def _read_key(secret: Secret) -> bytes:
    text = secret.reveal()
    try:
        key = pybase64.b64decode(text.removeprefix(_KEY_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(_KEY_PREFIX) or len(key) not in _KEY_BYTES:
        raise ConfigurationError(
            "The secret for webhooks (IMAGEN_WEBHOOK_SECRET) must be whsec_ and the base64 of 24 to"
            ' 64 random bytes, as this prints it: echo "whsec_$(openssl rand -base64 32)".'
        )
    return key


def _encode(event: BatchCompleted, now: float) -> str:
    data = msgspec.to_builtins(
        msgspec.structs.replace(event, image_ids=event.image_ids[:MOST_IMAGE_IDS])
    )
    # Not 1E-7.
    data["cost_usd"] = format(event.cost_usd, "f")
    envelope = {"type": "batch.completed", "timestamp": _as_datetime(now), "data": data}
    return msgspec.json.encode(envelope).decode()


def _as_datetime(unix_time: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(unix_time, datetime.UTC)


# --- what stands in the database ----------------------------------------------

_COLUMNS = "id, body, state, attempts, next_try_at, last_error, created_at, ended_at"
_INSERT = """
INSERT INTO webhooks (id, receiver, body, next_try_at, created_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_CLAIM = """
UPDATE webhooks SET attempts = attempts + 1, next_try_at = ?
WHERE id = (
    SELECT id FROM webhooks WHERE receiver = ? AND state = 'pending' AND next_try_at <= ?
    ORDER BY next_try_at LIMIT 1
)
RETURNING id, body, attempts
"""
_RETRY = """
UPDATE webhooks SET receiver = ?, state = 'pending', attempts = 0, next_try_at = ?, ended_at = NULL
WHERE id = ? AND (state = 'dead' OR state = 'pending' AND receiver != ?)
RETURNING id
"""
_NEXT = "SELECT min(next_try_at) FROM webhooks WHERE receiver = ? AND state = 'pending'"
# A delivery counts even if another process has claimed the message meanwhile.
_DELIVERED = (
    "UPDATE webhooks SET state = 'delivered', next_try_at = NULL, last_error = NULL, ended_at = ?"
    " WHERE id = ?"
)
_FAILED = """
UPDATE webhooks SET state = ?, next_try_at = ?, last_error = ?, ended_at = ?
WHERE id = ? AND attempts = ?
"""


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    """Claimed message, for its `attempts`-th try."""

    id: str
    body: str
    attempts: int


class _Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Reason of a failed try; `final` if the receiver wants no other."""

    error: str
    final: bool = False
    retry_after_seconds: float | None = None


def _read_row(row: Row) -> Webhook:
    fields = zip(_COLUMNS.split(", "), row, strict=True)
    # The real numbers among them are moments.
    read = {
        name: _as_datetime(value) if isinstance(value, float) else value for name, value in fields
    }
    return msgspec.convert(read, Webhook)


def _judge(response: HttpResponse) -> _Refusal | None:
    status = response.status
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return _Refusal(
            error=(
                f"The receiver answered {status}, which is not followed: set the URL that it"
                " leads to."
            )
        )
    if status == 410:
        return _Refusal(error="The receiver answered 410: it wants no more of this.", final=True)
    return _Refusal(
        error=f"The receiver answered {status}.",
        retry_after_seconds=read_wait_seconds(response.headers),
    )


class Webhooks:
    """The messages to one URL. They outlive the process: those that another one
    left behind are sent as well.

    Args:
        send: Sends one request and follows no redirect. It decides which
            addresses are allowed, and may leave out the reply's body.
        secret: What messages are signed with: whsec_ and base64.
        now: Unix time in seconds, as all processes that share the database
            agree on it.

    Raises:
        ConfigurationError: the secret has another form.
    """

    def __init__(
        self,
        database: Database,
        send: Callable[[HttpRequest], Awaitable[HttpResponse]],
        *,
        secret: Secret,
        url: str,
        now: Callable[[], float],
        emit: EventHandler = lambda event: None,
    ) -> None:
        _read_key(secret)
        self._emit = emit
        self._database = database
        self._send = send
        self._secret = secret
        self._url = url
        self._receiver = hashlib.sha256(url.encode()).hexdigest()
        self._now = now
        self._loop = OutboxLoop(_CLOSE_SECONDS)

    async def enqueue(self, event: BatchCompleted) -> str:
        """Add an event to the outbox and return the id of its message; durable
        when this returns.

        A batch is announced once, even if a later process finds it complete
        again.

        Raises:
            StorageError: the row could not be written.
        """
        now = self._now()
        message_id = f"msg_{event.batch_id}"
        await self._database.write(
            [(_INSERT, (message_id, self._receiver, _encode(event, now), now, now))]
        )
        self._loop.wake()
        return message_id

    async def list(
        self, state: WebhookState | None = None, *, limit: int = 100
    ) -> Sequence[Webhook]:
        """Messages, the newest first, also those to other URLs.

        Raises:
            StorageError: the database cannot be read.
        """
        states = get_args(WebhookState) if state is None else (state,)
        marks = ", ".join("?" * len(states))
        sql = (
            f"SELECT {_COLUMNS} FROM webhooks WHERE state IN ({marks}) ORDER BY created_at DESC,"
            " rowid DESC LIMIT ?"
        )
        return [_read_row(row) for row in await self._database.read(sql, (*states, limit))]

    async def retry(self, message_id: str) -> None:
        """Queue a message again, with all its tries: a dead one, or one for an
        earlier URL.

        Raises:
            InvalidRequestError: there is no such message.
            StorageError: the database cannot be written.
        """
        values = (self._receiver, self._now(), message_id, self._receiver)
        if not await self._database.transact(lambda transaction: transaction.run(_RETRY, values)):
            raise InvalidRequestError(
                f"There is no webhook {message_id!r} to send again: list those that are dead."
            )
        self._loop.wake()

    async def run(self) -> None:
        """Send due messages until `close`. A cancelled send is repeated after
        the lease.
        """
        with self._loop.scope:
            await self._loop.run(self._send_due)

    def close(self) -> None:
        """End `run` when nothing is due, within ten seconds; the rest stays on
        disk.
        """
        self._loop.close()

    async def _send_due(self) -> float:
        """Send due messages; return the seconds until more may be due."""
        try:
            while (message := await self._claim()) is not None:
                await self._deliver(message)
            rows = await self._database.read(_NEXT, (self._receiver,))
        except StorageError:
            # Nothing is lost: the rows are read again when the disk is back.
            return _LOOK_SECONDS
        due = rows[0][0]
        return (
            min(max(due - self._now(), 0.0), _LOOK_SECONDS)
            if isinstance(due, float)
            else _LOOK_SECONDS
        )

    async def _claim(self) -> _Message | None:
        now = self._now()
        values = (now + _LEASE_SECONDS, self._receiver, now)
        rows = await self._database.transact(lambda transaction: transaction.run(_CLAIM, values))
        return (
            msgspec.convert(dict(zip(("id", "body", "attempts"), rows[0], strict=True)), _Message)
            if rows
            else None
        )

    async def _deliver(self, message: _Message) -> None:
        refusal = await self._post(message)
        now = self._now()
        if refusal is None:
            await self._database.write([(_DELIVERED, (now, message.id))])
            self._emit(WebhookDelivered(message_id=message.id, tries=message.attempts))
            return
        wait_seconds = (
            None
            if refusal.final
            else wait_before_next(message.attempts, refusal.retry_after_seconds)
        )
        if wait_seconds is None:
            values: Row = ("dead", None, refusal.error, now, message.id, message.attempts)
        else:
            values = (
                "pending",
                now + wait_seconds,
                refusal.error,
                None,
                message.id,
                message.attempts,
            )
        await self._database.write([(_FAILED, values)])
        if wait_seconds is None:
            self._emit(
                WebhookDead(message_id=message.id, tries=message.attempts, error=refusal.error)
            )

    async def _post(self, message: _Message) -> _Refusal | None:
        """Sends a message once; None means that it was taken."""
        body, timestamp = message.body.encode(), int(self._now())
        headers = {
            "content-type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._secret, message.id, timestamp, body),
        }
        try:
            with trio.move_on_after(_ANSWER_SECONDS):
                return _judge(
                    await self._send(
                        HttpRequest(method="POST", url=self._url, headers=headers, body=body)
                    )
                )
        except ImagenError as error:
            return _Refusal(error=error.message)
        return _Refusal(error=f"The receiver gave no answer within {_ANSWER_SECONDS:g} seconds.")
