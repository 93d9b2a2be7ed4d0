"""What the batch APIs of all providers promise: each request has one result,
whatever happens to the files.
"""

from __future__ import annotations

import itertools
import json
import random
import tracemalloc
from decimal import Decimal

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen import (
    AuthenticationError,
    Bounds,
    ContentFilterError,
    ImagenError,
    OutcomeUnknownError,
    ProviderError,
)
from imagen._results.prices import cost_of, quote_request
from imagen.providers import (
    PROVIDERS,
    Cancellable,
    GeneratedImages,
    HttpResponse,
    JobAccepted,
    Progress,
    ReadChunk,
    Wait,
)
from imagen.testing.simulator import (
    BrokenBase64,
    JobFails,
    Overloaded,
    ServerError,
    Simulator,
    open_simulator,
)
from tests.support.batch_files import (
    DIALECTS,
    OPENAI,
    BatchWalk,
    Collector,
    Dialect,
    File,
    image_of,
)
from tests.support.drivers import open_driver
from tests.support.exchanges import CATALOG, IMAGE, reply
from tests.support.lengths import examples
from tests.support.reply_strategies import mutated

pytestmark = pytest.mark.filterwarnings("ignore::imagen.providers.ModelRetiringWarning")
LOST = OutcomeUnknownError("The connection broke.")
ROOMY = Bounds(connect_seconds=5.0, reply_seconds=5.0, idle_seconds=5.0)


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.provider)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return request.param


def images(results: dict[int, GeneratedImages | ImagenError]) -> dict[int, list[bytes]]:
    """The bytes that were delivered, by position."""
    return {
        position: [image.data for image in result.images]
        for position, result in results.items()
        if isinstance(result, GeneratedImages)
    }


# --- the way of a batch -------------------------------------------------------


def test_a_batch_is_announced_can_be_stopped_shows_how_far_it_is_and_delivers_each_result(dialect):
    walk = dialect.run(4, dialect.running, dialect.ended, dialect.file(0, 1, 2, 3))
    assert images(walk.run()) == {position: [image_of(position)] for position in range(4)}
    assert walk.of(JobAccepted) == [dialect.accepted]
    (stop,) = walk.of(Cancellable)
    assert isinstance(stop, Cancellable)
    assert stop.request is not None
    assert not stop.request.repeatable
    assert not stop.stops_bill
    assert [step.fraction for step in walk.of(Progress) if isinstance(step, Progress)] == [0.25]
    assert walk.of(Wait) == [Wait(seconds=30.0, job_id=dialect.accepted.job_id)] * 2


def test_only_the_order_itself_may_not_be_sent_twice(dialect):
    walk = dialect.run(1, dialect.ended, dialect.file(0))
    walk.run()
    *uploads, order = walk.requests[: len(dialect.submission)]
    assert all(
        request.repeatable for request in (*uploads, *walk.requests[len(dialect.submission) :])
    )
    assert not order.repeatable


def test_a_batch_of_another_process_is_collected_by_the_second_half_of_the_way(dialect):
    answers = (dialect.running, dialect.ended, File([dialect.line("1") + dialect.refused("0")]))
    whole, half = dialect.run(2, *answers), dialect.collect(2, *answers)
    delivered, collected = whole.run(), half.run()
    assert images(collected) == images(delivered) == {1: [IMAGE]}
    assert isinstance(collected[0], ContentFilterError)
    assert whole.steps[-len(half.steps) :][:3] == half.steps[:3]
    assert whole.requests[len(dialect.submission) :] == half.requests


def test_results_come_in_any_order_and_lines_of_others_and_double_ones_are_passed_over(dialect):
    lines = list(dialect.file("2", "7", "0", "-1", "02", "١", "1").chunks)
    lines[2:2] = [dialect.line("2"), b'{"half a line"\n', b"\n", b"[]\n"]
    walk = dialect.collect(3, dialect.ended, File(lines))
    assert images(walk.run()) == {position: [image_of(position)] for position in (2, 0, 1)}
    assert [step.position for step in walk.delivered] == [2, 0, 1]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 100, 10_000])
