"""Driver of exchanges: sends, waits, computes, and retries repeatable steps,
over any transport.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

import trio

from .._errors import ImagenError, OutcomeUnknownError, ProviderError
from .._policy.bounds import Bounds
from .._policy.retry import RetryPolicy, retry_steps
from .._system.nursery import open_bare_nursery
from .._system.threads import Workers
from ..providers._steps import (
    Cancellable,
    Compute,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    Meanwhile,
    PartialImage,
    Progress,
    ReadChunk,
    Render,
    Reporter,
    ResultDelivered,
    Step,
    StreamedReply,
    Transport,
    Wait,
)
from .received import ReceivedReply
from .replay import ReplayTransport

__all__ = ["ExchangeDriver", "ExchangeObserver"]

Result = TypeVar("Result")

_EVENT_ENDS = (b"\n\n", b"\r\r", b"\n\r\n")


class ExchangeObserver:
    """Observer of an exchange; the base class ignores every notification."""

    async def before_sending(self) -> None:
        """A step that may be billed leaves when this returns."""

    async def accepted(self, job: JobAccepted) -> None:
        """The provider knows the job by an id now."""

    async def wait(self, step: Wait) -> None:
        """Pause; may end early by a callback."""
        await trio.sleep(step.seconds)

    async def delivered(self, step: ResultDelivered) -> None:
        """Note the result of one of many requests."""

    def answered(self, response: HttpResponse) -> None:
        """Note the reply to a request that may be billed."""

    def downloading(self, url: str) -> None:
        """Note that a finished image is fetched from a link."""

    def receiving(self, reply: ReceivedReply) -> None:
        """Keep a reply whose body is about to come, except downloads."""

    def cancellable(self, step: Cancellable) -> None:
        """Note the request that stops the job from now on."""

    def preview(self, partial: PartialImage) -> None:
        """An unfinished image came."""

    def progress(self, progress: Progress) -> None:
        """Note the progress of the work."""


class ExchangeDriver:
    """Driver of the exchanges of one provider."""

    def __init__(
        self, transport: Transport, *, bounds: Bounds, retry: RetryPolicy, workers: Workers
    ) -> None:
        self._transport = transport
        self._bounds = bounds
        self._retry = retry
        self._workers = workers
        self._cache: dict[str, tuple[float, HttpResponse]] = {}
        self._cache_lock = trio.Lock()

    def replaying(self, replies: Iterable[ReceivedReply]) -> ExchangeDriver:
        """Return a driver that answers requests by earlier replies. It sends
        downloads, and nothing else.
        """
        return ExchangeDriver(
            ReplayTransport(replies, self._transport),
            bounds=self._bounds,
            retry=self._retry,
            workers=self._workers,
        )

    async def run(
        self,
        exchange: Generator[Step, HttpResponse | bytes | None, Result],
        observer: ExchangeObserver,
        *,
        billable: bool = False,
    ) -> Result:
        """Steps an exchange to its end. A cancellation closes the connection in
        use and leaves nothing behind.

        `billable`: True if the work was ordered before, e.g. by another
        process.

        Raises:
            ImagenError: raised by the provider's code, the network or the
                server.
        """
        answer: HttpResponse | bytes | None = None
        async with AsyncExitStack() as open_reply:
            reply: _BoundedReply | None = None
            repeatable = False
            failure: ProviderError | None = None
            try:
                while True:
                    try:
                        step = exchange.send(answer) if failure is None else exchange.throw(failure)
                    except StopIteration as done:
                        result: Result = done.value
                        return result
                    answer, failure = None, None
                    if isinstance(step, HttpRequest):
                        repeatable = step.repeatable
                        if not repeatable and not billable:
                            await observer.before_sending()
                            billable = True
                    try:
                        if isinstance(step, HttpRequest) and step.stream:
                            # One that broke off, or is read to its end, need
                            # not wait for the end of the exchange.
                            await open_reply.aclose()
                            opened_at = trio.current_time()
                            opened = await open_reply.enter_async_context(
                                self._transport.open(step)
                            )
                            reply = self._bounded(opened, step, observer, opened_at)
                            answer = HttpResponse(
                                status=reply.received.status, headers=reply.received.headers
                            )
                            observer.answered(answer)
                        elif isinstance(step, ReadChunk):
                            assert reply is not None, "ReadChunk before a streamed request"
                            if step.wait_seconds is not None:
                                answer = await reply.receive_soon(step.wait_seconds)
                            else:
                                answer = await reply.receive()
                        else:
                            if reply is not None:
                                reply.forget_shown()
                            answer = await self._perform(step, observer, billable=billable)
                    except ProviderError as error:
                        if not repeatable:
                            raise
                        # The exchange may retry; if it does not, the error
                        # comes back out of it.
                        failure = error
            finally:
                exchange.close()

    async def _perform(
        self, step: Step, observer: ExchangeObserver, *, billable: bool
    ) -> HttpResponse | bytes | None:
        match step:
            case HttpRequest() if step.cache_seconds > 0:
                return await self._send_cached(step)
            case HttpRequest(repeatable=True):
                if step.collects:
                    observer.downloading(step.url)
                return await self._send_repeatable(step, observer, billable=billable)
            case HttpRequest(idempotent=True):
                return await self._send_idempotent(step, observer)
            case HttpRequest(meanwhile=Meanwhile() as meanwhile):
                return await self._send_asking(step, meanwhile, observer)
            case HttpRequest():
                response = await self.send(step, observer)
                observer.answered(response)
                return response
            case Wait():
                await observer.wait(step)
            case Compute(call=call, repeatable=repeatable):
                if not repeatable:
                    await observer.before_sending()
                return await self._workers.run(call)
            case Render(call=render, device=device):
                await observer.before_sending()
                return await self._render(render, device, observer)
            case PartialImage():
                observer.preview(step)
            case Progress():
                observer.progress(step)
            case JobAccepted():
                await observer.accepted(step)
            case Cancellable():
                observer.cancellable(step)
            case ResultDelivered():
                await observer.delivered(step)
            case _:
                raise AssertionError(f"{step!r} is not a step")
        return None

    async def send(
        self, request: HttpRequest, observer: ExchangeObserver | None = None
    ) -> HttpResponse:
        """Send one request once, and read the whole reply."""
        opened_at = trio.current_time()
        async with self._transport.open(request) as opened:
            reply = self._bounded(opened, request, observer, opened_at)
            await reply.receive_all()
            response = reply.received.response()
            reply.received.chunks = [response.body]
            return response

    def _bounded(
        self,
        reply: StreamedReply,
        request: HttpRequest,
        observer: ExchangeObserver | None,
        opened_at: float,
    ) -> _BoundedReply:
        received = ReceivedReply(request.method, request.url, reply.status, reply.headers)
        if observer is not None and not request.collects:
            observer.receiving(received)
        return _BoundedReply(reply, received, self._bounds, opened_at)

    async def _send_repeatable(
        self, request: HttpRequest, observer: ExchangeObserver | None = None, *, billable: bool
    ) -> HttpResponse:
        try:
            async for attempt in retry_steps(self._retry):
                with attempt:
                    return _retry_later(await self.send(request, observer))
        except _TriedEnough as tried:
            return tried.response
        except ProviderError as error:
            # Also where nothing was sent on this step: the image must not be
            # ordered, and paid, once more.
            if billable and request.collects:
                text = f"The image was made and billed, but could not be fetched. {error.message}"
                raise ProviderError(text, billed="yes", details=error.details) from error
            if billable:
                text = (
                    f"The job was accepted, and its state cannot be read any more. {error.message}"
                )
                raise OutcomeUnknownError(text, details=error.details) from error
            retryable = error.retryable or isinstance(error, OutcomeUnknownError)
            raise ProviderError(
                error.message, retryable=retryable, details=error.details
            ) from error
        raise AssertionError(
            "a retry loop ends in a result or an error"
        )  # pragma: no cover (for the type checker)

    async def _send_idempotent(
        self, request: HttpRequest, observer: ExchangeObserver
    ) -> HttpResponse:
        """Retry a creating step after any fault; if a try was lost, only a
        success settles the outcome.
        """
        lost: OutcomeUnknownError | None = None
        response: HttpResponse | None = None
        try:
            async for attempt in retry_steps(self._retry):
                with attempt:
                    try:
                        response = await self.send(request, observer)
                    except OutcomeUnknownError as error:
                        lost = error
                        raise
                    observer.answered(response)
                    response = _retry_later(response)
        except _TriedEnough as tried:
            response = tried.response
        except ProviderError as error:
            raise lost or error from error
        assert response is not None
        if lost is not None and response.status >= 300:
            raise lost
        return response

    async def _send_asking(
        self, request: HttpRequest, meanwhile: Meanwhile, observer: ExchangeObserver
    ) -> HttpResponse:
        """Send a request, and poll its progress until the reply comes. A failed
        poll is repeated later.
        """

        async def ask() -> None:
            while True:
                await trio.sleep(meanwhile.every_seconds)
                try:
                    step = meanwhile.read(await self.send(meanwhile.request))
                except ImagenError:
                    continue
                if isinstance(step, PartialImage):
                    observer.preview(step)
                elif step is not None:
                    observer.progress(step)

        async with open_bare_nursery() as nursery:
            nursery.start_soon(ask, name="imagen progress")
            response = await self.send(request, observer)
            observer.answered(response)
            nursery.cancel_scope.cancel("the answer is there")
        return response

    async def _render(
        self, call: Callable[[Reporter], bytes], device: str, observer: ExchangeObserver
    ) -> bytes:
        """Runs a computation on a device. A cancellation ends it at its next
        report.
        """
        return await self._workers.run_on(device, partial(call, _ThreadReporter(observer)))

    async def _send_cached(self, request: HttpRequest) -> HttpResponse:
        async with self._cache_lock:
            fresh_until, response = self._cache.get(request.url, (-math.inf, None))
            if response is None or fresh_until < trio.current_time():
                response = await self._send_repeatable(request, billable=False)
                if response.status == 200:
                    self._cache[request.url] = (
                        trio.current_time() + request.cache_seconds,
                        response,
                    )
            return response


class _BoundedReply:
    """Reply whose body comes within the bounds of time and size.

    `received` keeps what has come. Until the first byte, and between whole
    events of a stream, the provider is at work, and `reply_seconds` holds;
    blanks that keep the connection open do not count as bytes. Within a body or
    an event `idle_seconds` holds, and for all of it `total_seconds`.
    """

    def __init__(
        self, reply: StreamedReply, received: ReceivedReply, bounds: Bounds, opened_at: float
    ) -> None:
        self.received = received
        self._reply = reply
        self._bounds = bounds
        self._begun = False
        self._deadline = opened_at + bounds.reply_seconds
        self._last_deadline = opened_at + bounds.whole_seconds
        self._size = 0

    async def receive(self) -> bytes:
        """Return the next bytes; b"" at the end.

        Raises:
            ProviderError: the body is too large; it may be billed.
            OutcomeUnknownError: it stopped, broke off, or takes too long.
        """
        with trio.move_on_at(self._due()):
            chunk = await self._reply.receive_some()
            self._note(chunk)
            return chunk
        raise OutcomeUnknownError(self._lateness(), details={"fault": "stall"})

    async def receive_all(self) -> None:
        """Receive up to the end, in one cancel scope.

        Raises:
            ProviderError, OutcomeUnknownError: as `receive` does.
        """
        with trio.CancelScope(deadline=self._due()) as bound:
            while chunk := await self._reply.receive_some():
                self._note(chunk)
                bound.deadline = self._due()
            return
        raise OutcomeUnknownError(self._lateness(), details={"fault": "stall"})

    async def receive_soon(self, seconds: float) -> bytes | None:
        """Return the next bytes of a socket, which loses nothing by a wait that
        is cut short; a broken one has ended.
        """
        with trio.move_on_after(seconds):
            try:
                return await self._reply.receive_some()
            except OutcomeUnknownError:
                return b""
        return None

    def forget_shown(self) -> None:
        """Drop the bytes of a preview that was shown. The last chunk may hold
        the start of what follows.
        """
        del self.received.chunks[:-1]
        self._size = 0

    def _note(self, chunk: bytes) -> None:
        self.received.chunks.append(chunk)
        self._size += len(chunk)
        if self._size > self._bounds.max_body_bytes:
            raise ProviderError(
                f"The reply is larger than {self._bounds.max_body_bytes:,} bytes; the rest was"
                " dropped, and it may be billed.",
                billed="unknown",
            )
        if self._begun or not chunk.isspace():
            self._begun = True
            working = chunk.endswith(_EVENT_ENDS)
            seconds = self._bounds.reply_seconds if working else self._bounds.idle_seconds
            self._deadline = trio.current_time() + seconds

    def _due(self) -> float:
        return min(self._deadline, self._last_deadline)

    def _lateness(self) -> str:
        if trio.current_time() >= self._last_deadline:
            return (
                f"The reply was not complete within {self._bounds.whole_seconds:g} seconds; it may"
                " be billed."
            )
        if not self._begun:
            return (
                f"No answer came within {self._bounds.reply_seconds:g} seconds; it may be billed."
            )
        return (
            f"The reply stopped in the middle for {self._bounds.idle_seconds:g} seconds; it may be"
            " billed."
        )


class _ThreadReporter:
    """Carries reports from a worker thread to the event loop."""

    def __init__(self, observer: ExchangeObserver) -> None:
        self._watch = observer

    def progress(self, fraction: float) -> None:
        trio.from_thread.check_cancelled()
        trio.from_thread.run_sync(self._watch.progress, Progress(fraction=fraction))

    def preview(self, data: bytes, number: int) -> None:
        trio.from_thread.check_cancelled()
        trio.from_thread.run_sync(self._watch.preview, PartialImage(data=data, number=number))


class _TriedEnough(ProviderError):
    """Outage as the reply to a repeatable step; the exchange gets the reply
    itself in the end.
    """

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(f"The provider answered {response.status}.", retryable=True)
        self.response = response


def _retry_later(response: HttpResponse) -> HttpResponse:
    if response.status == 429 or response.status >= 500:
        raise _TriedEnough(response)
    return response
