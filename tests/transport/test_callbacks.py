"""Callbacks of providers: asked for with an order, and believed only where the
provider has signed them.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagen
from imagen import AuthenticationError, ConfigurationError, InvalidRequestError
from imagen._transport.driver import ExchangeObserver
from imagen.providers import PROVIDERS, Callback, bfl, fal, replicate
from imagen.testing.simulator import open_simulator
from imagen.testing.simulator._core import callbacks as _callbacks
from imagen.testing.simulator._providers.ideogram import server as simulated_ideogram
from imagen.testing.simulator._providers.replicate import server as simulated_replicate
from tests.support.callbacks import (
    KEY,
    NOW,
    OTHER_KEY,
    PUBLISHED,
    SECRET,
    SENDERS,
    Sender,
    Signed,
    each_sender,
)
from tests.support.collected_jobs import call_for, order_and_die
from tests.support.drivers import failure, open_driver
from tests.support.every_model import SIMULATED
from tests.support.exchanges import Walk, call, reply

URL = "https://atelier.example/callbacks"
CALLING_BACK = [name for name, provider in PROVIDERS.items() if provider.read_callback is not None]
ORDERS = [
    (model, operation)
    for model in SIMULATED
    for operation in model.capabilities.operations
    if model.provider in CALLING_BACK
]


def read(sender: Sender, signed: Signed, *, now: float = NOW, **changes: Any) -> Walk:
    headers, body = signed
    callback = Callback(headers=headers, body=body, now=now, secret=changes.pop("secret", SECRET))
    read_callback = PROVIDERS[sender.name].read_callback
    assert read_callback is not None
    return Walk(read_callback(callback), *changes.pop("answers", sender.answers))


def refusal(walk: Walk) -> imagen.ImagenError:
    """The error, which says nothing that is secret."""
    error = walk.fail()
    assert SECRET not in str(error)
    assert error.message.endswith(".")
    return error


def test_who_calls_back():
    assert set(CALLING_BACK) >= {sender.name for sender in SENDERS}


@each_sender
def test_a_signed_callback_names_its_job(sender: Sender):
    assert read(sender, sender.sign(True)).run() == "j1"


@each_sender
def test_a_callback_of_another_sender_is_refused(sender: Sender):
    assert isinstance(refusal(read(sender, sender.sign(False))), AuthenticationError)


@each_sender
def test_a_body_that_was_changed_is_refused(sender: Sender):
    headers, body = sender.sign(True)
    assert isinstance(
        refusal(read(sender, (headers, body.replace(b"j1", b"j2")))), AuthenticationError
    )


@each_sender
def test_headers_that_were_changed_or_left_out_are_refused(sender: Sender):
    headers, body = sender.sign(True)
    for name in headers:
        without = {key: value for key, value in headers.items() if key != name}
        assert isinstance(refusal(read(sender, (without, body))), AuthenticationError)
        changed = {**headers, name: f"{headers[name]}0"}
        assert isinstance(refusal(read(sender, (changed, body))), AuthenticationError)


@each_sender
@pytest.mark.parametrize(
    ("seconds", "counts"), [(-301, False), (-299, True), (299, True), (301, False)]
)
def test_a_callback_counts_for_five_minutes(sender: Sender, seconds: int, counts: bool):
    walk = read(sender, sender.sign(True), now=NOW + seconds)
    if counts or not sender.dated:
        assert walk.run() == "j1"
    else:
        assert "five minutes" in refusal(walk).message
        # No keys are fetched because of it.
        assert not walk.requests


@each_sender
@given(data=st.data())
def test_anything_at_all_is_an_id_or_an_error(sender: Sender, data: st.DataObject):
    headers, body = sender.sign(True)
    texts = st.text() | st.sampled_from([*headers.values(), str(NOW), "v1,", "sha256=", "00" * 64])
    changed = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(headers, texts)))
    bodies = st.binary() | st.sampled_from([body, b"{}", b'{"id": 5}', b"[" * 100_000])
    answers = st.builds(
        reply,
        st.binary()
        | st.sampled_from(
            [{"keys": [5]}, {"keys": [{"crv": "Ed25519", "x": "?"}]}, {"key": "whsec_?"}]
        ),
        st.sampled_from([200, 404, 500]),
    )
    answered = sender.answers or (reply({}),)
    given_answers = (data.draw(st.just(answered[0]) | answers),)
    walk = read(sender, ({**headers, **changed}, data.draw(bodies)), answers=given_answers)
    try:
        job_id = walk.run()
    except imagen.ImagenError:
        return
    assert job_id == "j1"


@each_sender
def test_a_signed_callback_without_a_job_is_none(sender: Sender):
    assert isinstance(refusal(read(sender, sender.nameless)), InvalidRequestError)


@pytest.mark.parametrize("name", ["fal", "ideogram", "replicate"])
def test_keys_that_cannot_be_fetched_are_no_matter_of_the_sender(name: str):
    sender = next(sender for sender in SENDERS if sender.name == name)
    error = refusal(read(sender, sender.sign(True), answers=(reply({}, 503),)))
    assert (type(error), error.retryable, error.billed) == (imagen.ProviderError, True, "no")


def test_of_several_keys_any_will_do():
    sender = next(sender for sender in SENDERS if sender.name == "ideogram")
    keys = reply(_callbacks.published_keys(OTHER_KEY, KEY))
    assert read(sender, sender.sign(True), answers=(keys,)).run() == "j1"


def test_keys_of_other_kinds_are_passed_over():
    sender = next(sender for sender in SENDERS if sender.name == "ideogram")
    (own,) = msgspec.json.decode(PUBLISHED[0].body)["keys"]
    others = [
        {"crv": "P-256", "x": own["x"]},
        {**own, "x": 5},
        {**own, "x": "a"},
        {**own, "x": "AAAA"},
    ]
    assert read(sender, sender.sign(True), answers=(reply({"keys": [*others, own]}),)).run() == "j1"
    assert isinstance(
        refusal(read(sender, sender.sign(True), answers=(reply({"keys": others}),))),
        AuthenticationError,
    )


def test_a_signed_body_that_is_no_json_names_no_job():
    body = b"<html>"
    headers = {"x-bfl-signature": f"sha256={_callbacks.keyed_hash(SECRET, body).hex()}"}
    assert isinstance(refusal(read(SENDERS[0], (headers, body))), InvalidRequestError)


def test_without_a_secret_nothing_of_black_forest_labs_is_believed():
    sender = SENDERS[0]
    assert "set one" in refusal(read(sender, sender.sign(True), secret=None)).message


@pytest.mark.parametrize("name", ["fal", "ideogram"])
def test_the_package_that_checks_signatures_is_an_extra(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    sender = next(sender for sender in SENDERS if sender.name == name)
    error = refusal(read(sender, sender.sign(True)))
    assert isinstance(error, ConfigurationError)
    assert "imagen-trio[webhooks]" in error.message


# --- over real sockets --------------------------------------------------------


async def test_keys_and_secrets_are_fetched_once():
    services = (
        simulated_ideogram.Ideogram(callback_keys=(KEY,)),
        simulated_replicate.Replicate(signs_with=SECRET),
    )
    async with open_simulator(*services) as simulator:
        for sender in SENDERS[2:]:
            provider = PROVIDERS[sender.name]
            assert provider.read_callback is not None
            headers, body = sender.sign(True)
            base_url = simulator.base_url(sender.name)
            async with open_driver(base_url, provider=provider, key=simulator.key) as driver:
                for _ in range(3):
                    callback = Callback(headers=headers, body=body, now=NOW)
                    assert (
                        await driver.run(provider.read_callback(callback), ExchangeObserver())
                        == "j1"
                    )
                false = Callback(headers=headers, body=body + b" ", now=NOW)
                assert isinstance(
                    await failure(driver.run(provider.read_callback(false), ExchangeObserver())),
                    AuthenticationError,
                )
        assert len(simulator.received) == 2


async def test_the_keys_of_fal_are_asked_for_without_ours():
    asked: list[httpx2.Request] = []

    async def body_of_keys() -> AsyncIterator[bytes]:
        yield PUBLISHED[0].body

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, content=body_of_keys())

    headers, body = SENDERS[1].sign(True)
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        async with open_driver("https://queue.fal.run", provider=fal.PROVIDER, http=http) as driver:
            reading = fal.read_callback(Callback(headers=headers, body=body, now=NOW))
            assert await driver.run(reading, ExchangeObserver()) == "j1"
    (request,) = asked
    assert str(request.url) == "https://rest.fal.ai/.well-known/jwks.json"
    assert "authorization" not in request.headers


# --- orders -------------------------------------------------------------------


def called_back(call: imagen.providers.Call) -> imagen.providers.Call:
    return msgspec.structs.replace(call, callback_url=URL, callback_secret=SECRET)


@pytest.mark.parametrize(
    ("model", "operation"), ORDERS, ids=[f"{model.id}-{operation}" for model, operation in ORDERS]
)
async def test_every_order_is_taken_that_asks_to_be_called_back(
    model: imagen.Model, operation: str
):
    async with open_simulator() as simulator:
        await order_and_die(simulator, called_back(call_for(model, operation)))
        order = next(received for received in simulator.received if received.kind == "create")
    said = f"{order.query} {order.body.decode(errors='replace')}".replace("%3A", ":").replace(
        "%2F", "/"
    )
    # FLUX 3 refuses what it does not know, and it is undocumented that it calls
    # back.
    silent = model.wire_name.startswith(("flux-3", "flux-tools/"))
    assert (URL in said) is not silent
    assert (SECRET in said) is (model.provider == "bfl" and not silent)


@pytest.mark.parametrize("name", ["bfl", "fal", "ideogram"])
async def test_the_simulated_services_call_no_plain_http(name: str):
    model, operation = next(order for order in ORDERS if order[0].provider == name)
    provider = PROVIDERS[name]
    asked = msgspec.structs.replace(
        call_for(model, operation), callback_url="http://atelier.example/callbacks"
    )
    async with open_simulator() as simulator:
        async with open_driver(
            simulator.base_url(name), provider=provider, key=simulator.key
        ) as driver:
            error = await failure(
                driver.run(provider.operations[operation](asked), ExchangeObserver())
            )
        assert not simulator.bills
    assert isinstance(error, InvalidRequestError)


@pytest.mark.parametrize(
    "wrong",
    [{"webhook": "http://atelier.example"}, {"webhook": URL, "webhook_events_filter": ["ended"]}],
    ids=str,
)
async def test_nor_does_the_simulated_replicate(wrong: dict[str, object]):
    body = {"version": "black-forest-labs/flux-schnell", "input": {"prompt": "x"}, **wrong}
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        key = {"authorization": f"Bearer {simulator.key}"}
        answer = await http.post(
            f"{simulator.base_url('replicate')}/predictions", json=body, headers=key
        )
        assert answer.status_code == 422
        assert not simulator.bills


@pytest.mark.parametrize(("url", "seconds"), [(None, 0.01), (URL, 10.0)])
@pytest.mark.parametrize("name", ["bfl", "fal", "ideogram", "replicate"])
def test_who_is_called_back_asks_less_often(name: str, url: str | None, seconds: float):
    model = next(model for model, _ in ORDERS if model.provider == name)
    asked = msgspec.structs.replace(call(model, settings={"poll_seconds": 0.01}), callback_url=url)
    collect = PROVIDERS[name].collect
    assert collect is not None
    walk = Walk(
        collect(asked, imagen.providers.JobAccepted(job_id="j1", poll_url="jobs/j1")),
        reply({}, 401),
    )
    walk.fail()
    assert [step for step in walk.steps if isinstance(step, imagen.providers.Wait)] == [
        imagen.providers.Wait(seconds=seconds, job_id="j1")
    ]


def test_a_callback_of_the_callers_own_is_left_to_the_caller():
    asked = called_back(call("flux-2-pro", options={"webhook_url": "https://mine.example"}))
    walk = Walk(bfl.generate(asked), reply({"id": "j1"}), reply({}, 401))
    walk.fail()
    assert walk.body["webhook_url"] == "https://mine.example"
    assert "webhook_secret" not in walk.body
    assert imagen.providers.Wait(seconds=1.0, job_id="j1") in walk.steps


def test_replicate_calls_no_plain_http():
    asked = msgspec.structs.replace(
        call("replicate/flux-schnell"), callback_url="http://127.0.0.1:1/callbacks"
    )
    walk = Walk(
        replicate.run(asked), reply({"id": "j1", "status": "starting"}, 201), reply({}, 401)
    )
    walk.fail()
    assert walk.body.keys() == {"version", "input"}
