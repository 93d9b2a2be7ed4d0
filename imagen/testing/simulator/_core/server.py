"""Simulator: serves requests, applies faults, and records what was billed.

States of one request, and the fault of each:

    received -> declined                     Decline: at once, nothing billed
             -> answered without drawing     errors, lists: at once, free
             -> billed -> latency -> painted -> delivered

Spoil changes the painting, Break the delivery; without `after_billing` there is
neither bill nor latency. If the client leaves early, the work stops and the
bill stays, undelivered.
"""

import ssl
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from decimal import Decimal

import h11
import msgspec
import trio

from .callback_sender import call_back
from .connection import LOOK_SECONDS, Line, Message
from .discovery import default_providers
from .faults import Break, Decline, FaultPlan, planned_fault
from .files import Files, Nowhere
from .jobs import Job, RemoteJobs
from .latency import Latency, latency_seconds
from .messages import (
    Answered,
    Callback,
    Delivery,
    Drawing,
    Kind,
    Provider,
    Received,
    Reply,
    Socket,
    Submission,
    json_reply,
    text_reply,
)
from .simulator import Simulator

_NOWHERE = Nowhere()


class _Server:
    """Server of all connections, and keeper of the record."""

    def __init__(
        self,
        simulator: Simulator,
        *,
        providers: Iterable[Provider],
        files: Files,
        latency: Latency,
        faults: Mapping[Kind, FaultPlan],
        seed: int,
        image_bytes: int | None,
        usd_per_image: Decimal | None,
        on_answered: Callable[[Answered], None] | None,
        call_back: Callable[[Callback, float], None],
    ) -> None:
        self._simulator = simulator
        self._providers = tuple(providers)
        self._files = files
        self._elsewhere_port = int(simulator.elsewhere_url.rpartition(":")[2])
        self._latency = latency
        self._faults = faults
        self._seed = seed
        self._image_bytes = image_bytes
        self._usd_per_image = usd_per_image
        self._on_answered = on_answered
        self._call_back = call_back
        self._places: dict[Kind, int] = {}
        self._remote: dict[str, RemoteJobs] = {}

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection until either side closes it. The socket is
        closed in any case.
        """
        line = Line(stream)
        self._simulator.note_open_sockets(+1)
        try:
            while (
                (message := await line.receive())
                and await self._serve_one(line, message)
                and line.next_cycle()
            ):
                pass
        except h11.RemoteProtocolError:
            # Not HTTP, or truncated: the connection is closed without a reply.
            pass
        except trio.BrokenResourceError:
            pass
        finally:
            line.close()
            self._simulator.note_open_sockets(-1)

    async def _serve_one(self, line: Line, message: Message) -> bool:
        """Serve one request. Returns True if the whole reply was sent."""
        if message.target.startswith("/simulator/"):
            about = _about(self._simulator, message.target)
            return await line.deliver(Delivery(reply=about, pieces=about.pieces))
        whole = False
        self._simulator.note_in_flight(+1)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(line.watch, nursery.cancel_scope)
                whole = await self._answer(line, message)
                nursery.cancel_scope.cancel()
        finally:
            self._simulator.note_in_flight(-1)
        return whole

    async def _answer(self, line: Line, message: Message) -> bool:
        provider, job = self._take(line, message)
        fault = job.fault
        answer = (
            provider.decline(job, fault) if isinstance(fault, Decline) else provider.answer(job)
        )
        if isinstance(answer, Socket):
            pull = answer.pull
            # Mostly `watch` sees first that the client is gone.
            with suppress(trio.BrokenResourceError):
                await line.switch(
                    answer.headers, lambda: pull(trio.current_time() - self._simulator.opened_at)
                )
            return False
        if not isinstance(answer, Reply) and not (
            isinstance(fault, Break) and not fault.after_billing
        ):
            self._simulator.note_bill(job.received, answer)
            if isinstance(answer, Submission) and answer.callback is not None:
                self._call_back(answer.callback, job.seconds)
        delivery: Delivery | None = None
        whole = False
        try:
            delivery = await self._prepare(job, answer)
            whole = await line.deliver(
                delivery, completing=lambda: self._note_delivered(job, whole=True)
            )
            return whole
        finally:
            self._note_delivered(job, whole=whole)
            if self._on_answered is not None:
                status = delivery.reply.status if delivery is not None and delivery.head else None
                name = None if fault is None else type(fault).__name__
                bill = self._simulator.bill_for(job.received)
                self._on_answered(
                    Answered(received=job.received, status=status, fault=name, bill=bill)
                )

    def _note_delivered(self, job: Job, *, whole: bool) -> None:
        lost = (
            job.spoiled
            or job.delivered_later
            or (isinstance(job.fault, Break) and not job.fault.spares_image)
        )
        self._simulator.note_delivered(job.received, delivered=whole and not lost)

    def _take(self, line: Line, message: Message) -> tuple[Provider, Job]:
        """Record the request, and find its provider and its fault."""
        path, _, query = message.target.partition("?")
        provider, path_there = self._find(line, path)
        received = Received(
            number=len(self._simulator.received),
            provider=provider.name,
            kind=provider.kind(message.method, path_there),
            method=message.method,
            path=path,
            query=query,
            headers=message.headers,
            body=message.body,
            at_seconds=trio.current_time() - self._simulator.opened_at,
        )
        self._simulator.note_received(received)
        place = self._places.get(received.kind, 0)
        self._places[received.kind] = place + 1
        return provider, Job(
            received,
            path=path_there,
            key=self._simulator.key,
            usd_per_image=self._usd_per_image,
            image_bytes=self._image_bytes,
            seconds=(
                latency_seconds(self._latency, place, seed=self._seed)
                if received.kind == "create"
                else 0.0
            ),
            seed=self._seed,
            shelf=self._files,
            fault=self._simulator.outage_of(provider.name)
            or planned_fault(self._faults.get(received.kind), place, received),
            now=received.at_seconds,
            remote=self._remote.setdefault(provider.name, RemoteJobs()),
            origin=self._simulator.url,
            on_collected=self._simulator.note_collected,
        )

    def _find(self, line: Line, path: str) -> tuple[Provider, str]:
        if line.local_port == self._elsewhere_port:
            return self._files, path.removeprefix(f"/{self._files.name}")
        for provider in self._providers:
            base = f"/{provider.name}{provider.base_path}"
            if path.startswith(f"{base}/"):
                return provider, path.removeprefix(base)
        return _NOWHERE, path

    async def _prepare(self, job: Job, answer: Reply | Drawing | Submission) -> Delivery:
        """Wait and paint as this reply needs, and break the connection where
        the fault says.
        """
        if isinstance(answer, Reply):
            return self._spoil(job, answer)
        if isinstance(answer, Submission):
            # Its images are delivered when they are collected, not by this
            # reply.
            job.delivered_later = True
            return self._spoil(job, answer.reply)
        if self._simulator.bill_for(job.received) is None:
            return self._spoil(job, answer.paint())
        if answer.streamed:
            delivery = self._spoil(job, answer.paint())
            pause_seconds = delivery.pause_seconds or job.seconds / max(
                1, len(delivery.reply.pieces)
            )
            return msgspec.structs.replace(delivery, pause_seconds=pause_seconds)
        if answer.stopped is None:
            await trio.sleep(job.seconds)
        else:
            with trio.move_on_after(job.seconds):
                # A provider is pure and has no event to wait for.
                while not answer.stopped():  # noqa: ASYNC110
                    await trio.sleep(LOOK_SECONDS)
        return self._spoil(job, answer.paint())

    def _spoil(self, job: Job, reply: Reply) -> Delivery:
        if isinstance(job.fault, Break):
            return job.fault.spoil(
                reply,
                chance=job.chance,
                elsewhere=f"{self._simulator.elsewhere_url}{job.received.path}",
            )
        return Delivery(reply=reply, pieces=reply.pieces)


def _about(simulator: Simulator, target: str) -> Reply:
    """Return the state for another process. Not recorded, so that asking
    changes nothing.
    """
    if target == "/simulator/bill":
        bills = [{**msgspec.structs.asdict(bill), "usd": str(bill.usd)} for bill in simulator.bills]
        return json_reply({**simulator.summary(), "bills": bills})
    if target == "/simulator/requests":
        requests = [
            {**msgspec.structs.asdict(received), "body": received.body.decode(errors="replace")}
            for received in simulator.received
        ]
        return json_reply(requests)
    return text_reply("Ask for /simulator/bill or /simulator/requests.", status=404)


@asynccontextmanager
async def open_simulator(
    *providers: Provider,
    latency: Latency = 0.0,
    faults: FaultPlan = None,
    poll_faults: FaultPlan = None,
    list_faults: FaultPlan = None,
    download_faults: FaultPlan = None,
    cancel_faults: FaultPlan = None,
    seed: int = 0,
    image_bytes: int | None = None,
    usd_per_image: Decimal | str | None = None,
    key: str = "test-key",
    port: int = 0,
    callback_tls: ssl.SSLContext | None = None,
    on_answered: Callable[[Answered], None] | None = None,
) -> AsyncGenerator[Simulator]:
    """Run a simulator on loopback; leaving the block closes every connection at
    once.

    Args:
        providers: replace the default ones of the same name, e.g.
            `Nexos(models=[...])`.
        latency: seconds that a drawing takes. Replies without a drawing are
            immediate.
        faults: for requests that create images.
        poll_faults: for asking how far a job is.
        list_faults: for GET /models.
        download_faults: for fetching the links in replies.
        cancel_faults: for stopping a job.
        seed: of latencies, colours and garbage.
        image_bytes: length of each PNG; a real 1024x1024 has about 1_500_000.
            By default they are small.
        usd_per_image: a fixed price. Replies then carry no `usage`, so that a
            client has only its price list.
        key: the one key that every provider accepts.
        port: 0 takes a free one.
        callback_tls: trust for the certificate of the callback receiver; None
            is the system's. Callbacks go to this machine only.
        on_answered: called after each request, in the server's task; it must
            not raise.

    Raises:
        OSError: the port is taken.
    """
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    listeners += await trio.open_tcp_listeners(0, host="127.0.0.1")
    url, elsewhere_url = (
        f"http://127.0.0.1:{listener.socket.getsockname()[1]}" for listener in listeners
    )
    files = Files(elsewhere_url)
    by_name = {provider.name: provider for provider in (*default_providers(), files, *providers)}
    base_urls = {name: f"{url}/{name}{provider.base_path}" for name, provider in by_name.items()}
    simulator = Simulator(url=url, elsewhere_url=elsewhere_url, base_urls=base_urls, key=key)
    server = _Server(
        simulator,
        providers=by_name.values(),
        files=files,
        latency=latency,
        faults={
            "create": faults,
            "poll": poll_faults,
            "list": list_faults,
            "download": download_faults,
            "cancel": cancel_faults,
        },
        seed=seed,
        image_bytes=image_bytes,
        usd_per_image=None if usd_per_image is None else Decimal(usd_per_image),
        on_answered=on_answered,
        call_back=lambda callback, seconds: nursery.start_soon(
            call_back, callback, seconds, callback_tls
        ),
    )
    callers_error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, server.serve, listeners)
        try:
            yield simulator
        except trio.Cancelled:
            raise
        except BaseException as error:
            # Kept back until the nursery is closed: it leaves the block bare,
            # not in an exception group.
            callers_error = error
        finally:
            nursery.cancel_scope.cancel()
    if callers_error is not None:
        raise callers_error