def test_a_line_may_be_cut_anywhere_and_the_last_one_end_without_a_newline(dialect, chunk_bytes):
    content = (dialect.line("1") + dialect.line("0")).rstrip(b"\n")
    chunks = [content[at : at + chunk_bytes] for at in range(0, len(content), chunk_bytes)]
    assert images(dialect.collect(2, dialect.ended, File(chunks)).run()) == {0: [IMAGE], 1: [IMAGE]}


def test_nothing_is_read_any_more_once_each_request_has_its_result(dialect):
    walk = dialect.collect(1, dialect.ended, File([dialect.line("0"), dialect.line("0"), b"more"]))
    walk.run()
    assert len(walk.of(ReadChunk)) == 1


def test_calls_of_several_models_are_no_batch(dialect):
    (one,) = dialect.calls(1)
    other = msgspec.structs.replace(
        one, model=msgspec.structs.replace(one.model, wire_name="another")
    )
    with pytest.raises(AssertionError, match="one model"):
        BatchWalk(dialect.batch_api.run([one, other])).run()


def test_a_request_without_a_result_may_be_billed(dialect):
    results = dialect.collect(2, dialect.ended, dialect.file(1)).run()
    assert isinstance(results[0], OutcomeUnknownError)
    assert dialect.accepted.job_id in results[0].message


def test_a_result_that_cannot_be_read_loses_no_other(dialect):
    broken = dialect.line("1").replace(b"iVBOR", b"!!!!!")
    results = dialect.collect(
        3, dialect.ended, File([dialect.line("0"), broken, dialect.line("2")])
    ).run()
    assert images(results) == {0: [IMAGE], 2: [IMAGE]}
    assert isinstance(results[1], ProviderError)
    assert results[1].billed == "yes"


# --- outages ------------------------------------------------------------------


def test_an_hour_without_an_answer_does_not_end_a_batch(dialect):
    outages = [reply({}, 503), reply(b"<html>", 200), reply({}, 429)] * 39
    assert images(dialect.run(1, *outages, dialect.ended, dialect.file(0)).run()) == {
        0: [image_of(0)]
    }


def test_a_forgotten_batch_may_be_billed(dialect):
    missing = [reply({"error": {"message": "gone"}}, 404)] * 5
    with pytest.raises(ProviderError) as caught:
        dialect.collect(1, *missing).run()
    assert caught.value.billed == "unknown"


def test_a_key_that_is_not_accepted_any_more_ends_the_waiting_and_may_be_billed(dialect):
    with pytest.raises(AuthenticationError) as caught:
        dialect.collect(1, reply({"error": {"message": "no"}}, 401)).run()
    assert caught.value.billed == "unknown"


def test_a_batch_that_never_ends_is_given_up_after_two_days(dialect):
    walk = BatchWalk(
        dialect.batch_api.collect(dialect.calls(1), dialect.accepted), *[dialect.running] * 6001
    )
    with pytest.raises(OutcomeUnknownError):
        walk.run()
    assert sum(step.seconds for step in walk.of(Wait) if isinstance(step, Wait)) >= 48 * 3600


@pytest.mark.parametrize("breaks", range(4))
def test_a_download_that_breaks_off_is_begun_again_and_delivers_nothing_twice(dialect, breaks):
    lines = [dialect.line(str(position)) for position in range(4)]
    half = File([*lines[:breaks], lines[breaks][:50]], LOST)
    walk = dialect.collect(4, dialect.ended, half, reply({}, 503), LOST, File(lines))
    assert images(walk.run()) == {position: [IMAGE] for position in range(4)}
    assert len({request.url for request in walk.requests[1:]}) == 1


def test_a_download_that_ends_in_the_middle_of_a_line_is_begun_again(dialect):
    lines = [dialect.line("0"), dialect.line("1")]
    assert (
        len(dialect.collect(2, dialect.ended, File([lines[0], lines[1][:-9]]), File(lines)).run())
        == 2
    )


