"""Webhooks: signed as the standard says, on the disk before they are sent, sent
until they are taken, and once at a time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

import imagen
from imagen import Secret
from imagen._storage.database import Database
from imagen._storage.webhooks import (
    BatchCompleted,
    Webhook,
    Webhooks,
    sign,
    verify_webhook,
    wait_before_next,
)
from imagen._transport.http import HttpTransport
from imagen.providers import HttpRequest, HttpResponse
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from tests.support.drivers import CALM, answering, http_reply, open_server
from tests.support.scripted_client import images_reply, open_test_client, virtual_time

pytestmark = pytest.mark.usefixtures("engine")

EPOCH = 1_826_000_000
KEY = bytes(range(32))
SECRET = Secret("whsec_" + base64.b64encode(KEY).decode())
URL = "https://hooks.example/imagen?token=must-stay-secret"
EVENT = BatchCompleted(
    batch_id="b1",
    requested=3,
    succeeded=2,
    failed=1,
    cost_usd=Decimal("0.08"),
    unknown_costs=1,
    image_ids=("i1", "i2"),
)
OTHERS = [msgspec.structs.replace(EVENT, batch_id=f"b{number}") for number in range(2, 50)]
WAITS = [5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0]
TAKEN = HttpResponse(status=204)


class Receiver:
    """A receiver that answers by script, and takes everything once the script
    is over. It notes what came, and when.
    """

    def __init__(self, *answers: HttpResponse | Exception | float) -> None:
        self.requests: list[HttpRequest] = []
        self.times: list[float] = []
        self.taken: list[str] = []
        self.at_once = 0
        self._answers = iter(answers)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        self.times.append(trio.current_time())
        answer = next(self._answers, TAKEN)
        await trio.lowlevel.checkpoint()
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, float):
            await trio.sleep(answer)
            answer = TAKEN
        if 200 <= answer.status < 300:
            self.taken.append(request.headers["webhook-id"])
        return answer


def answers(*statuses: int) -> list[HttpResponse]:
    return [HttpResponse(status=status) for status in statuses]


@asynccontextmanager
async def open_webhooks(
    send: Callable[[HttpRequest], object],
    home: Path,
    *,
    url: str = URL,
    now: Callable[[], float] = virtual_time,
) -> AsyncIterator[Webhooks]:
    """Webhooks over a file of this folder, before any sending; a second
    call stands for another process.
    """
    database = await Database.open(home / "imagen.sqlite3", InlineWorkers())
    try:
        yield Webhooks(database, send, secret=SECRET, url=url, now=now)
    finally:
        with trio.move_on_after(5, shield=True):
            await database.aclose()


@asynccontextmanager
async def running(*all_of_them: Webhooks) -> AsyncIterator[None]:
    """Sends for as long as the block lasts."""
    async with trio.open_nursery() as nursery:
        for webhooks in all_of_them:
            nursery.start_soon(webhooks.run)
        yield
        nursery.cancel_scope.cancel()


async def wait_for(webhooks: Webhooks, condition: Callable[[Webhook], bool]) -> Webhook:
    """The only message there is, as soon as something is true of it."""
    while True:
        (message,) = await webhooks.list()
        if condition(message):
            return message
        await trio.sleep(0.01)


# --- what is sent -------------------------------------------------------------


def test_the_signature_is_that_of_the_standards_own_example():
    signature = sign(
        Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_message_is_one_json_event_with_a_signature_of_its_own(autojump_clock, tmp_path):
    receiver = Receiver()
    async with open_webhooks(receiver, tmp_path) as webhooks, running(webhooks):
        message_id = await webhooks.enqueue(EVENT)
        await trio.sleep(1)
    (request,) = receiver.requests
    assert (request.method, request.url) == ("POST", URL)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == message_id
    assert request.headers["webhook-timestamp"] == str(EPOCH)
    signed = f"{message_id}.{EPOCH}.".encode() + request.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    assert json.loads(request.body) == {
        "type": "batch.completed",
        "timestamp": "2027-11-12T06:13:20Z",
        "data": {
            "batch_id": "b1",
            "requested": 3,
            "succeeded": 2,
            "failed": 1,
            "cost_usd": "0.08",
            "unknown_costs": 1,
            "image_ids": ["i1", "i2"],
        },
    }


async def test_an_event_of_a_huge_session_stays_small(autojump_clock, tmp_path):
    receiver = Receiver()
    event = BatchCompleted(
        batch_id="b",
        requested=None,
        succeeded=5000,
        failed=0,
        cost_usd=Decimal("1E-7"),
        unknown_costs=0,
        image_ids=tuple(map(str, range(5000))),
        tag="cats",
    )
    async with open_webhooks(receiver, tmp_path) as webhooks, running(webhooks):
        await webhooks.enqueue(event)
        await trio.sleep(1)
    data = json.loads(receiver.requests[0].body)["data"]
    assert data["image_ids"] == [str(number) for number in range(1000)]
    assert (data["requested"], data["cost_usd"]) == (None, "0.0000001")
    assert data["tag"] == "cats"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_not base64!",
        base64.b64encode(KEY).decode(),
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whpk_" + base64.b64encode(KEY).decode(),
    ],
)
async def test_a_secret_of_another_form_is_refused_before_anything_is_sent(tmp_path, text):
    with pytest.raises(imagen.ConfigurationError, match="IMAGEN_WEBHOOK_SECRET") as caught:
        Webhooks(None, Receiver(), secret=Secret(text), url=URL, now=virtual_time)
    hidden = text.removeprefix("whsec_")
    assert not hidden or hidden not in str(caught.value)


# --- how it is verified -------------------------------------------------------


def signed_headers(message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    signature = sign(SECRET, message_id, timestamp, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }


@given(body=st.binary(), ago=st.floats(-299.0, 299.0))
@settings(deadline=None)
def test_what_was_signed_is_verified(body, ago):
    headers = signed_headers("msg_1", EPOCH, body)
    assert verify_webhook(headers, body, SECRET, now=EPOCH + ago) == "msg_1"
    headers["webhook-signature"] = f"v1,b3RoZXI= {headers['webhook-signature']} v2,x"
    assert verify_webhook(headers, body, SECRET, now=EPOCH + ago) == "msg_1"


@pytest.mark.parametrize(
    ("changes", "body", "now"),
    [
        ({}, b"{} ", EPOCH),
        ({}, b"{}", EPOCH + 301),
        ({}, b"{}", EPOCH - 301),
        ({"webhook-id": "msg_2"}, b"{}", EPOCH),
        ({"webhook-timestamp": str(EPOCH + 1)}, b"{}", EPOCH),
        ({"webhook-signature": ""}, b"{}", EPOCH),
        (
            {"webhook-signature": sign(Secret("whsec_" + "A" * 32), "msg_1", EPOCH, b"{}")},
            b"{}",
            EPOCH,
        ),
    ],
)
def test_what_was_changed_on_the_way_is_refused(changes, body, now):
    with pytest.raises(imagen.AuthenticationError):
        verify_webhook(signed_headers("msg_1", EPOCH, b"{}") | changes, body, SECRET, now=now)


@given(
    headers=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
        st.text(st.characters(codec=None)) | st.just(str(EPOCH)),
    )
)
@settings(deadline=None)
@example(
    headers={"webhook-id": "a", "webhook-timestamp": str(EPOCH), "webhook-signature": "\ud800 é"}
)
def test_nonsense_is_refused_and_nothing_else(headers):
    with pytest.raises(imagen.AuthenticationError):
        verify_webhook(headers, b"{}", SECRET, now=EPOCH)


# --- until it is taken --------------------------------------------------------

failures = st.sampled_from(
    [
        *answers(500, 503, 404, 401, 302, 429),
        imagen.OutcomeUnknownError("Lost."),
        imagen.ProviderError("Down.", retryable=True),
        30.0,
    ]
)


@pytest.mark.long_on_postgresql
@given(script=st.lists(failures, max_size=8))
@settings(max_examples=40, deadline=None)
def test_a_receiver_that_fails_k_times_gets_it_once_or_it_is_dead(script):
    async def scenario() -> None:
        receiver = Receiver(*script)
        with tempfile.TemporaryDirectory() as folder:
            async with open_webhooks(receiver, Path(folder)) as webhooks, running(webhooks):
                message_id = await webhooks.enqueue(EVENT)
                await trio.sleep(30_000)
                (message,) = await webhooks.list()
        tries = min(len(script), 6) + 1
        assert len(receiver.requests) == tries == message.attempts
        assert receiver.taken == ([message_id] if len(script) <= 6 else [])
        assert message.state == ("delivered" if len(script) <= 6 else "dead")
        assert (message.last_error is None) is (message.state == "delivered")
        assert message.next_try_at is None
        assert {(one.headers["webhook-id"], one.body) for one in receiver.requests} == {
            (message_id, receiver.requests[0].body)
        }
        answer_seconds = [20.0 if one == 30.0 else 0.0 for one in script]
        for number, (before, after) in enumerate(
            zip(receiver.times, receiver.times[1:], strict=False)
        ):
            assert after - before == pytest.approx(WAITS[number] + answer_seconds[number])
        for at, request in zip(receiver.times, receiver.requests, strict=True):
            assert (
                verify_webhook(request.headers, request.body, SECRET, now=EPOCH + at) == message_id
            )

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


@given(attempts=st.integers(1, 20), asked=st.none() | st.floats(0, 1e12))
@settings(deadline=None)
def test_waits_grow_are_bounded_and_end(attempts, asked):
    wait = wait_before_next(attempts, asked)
    if attempts > len(WAITS):
        assert wait is None
    else:
        assert min(WAITS[attempts - 1], 86400.0) <= wait <= 86400.0
        assert wait >= min(asked or 0.0, 86400.0)


async def test_a_receiver_that_asks_for_more_time_gets_it(autojump_clock, tmp_path):
    receiver = Receiver(HttpResponse(status=429, headers={"retry-after": "77"}))
    async with open_webhooks(receiver, tmp_path) as webhooks, running(webhooks):
        await webhooks.enqueue(EVENT)
        await trio.sleep(100)
    assert receiver.times == pytest.approx([0.0, 77.0])


async def test_a_receiver_that_is_gone_gets_nothing_until_a_retry(autojump_clock, tmp_path):
    receiver = Receiver(*answers(500, 410))
    async with open_webhooks(receiver, tmp_path) as webhooks, running(webhooks):
        message_id = await webhooks.enqueue(EVENT)
        await trio.sleep(30_000)
        (dead,) = await webhooks.list("dead")
        assert (dead.attempts, dead.next_try_at) == (2, None)
        assert "410" in dead.last_error
        assert len(receiver.requests) == 2
        await webhooks.retry(message_id)
        await trio.sleep(1)
        (message,) = await webhooks.list()
        assert (message.state, message.attempts, message.last_error) == ("delivered", 1, None)
    assert receiver.taken == [message_id]


async def test_only_the_dead_are_put_in_line_again(autojump_clock, tmp_path):
    async with open_webhooks(Receiver(), tmp_path) as webhooks:
        message_id = await webhooks.enqueue(EVENT)
        for wrong in (message_id, "msg_0"):
            with pytest.raises(imagen.InvalidRequestError, match=wrong):
                await webhooks.retry(wrong)


async def test_messages_are_listed_by_state_the_newest_first(autojump_clock, tmp_path):
    async with open_webhooks(Receiver(*answers(410)), tmp_path) as webhooks:
        async with running(webhooks):
            gone = await webhooks.enqueue(EVENT)
            await trio.sleep(1)
            taken = await webhooks.enqueue(OTHERS[0])
            await trio.sleep(1)
        waiting = await webhooks.enqueue(OTHERS[1])
        assert [message.id for message in await webhooks.list()] == [waiting, taken, gone]
        assert [message.id for message in await webhooks.list(limit=2)] == [waiting, taken]
        for state, message_id in (("pending", waiting), ("delivered", taken), ("dead", gone)):
            assert [message.id for message in await webhooks.list(state)] == [message_id]


# --- crashes, and others who send too -----------------------------------------


async def test_a_message_whose_sender_died_is_sent_again_after_the_lease(autojump_clock, tmp_path):
    receiver = Receiver(10.0)
    async with open_webhooks(receiver, tmp_path) as webhooks:
        message_id = await webhooks.enqueue(EVENT)
        async with running(webhooks):
            await trio.sleep(1)
    async with open_webhooks(receiver, tmp_path) as webhooks, running(webhooks):
        await trio.sleep(58)
        assert len(receiver.requests) == 1
        await trio.sleep(3)
        assert receiver.taken == [message_id]
    assert receiver.times[1] == pytest.approx(60.0)


async def test_what_was_never_tried_is_sent_by_the_next_process_at_once(autojump_clock, tmp_path):
    receiver = Receiver()
    async with open_webhooks(receiver, tmp_path) as webhooks:
        message_id = await webhooks.enqueue(EVENT)
    async with open_webhooks(receiver, tmp_path) as webhooks, running(webhooks):
        await trio.sleep(1)
    assert receiver.taken == [message_id]


async def test_what_another_process_left_is_found_within_a_minute(autojump_clock, tmp_path):
    receiver = Receiver()
    async with (
        open_webhooks(receiver, tmp_path) as idle,
        open_webhooks(receiver, tmp_path) as other,
    ):
        async with running(idle):
            await trio.sleep(1)
            message_id = await other.enqueue(EVENT)
            await trio.sleep(60)
    assert receiver.taken == [message_id]


async def test_a_batch_is_announced_once_however_often_it_ends(autojump_clock, tmp_path):
    receiver = Receiver()
    async with open_webhooks(receiver, tmp_path) as one, running(one):
        ids = [await one.enqueue(EVENT), await one.enqueue(EVENT)]
        await trio.sleep(1)
    async with open_webhooks(receiver, tmp_path) as later, running(later):
        ids.append(await later.enqueue(EVENT))
        await trio.sleep(1)
    assert receiver.taken == [ids[0]]
    assert set(ids) == {ids[0]}


async def test_a_message_goes_to_the_url_it_was_made_for_and_to_another_one_on_demand(
    autojump_clock, tmp_path
):
    old, new = Receiver(), Receiver()
    async with open_webhooks(old, tmp_path) as webhooks:
        message_id = await webhooks.enqueue(EVENT)
    async with (
        open_webhooks(new, tmp_path, url="https://new.example") as webhooks,
        running(webhooks),
    ):
        await trio.sleep(1000)
        assert new.requests == []
        await webhooks.retry(message_id)
        await trio.sleep(1)
        assert (await webhooks.list())[0].state == "delivered"
    assert (new.taken, old.taken) == ([message_id], [])
    assert new.requests[0].url == "https://new.example"


@pytest.mark.long_on_postgresql
@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=3),
    seconds=st.lists(st.sampled_from([0.0, 0.5, 3.0, 19.0])),
)
@settings(max_examples=25, deadline=None)
def test_processes_that_send_side_by_side_send_each_message_once(sizes, seconds):
    async def scenario() -> None:
        receiver = Receiver(*seconds)
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            async with open_webhooks(receiver, home) as one, open_webhooks(receiver, home) as two:
                ids, events = [], iter(OTHERS)
                async with running(one, two):
                    for number, size in enumerate(sizes):
                        ids += [
                            await (one, two)[number % 2].enqueue(next(events)) for _ in range(size)
                        ]
                        await trio.sleep(1)
                    await trio.sleep(1000)
        assert sorted(receiver.taken) == sorted(ids)
        assert len(receiver.requests) == len(ids)

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    ("late", "other", "state", "attempts"),
    [
        (TAKEN, HttpResponse(status=500), "delivered", 2),
        (HttpResponse(status=500), TAKEN, "delivered", 2),
        (HttpResponse(status=410), HttpResponse(status=500), "pending", 2),
    ],
)
async def test_who_comes_back_after_his_lease_does_not_undo_what_another_did(
    autojump_clock, tmp_path, late, other, state, attempts
):
    back = trio.Event()

    async def sleep_through(request: HttpRequest) -> HttpResponse:
        await back.wait()
        return late

    # Its clock says that the lease of the first one is over.
    later = open_webhooks(Receiver(other), tmp_path, now=lambda: virtual_time() + 61)
    async with open_webhooks(sleep_through, tmp_path) as first, later as second, running(first):
        await first.enqueue(EVENT)
        await trio.sleep(1)
        async with running(second):
            await trio.sleep(1)
        back.set()
        await trio.sleep(1)
        (message,) = await first.list()
        assert (message.state, message.attempts) == (state, attempts)
        assert (message.next_try_at is None) is (state == "delivered")


# --- the loop -----------------------------------------------------------------


async def test_closing_sends_what_is_due_and_then_ends(autojump_clock, tmp_path):
    receiver = Receiver(1.0, HttpResponse(status=500))
    async with open_webhooks(receiver, tmp_path) as webhooks, trio.open_nursery() as nursery:
        nursery.start_soon(webhooks.run)
        for event in OTHERS[:3]:
            await webhooks.enqueue(event)
        webhooks.close()
    assert trio.current_time() == pytest.approx(1.0)
    assert len(receiver.taken) == 2


async def test_closing_while_nothing_is_due_ends_at_once(autojump_clock, tmp_path):
    async with open_webhooks(Receiver(), tmp_path) as webhooks, trio.open_nursery() as nursery:
        nursery.start_soon(webhooks.run)
        await trio.sleep(5)
        webhooks.close()
    assert trio.current_time() == 5.0


async def test_closing_does_not_wait_for_a_receiver_that_hangs(autojump_clock, tmp_path):
    async with open_webhooks(Receiver(math.inf), tmp_path) as webhooks:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(webhooks.run)
            await webhooks.enqueue(EVENT)
            await trio.sleep(3)
            webhooks.close()
        assert trio.current_time() == 13.0
        (message,) = await webhooks.list()
        assert message.state == "pending"


class FailingDisk(Database):
    """A database that cannot be written for a while."""

    broken = False

    async def transact(self, work):
        if self.broken:
            raise imagen.StorageError("The disk is full.")
        return await super().transact(work)


async def test_a_disk_that_fails_ends_nothing(autojump_clock, tmp_path):
    receiver = Receiver()
    database = await FailingDisk.open(tmp_path / "imagen.sqlite3", InlineWorkers())
    webhooks = Webhooks(database, receiver, secret=SECRET, url=URL, now=virtual_time)
    message_id = await webhooks.enqueue(EVENT)
    database.broken = True
    async with running(webhooks):
        with pytest.raises(imagen.StorageError):
            await webhooks.enqueue(EVENT)
        await trio.sleep(100)
        assert receiver.requests == []
        database.broken = False
        await trio.sleep(60)
        assert receiver.taken == [message_id]
    await database.aclose()


async def test_an_answer_that_cannot_be_written_down_is_as_good_as_none(autojump_clock, tmp_path):
    receiver = Receiver(1.0)
    database = await FailingDisk.open(tmp_path / "imagen.sqlite3", InlineWorkers())
    webhooks = Webhooks(database, receiver, secret=SECRET, url=URL, now=virtual_time)
    message_id = await webhooks.enqueue(EVENT)
    async with running(webhooks):
        await trio.sleep(0.5)
        database.broken = True
        await trio.sleep(1)
        database.broken = False
        await trio.sleep(100)
        assert receiver.taken == [message_id] * 2
        assert (await webhooks.list("delivered"))[0].attempts == 2
    await database.aclose()


class SlowReading(Database):
    """A database whose answers to questions take a second on their way."""

    async def read(self, sql, values=()):
        rows = await super().read(sql, values)
        await trio.sleep(1)
        return rows


async def test_an_event_that_comes_while_the_next_is_looked_for_is_not_overlooked(
    autojump_clock, tmp_path
):
    receiver = Receiver()
    database = await SlowReading.open(tmp_path / "imagen.sqlite3", InlineWorkers())
    webhooks = Webhooks(database, receiver, secret=SECRET, url=URL, now=virtual_time)
    async with running(webhooks):
        await trio.sleep(0.5)
        message_id = await webhooks.enqueue(EVENT)
        await trio.sleep(1)
        assert receiver.taken == [message_id]
    await database.aclose()


async def test_a_bug_in_the_way_is_not_swallowed(autojump_clock, tmp_path):
    async with open_webhooks(Receiver(ValueError("a bug")), tmp_path) as webhooks:
        await webhooks.enqueue(EVENT)
        with pytest.raises(ValueError, match="a bug"):
            await webhooks.run()


# --- over the network ---------------------------------------------------------


@asynccontextmanager
async def open_sender(base_url: str) -> AsyncIterator[Callable[[HttpRequest], object]]:
    """The way to a receiver as a client has it: only one that is on this
    machine by its very URL may be there.
    """
    provider = imagen.providers.Provider(name="The receiver", operations={})
    transport = HttpTransport(
        provider, base_url=base_url, key=None, bounds=CALM, user_agent="imagen-test/1"
    )

    async def send(request: HttpRequest) -> HttpResponse:
        async with transport.open(request) as reply:
            return HttpResponse(status=reply.status, headers=reply.headers)

    yield send
    await transport.aclose()


async def test_a_receiver_on_this_machine_gets_what_it_can_verify(tmp_path):
    async with open_server(answering(http_reply(b"thanks"))) as server:
        url = f"{server.url}/hook?token=t"
        async with (
            open_sender(url) as send,
            open_webhooks(send, tmp_path, url=url) as webhooks,
            running(webhooks),
        ):
            message_id = await webhooks.enqueue(EVENT)
            with trio.fail_after(20):
                await wait_for(webhooks, lambda message: message.state == "delivered")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
    headers = {name.lower(): value for name, _, value in lines}
    assert head.startswith(b"POST /v1/hook?token=t ")
    assert verify_webhook(headers, body, SECRET, now=virtual_time()) == message_id
    assert json.loads(body)["data"]["batch_id"] == "b1"


async def test_a_redirect_is_not_followed(tmp_path):
    elsewhere = http_reply(b"", "307 Temporary Redirect", location="/v1/elsewhere")
    async with open_server(answering(elsewhere)) as server:
        async with (
            open_sender(server.url) as send,
            open_webhooks(send, tmp_path, url=server.url) as webhooks,
        ):
            async with running(webhooks):
                await webhooks.enqueue(EVENT)
                with trio.fail_after(20):
                    message = await wait_for(
                        webhooks, lambda message: message.last_error is not None
                    )
    assert message.state == "pending"
    assert "307" in message.last_error
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "localhost",
        "169.254.169.254",
        "[::1]",
        "[fd00::1]",
        "2130706433",
    ],
)
async def test_a_receiver_where_only_this_machine_can_reach_gets_nothing(tmp_path, host):
    url = f"https://{host}/hook?token=must-stay-secret"
    async with (
        open_sender("https://nowhere.invalid") as send,
        open_webhooks(send, tmp_path, url=url) as webhooks,
    ):
        async with running(webhooks):
            await webhooks.enqueue(EVENT)
            with trio.fail_after(20):
                message = await wait_for(webhooks, lambda message: message.last_error is not None)
    assert "not a public address" in message.last_error
    assert message.state == "pending"


@pytest.mark.sqlite
async def test_no_secret_and_no_answer_is_on_the_disk(autojump_clock, tmp_path):
    receiver = Receiver(
        HttpResponse(status=500, body=b"a stack trace with a password", headers={"x": "a password"})
    )
    async with open_webhooks(receiver, tmp_path) as webhooks, running(webhooks):
        await webhooks.enqueue(EVENT)
        await trio.sleep(1)
        stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        (message,) = await webhooks.list()
    assert b"batch.completed" in stored
    for hidden in (
        SECRET.reveal(),
        "must-stay-secret",
        "hooks.example",
        "password",
        KEY.decode("latin-1"),
    ):
        assert hidden.encode() not in stored
        assert hidden not in repr(message)


# --- in a client --------------------------------------------------------------


def told(transport: ScriptedTransport) -> list[dict[str, object]]:
    """What the receiver got, of all that was sent."""
    return [
        json.loads(request.body)["data"] for request in transport.requests if request.url == URL
    ]


def answer(request: HttpRequest) -> ScriptedReply:
    return ScriptedReply(status=204) if request.url == URL else images_reply()


TELLING = {"webhook_url": Secret(URL), "webhook_secret": SECRET}


async def test_a_batch_that_is_over_is_told_of_before_the_client_closes(autojump_clock, tmp_path):
    async with open_test_client(answer, home=tmp_path, **TELLING) as (client, transport):
        async with client.open_batch("a cat", n=3, tag="cats") as batch:
            images = [image.id async for image in batch]
    (data,) = told(transport)
    assert (data["batch_id"], data["requested"], data["succeeded"], data["failed"]) == (
        batch.id,
        3,
        3,
        0,
    )
    assert (data["cost_usd"], data["tag"]) == ("0.12", "cats")
    assert sorted(data["image_ids"]) == sorted(images)
    assert b"a cat" not in b"".join(
        request.body for request in transport.requests if request.url == URL
    )


async def test_a_batch_that_is_left_is_told_of_as_far_as_it_came_and_one_that_never_began_is_not(
    autojump_clock,
):
    async with open_test_client(answer, **TELLING) as (client, transport):
        async with client.open_batch("a cat", n=3):
            pass
        with pytest.raises(ValueError, match="enough"):
            async with client.open_batch("a cat", n=3, max_at_once=1) as batch:
                async for _ in batch:
                    raise ValueError("enough")
    (data,) = told(transport)
    assert (data["requested"], data["succeeded"]) == (3, 1)


async def test_a_session_is_told_of_once_also_by_a_later_process(autojump_clock, tmp_path):
    async with open_test_client(answer, home=tmp_path, **TELLING) as (client, transport):
        session = client.start_session("a cat", n=2)
        await session.wait_finished()
        await trio.sleep(1)
        (data,) = told(transport)
        assert (data["batch_id"], data["succeeded"]) == (session.id, 2)
        assert len(data["image_ids"]) == 2
    async with open_test_client(answer, home=tmp_path, **TELLING) as (client, transport):
        await (await client.sessions.get(session.id)).wait_finished()
        await trio.sleep(100)
        assert told(transport) == []
        assert [message.state for message in await client.webhooks.list()] == ["delivered"]


async def test_a_receiver_that_is_down_holds_nothing_up_and_is_told_by_the_next_process(
    autojump_clock, tmp_path
):
    def down(request: HttpRequest) -> ScriptedReply:
        return ScriptedReply(fault="refused") if request.url == URL else images_reply()

    async with open_test_client(down, home=tmp_path, **TELLING) as (client, transport):
        async with client.open_batch("a cat", n=1) as batch:
            assert [isinstance(outcome, imagen.Image) async for outcome in batch] == [True]
    assert trio.current_time() < 5
    async with open_test_client(answer, home=tmp_path, **TELLING) as (client, transport):
        await trio.sleep(10)
        assert [data["batch_id"] for data in told(transport)] == [batch.id]


async def test_without_a_receiver_no_webhook_is_sent(autojump_clock):
    async with open_test_client(answer) as (client, _):
        with pytest.raises(imagen.ConfigurationError, match="IMAGEN_WEBHOOK_URL"):
            _ = client.webhooks


@pytest.mark.parametrize(
    "url", ["http://hooks.example/x", "https://user:pass@hooks.example", "hooks.example", "ftp://x"]
)
def test_a_receiver_is_reached_by_https_or_is_on_this_machine(tmp_path, url):
    environ = {"IMAGEN_HOME": str(tmp_path), "IMAGEN_WEBHOOK_SECRET": SECRET.reveal()}
    with pytest.raises(imagen.ConfigurationError, match="IMAGEN_WEBHOOK_URL"):
        imagen.load_settings({**environ, "IMAGEN_WEBHOOK_URL": url})
    for fine in (URL, "http://127.0.0.1:8080/hook/?a=b"):
        settings = imagen.load_settings({**environ, "IMAGEN_WEBHOOK_URL": fine})
        assert settings.webhook_url.reveal() == fine
        assert "must-stay-secret" not in repr(settings)


def test_a_receiver_without_a_secret_is_refused(tmp_path):
    (tmp_path / "imagen.toml").write_text(f'webhook_url = "{URL}"')
    with pytest.raises(imagen.ConfigurationError, match="IMAGEN_WEBHOOK_SECRET"):
        imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