def test_a_download_that_gets_on_is_not_given_up(dialect):
    lines = [dialect.line(str(position)) for position in range(30)]
    broken = [File(lines[:place], LOST) for place in range(1, 30)]
    assert len(dialect.collect(30, dialect.ended, *broken, File(lines)).run()) == 30


def test_a_download_that_does_not_get_on_leaves_the_batch_to_be_collected_later(dialect):
    walk = dialect.collect(2, dialect.ended, *[File([dialect.line("1")], LOST)] * 11)
    with pytest.raises(OutcomeUnknownError) as caught:
        walk.run()
    assert caught.value.details["job_id"] == dialect.accepted.job_id
    assert [step.position for step in walk.delivered] == [1]


def test_a_line_that_is_larger_than_a_reply_may_be_is_not_fetched_again_and_again(dialect):
    large = ProviderError("The reply is larger than a gigabyte.", billed="unknown")
    walk = dialect.collect(2, dialect.ended, File([dialect.line("1")], large))
    with pytest.raises(ProviderError, match="gigabyte"):
        walk.run()
    assert len(walk.requests) == 2


def test_an_upload_that_fails_has_cost_nothing(dialect):
    for place in range(len(dialect.submission) - 1):
        answers = [*dialect.submission[:place], reply({"error": {"message": "x"}}, 500)]
        with pytest.raises(ImagenError) as caught:
            BatchWalk(dialect.batch_api.run(dialect.calls(1)), *answers).run()
        assert caught.value.billed == "no"


@pytest.mark.parametrize(
    "answer", [reply({"error": {"message": "x"}}, 500), reply({}), reply(b"<html>"), reply([])]
)
def test_an_order_without_a_clear_answer_may_have_been_taken(dialect, answer):
    with pytest.raises(ProviderError) as caught:
        BatchWalk(dialect.batch_api.run(dialect.calls(1)), *dialect.submission[:-1], answer).run()
    assert caught.value.billed == "unknown"


def test_requests_that_are_too_large_together_are_not_sent(dialect):
    calls = dialect.calls(100, options={"user": "x" * 2_100_000})
    walk = BatchWalk(dialect.batch_api.run(calls))
    with pytest.raises(imagen.InvalidRequestError, match="200,000,000"):
        walk.run()
    assert not walk.requests


# --- anything at all ----------------------------------------------------------

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
)


@st.composite
def garbled(draw, samples: tuple[bytes, ...]) -> bytes:
    """An answer with a field, at any depth, of any other type; or cut, or with
    other bytes in it.
    """
    sample = draw(st.sampled_from(samples))
    if draw(st.booleans()):
        return draw(st.one_of(st.binary(max_size=50), mutated((sample,))))
    document = json.loads(sample)
    places = list(_places(document))
    container, key = draw(st.sampled_from(places))
    container[key] = draw(odd)
    return json.dumps(document).encode()


def _places(node):
    pairs = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in list(pairs):
        yield node, key
        yield from _places(value)


@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda spoken: spoken.provider)
@given(data=st.data())
@settings(max_examples=examples(300), deadline=None)
def test_whatever_is_answered_ends_in_one_result_each_or_an_error_of_ours(spoken, data):
    says = (*spoken.submission, spoken.running, spoken.ended)
    bodies = tuple(answer.body for answer in says if answer.body)
    lines = (spoken.line("0"), spoken.line("1"), spoken.refused("1"))
    answers: list[HttpResponse | ImagenError | File] = []
    for answer in (*spoken.submission, spoken.running, spoken.ended):
        body = data.draw(st.one_of(st.just(answer.body), garbled(bodies)))
        status = data.draw(st.sampled_from((200, 200, 200, 200, 404, 500)))
        answers.append(msgspec.structs.replace(answer, status=status, body=body))
    content = b"\n".join(data.draw(st.lists(garbled(lines), max_size=4)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=3)))
    chunks = [content[a:b] for a, b in itertools.pairwise((0, *cuts, len(content))) if content[a:b]]
    walk = BatchWalk(
        spoken.batch_api.run(spoken.calls(2)),
        *answers,
        *[
            data.draw(st.sampled_from((File(chunks), File(chunks, LOST), spoken.ended)))
            for _ in range(3)
        ],
        *[spoken.ended] * 150,
    )
    try:
        assert walk.run().keys() == {0, 1}
    except ImagenError as error:
        assert error.message
    for step in walk.delivered:
        assert isinstance(step.result, GeneratedImages) or step.result.message


# --- over real sockets --------------------------------------------------------


async def collected(
    dialect: Dialect, simulator: Simulator, exchange: imagen.providers.BatchExchange
) -> Collector:
    """What the driver tells of a whole exchange with the simulator."""
    watch = Collector()
    base_url, provider = simulator.base_url(dialect.provider), PROVIDERS[dialect.provider]
    async with open_driver(base_url, provider=provider, key=simulator.key, bounds=ROOMY) as driver:
        await driver.run(exchange, watch)
    return watch


async def test_a_batch_costs_half_of_what_its_requests_cost_by_themselves(dialect):
    model = CATALOG.find(dialect.model)
    async with open_simulator(latency=0.05) as simulator:
        calls = dialect.calls(5, poll_seconds=0.01)
        watch = await collected(dialect, simulator, dialect.batch_api.run(calls))
        assert {
            position: len(found) for position, found in images(watch.results).items()
        } == dict.fromkeys(range(5), 1)
        (bill,) = simulator.bills
        assert (bill.images, bill.delivered) == (5, True)
        costs = [
            cost_of(model, calls[position].request, result, economy=True)
            for position, result in watch.results.items()
            if isinstance(result, GeneratedImages)
        ]
        assert sum(cost.usd or 0 for cost in costs) == bill.usd > 0
        assert {cost.source for cost in costs} == {"computed"}
        assert watch.sent == 1
        assert not simulator.leaks


async def test_a_batch_is_collected_after_its_process_has_died(dialect):
    async with open_simulator(latency=0.2) as simulator:
        calls = dialect.calls(3, poll_seconds=0.01)
        base_url, provider = simulator.base_url(dialect.provider), PROVIDERS[dialect.provider]
        async with open_driver(
            base_url, provider=provider, key=simulator.key, bounds=ROOMY
        ) as driver:
            watch = Collector()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.run, dialect.batch_api.run(calls), watch)
                while not any(received.kind == "poll" for received in simulator.received):
                    await trio.sleep(0.001)
                nursery.cancel_scope.cancel()
        assert watch.accepted_job is not None
        assert not watch.results
        later = await collected(
            dialect, simulator, dialect.batch_api.collect(calls, watch.accepted_job)
        )
        assert images(later.results).keys() == {0, 1, 2}
        again = await collected(
            dialect, simulator, dialect.batch_api.collect(calls, watch.accepted_job)
        )
        assert images(again.results) == images(later.results)
        assert len(simulator.bills) == 1
        assert later.sent == 0


async def test_a_batch_that_is_stopped_gives_what_was_done_by_then(dialect):
    async with open_simulator(latency=3600.0) as simulator:
        base_url, provider = simulator.base_url(dialect.provider), PROVIDERS[dialect.provider]
        async with open_driver(
            base_url, provider=provider, key=simulator.key, bounds=ROOMY
        ) as driver:
            watch = Collector()

            async def stop() -> None:
                while watch.stop is None:
                    await trio.sleep(0.001)
                assert (await driver.send(watch.stop)).status == 200

            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop)
                await driver.run(dialect.batch_api.run(dialect.calls(2, poll_seconds=0.01)), watch)
        assert len(images(watch.results)) == simulator.bills[0].images == 2


async def test_outages_of_the_polls_are_sat_out(dialect):
    async with open_simulator(poll_faults=[Overloaded(), ServerError()] * 10) as simulator:
        watch = await collected(
            dialect, simulator, dialect.batch_api.run(dialect.calls(2, poll_seconds=0.01))
        )
        assert len(images(watch.results)) == 2


async def test_a_request_that_is_wrong_spoils_no_other(dialect):
    async with open_simulator() as simulator:
        fine, wrong = (
            dialect.calls(1, poll_seconds=0.01),
            dialect.calls(1, options={"nonsense": True}),
        )
        watch = await collected(dialect, simulator, dialect.batch_api.run([*fine, *wrong, *fine]))
        assert images(watch.results).keys() == {0, 2}
        assert isinstance(watch.results[1], imagen.InvalidRequestError)
        assert watch.results[1].billed == "no"
        assert simulator.bills[0].images == 2


async def test_broken_images_are_paid(dialect):
    async with open_simulator(faults=BrokenBase64()) as simulator:
        watch = await collected(
            dialect, simulator, dialect.batch_api.run(dialect.calls(2, poll_seconds=0.01))
        )
        assert [getattr(result, "billed", None) for result in watch.results.values()] == [
            "yes",
            "yes",
        ]


async def test_a_batch_that_fails_gives_every_request_its_error(dialect):
    async with open_simulator(faults=JobFails(text="The file is odd.")) as simulator:
        watch = await collected(
            dialect, simulator, dialect.batch_api.run(dialect.calls(3, poll_seconds=0.01))
        )
        assert watch.results.keys() == {0, 1, 2}
        assert all(
            isinstance(found, ImagenError) and "odd" in found.message
            for found in watch.results.values()
        )
        assert len({id(found) for found in watch.results.values()}) == 3
        assert simulator.billed_usd == 0


def test_quotes_are_halved_and_what_a_caller_assumes_is_not(dialect):
    model, request = CATALOG.find(dialect.model), imagen.Generate(prompt="a cat")
    usual, cheap = quote_request(model, request, 3), quote_request(model, request, 3, economy=True)
    for figure in ("low_usd", "expected_usd", "high_usd"):
        assert getattr(cheap, figure) * 2 == getattr(usual, figure)
    flare = CATALOG.find("gpt-image-2.6-flare")
    assumed = msgspec.structs.replace(request, assume_usd=Decimal("0.1"))
    assert quote_request(flare, assumed, economy=True) == quote_request(flare, assumed)


def test_what_a_provider_reports_is_never_halved():
    reported = GeneratedImages(
        images=(imagen.providers.GeneratedImage(data=b""),), reported_cost_usd=Decimal("0.5")
    )
    model = CATALOG.find(OPENAI.model)
    assert cost_of(model, imagen.Generate(prompt="x"), reported, economy=True).usd == Decimal("0.5")


def test_every_model_with_a_lower_price_belongs_to_a_provider_with_a_batch_api():
    cheaper = {
        model.provider
        for model in CATALOG
        if model.price is not None and model.price.economy is not None
    }
    # Vertex AI has one too, which wants a bucket and is not spoken here: its
    # models have the prices of Google's.
    assert cheaper - {"vertex"} == {
        name for name, provider in PROVIDERS.items() if provider.batch_api is not None
    }


def test_a_hundred_lines_of_megabytes_are_never_held_together(dialect):
    line = dialect.line("@").replace(b"iVBOR", b"AAAA" * 500_000 + b"iVBOR")
    order = random.Random(0).sample(range(40), 40)
    chunks = (
        piece
        for position in order
        for whole in [line.replace(b'"@"', b'"%d"' % position)]
        for piece in (whole[: len(whole) // 2], whole[len(whole) // 2 :])
    )
    exchange = dialect.batch_api.collect(dialect.calls(40), dialect.accepted)
    walk = _Forgetful(exchange, dialect.ended, File(chunks))
    tracemalloc.start()
    try:
        walk.run()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert walk.count == 40
    assert most < 12 * len(line)


class _Forgetful(BatchWalk):
    """A walk that keeps no result."""

    count = 0

    def _answer(self, step: object) -> HttpResponse | bytes | ImagenError | None:
        answer = super()._answer(step)
        self.count += len(self.delivered)
        self.delivered.clear()
        self.steps.clear()
        return answer
