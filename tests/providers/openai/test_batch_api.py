"""OpenAI's Batch API: the files that go up, the lines that come down, and what
each of them is billed.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

import imagen
from imagen import (
    AuthenticationError,
    ContentFilterError,
    InvalidRequestError,
    ModelNotFoundError,
    OutcomeUnknownError,
    ProviderError,
    QuotaExceededError,
)
from imagen._transport.driver import ExchangeDriver
from imagen.providers import GeneratedImages, HttpRequest, HttpResponse, Progress
from imagen.providers._wire.http import FormFile, form_request, json_request
from imagen.providers.openai import _adapter as openai
from imagen.testing.simulator import OpenAI, Refused, open_simulator
from imagen.testing.simulator._core.forms import parse_form
from tests.support.batch_files import (
    OPENAI,
    BatchWalk,
    Collector,
    File,
    json_line,
    openai_answer,
    openai_batch,
)
from tests.support.drivers import open_driver
from tests.support.exchanges import Walk, call, images, outcome, recorded, reply

pytestmark = pytest.mark.filterwarnings("ignore::imagen.providers.ModelRetiringWarning")
EXPIRED = openai_batch("expired", output_file_id=None, error_file_id="file-3")


def not_executed(name: str, code: str) -> bytes:
    return json_line(
        {"custom_id": name, "response": None, "error": {"code": code, "message": "Too late."}}
    )


def sent_lines(walk: BatchWalk) -> list[dict[str, object]]:
    upload = walk.requests[0]
    _, files = parse_form(dict(upload.headers), upload.body)
    return [json.loads(line) for line in files["file"][0].data.splitlines()]


# --- what goes up -------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a cat"},
        {
            "prompt": 'Ä\n"✓"',
            "size": "1536x1024",
            "quality": "low",
            "output_format": "webp",
            "safety": "relaxed",
        },
        {"prompt": "a cat", "count": 4, "options": {"user": "acme"}},
    ],
)
def test_a_line_holds_what_the_request_would_be_by_itself(fields):
    alone = Walk(openai.generate(call(**fields)), reply(images()))
    alone.run()
    walk = BatchWalk(
        OPENAI.batch_api.run([call(**fields)] * 2),
        *OPENAI.submission,
        OPENAI.ended,
        OPENAI.file(0, 1),
    )
    walk.run()
    line = {"method": "POST", "url": "/v1/images/generations", "body": alone.body}
    assert sent_lines(walk) == [{"custom_id": "0", **line}, {"custom_id": "1", **line}]


def test_previews_are_left_out_of_a_batch_job():
    walk = BatchWalk(
        OPENAI.batch_api.run([call(previews=3)]), *OPENAI.submission, OPENAI.ended, OPENAI.file(0)
    )
    walk.run()
    assert sent_lines(walk)[0]["body"] == {"model": "gpt-image-2", "prompt": "a cat", "n": 1}


def test_the_requests_of_a_batch():
    walk = OPENAI.run(1, OPENAI.ended, OPENAI.file(0))
    walk.run()
    upload, order, poll, download = walk.requests
    texts, files = parse_form(dict(upload.headers), upload.body)
    assert (upload.method, upload.url, texts) == ("POST", "files", {"purpose": ["batch"]})
    assert files["file"][0].filename.endswith(".jsonl")
    assert (order.method, order.url) == ("POST", "batches")
    assert json.loads(order.body) == {
        "input_file_id": "file-1",
        "endpoint": "/v1/images/generations",
        "completion_window": "24h",
    }
    assert (poll.method, poll.url) == ("GET", "batches/batch_1")
    assert (download.method, download.url, download.stream) == ("GET", "files/file-2/content", True)
    (stop,) = walk.of(imagen.providers.Cancellable)
    assert isinstance(stop, imagen.providers.Cancellable)
    assert stop.request == HttpRequest(method="POST", url="batches/batch_1/cancel")


def test_a_file_of_errors_is_not_fetched_where_each_request_has_its_image():
    ended = openai_batch("completed", output_file_id="file-2", error_file_id="file-3")
    walk = OPENAI.collect(1, ended, OPENAI.file(0))
    walk.run()
    assert [request.url for request in walk.requests[1:]] == ["files/file-2/content"]


def test_an_id_cannot_lead_elsewhere():
    walk = BatchWalk(
        OPENAI.batch_api.run(OPENAI.calls(1)),
        OPENAI.submission[0],
        reply({"id": "../models?x=/"}),
        openai_batch("completed", output_file_id="../../x"),
        OPENAI.file(0),
    )
    walk.run()
    assert [request.url for request in walk.requests[2:]] == [
        "batches/..%2Fmodels%3Fx%3D%2F",
        "files/..%2F..%2Fx/content",
    ]


# --- what comes down ----------------------------------------------------------


def test_both_files_are_read_where_both_are_there():
    ended = openai_batch("completed", output_file_id="file-2", error_file_id="file-3")
    walk = OPENAI.collect(3, ended, OPENAI.file(2, 0), File([OPENAI.refused("1")]))
    results = walk.run()
    assert [type(results[position]) for position in range(3)] == [
        GeneratedImages,
        ContentFilterError,
        GeneratedImages,
    ]
    assert [request.url for request in walk.requests[1:]] == [
        "files/file-2/content",
        "files/file-3/content",
    ]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"code": "moderation_blocked", "message": "No."}}),
        (
            400,
            {
                "error": {
                    "code": "string_above_max_length",
                    "param": "prompt",
                    "message": "Too long.",
                }
            },
        ),
        (400, {"error": {"code": "invalid_value", "param": "model", "message": "Gone."}}),
        (401, {"error": {"code": "invalid_api_key", "message": "No."}}),
        (429, {"error": {"code": "rate_limit_exceeded", "message": "Please try again in 12s."}}),
        (
            429,
            {
                "error": {
                    "code": "insufficient_quota",
                    "type": "insufficient_quota",
                    "message": "Empty.",
                }
            },
        ),
        (500, {"error": {"code": "server_error", "message": "Oh."}}),
        (503, {"error": {"code": "server_is_overloaded", "message": "Oh."}}),
        (200, {"created": 1, "data": []}),
        (200, {"created": 1, "data": [{"b64_json": "!!"}]}),
        (200, "words"),
    ],
)
def test_a_line_means_what_the_answer_to_a_single_request_means(status, body):
    alone = Walk(openai.generate(call()), reply(body, status)).fail()
    result = OPENAI.collect(1, OPENAI.ended, File([openai_answer("0", status, body)])).run()[0]
    assert isinstance(result, imagen.ImagenError)
    assert outcome(result) == outcome(alone)
    assert result.details["x-request-id"] == "req_1" if "status" in result.details else True


def test_a_line_has_the_usage_and_all_the_images_of_a_request():
    usage = {"input_tokens": 14, "output_tokens": 272}
    answer = openai_answer("0", 200, images(3, usage=usage))
    result = OPENAI.collect(1, OPENAI.ended, File([answer])).run()[0]
    assert result == Walk(openai.generate(call(count=3)), reply(images(3, usage=usage))).run()


def test_recorded_answers_are_read_in_lines_too():
    body = recorded("generate-gpt-image-1.json")["response"]["body"]
    result = OPENAI.collect(1, OPENAI.ended, File([openai_answer("0", 200, body)])).run()[0]
    assert result == Walk(openai.generate(call()), reply(body)).run()


@pytest.mark.parametrize(
    ("code", "billed"),
    [
        ("batch_expired", "no"),
        ("batch_cancelled", "no"),
        ("request_timeout", "unknown"),
        ("", "unknown"),
    ],
)
def test_what_was_not_executed_costs_nothing_and_what_was_cut_short_may(code, billed):
    result = OPENAI.collect(1, EXPIRED, File([not_executed("0", code)])).run()[0]
    assert isinstance(result, ProviderError)
    assert (result.billed, result.retryable, result.details.get("code", "")) == (
        billed,
        False,
        code,
    )


@pytest.mark.parametrize("status", [None, "200", True, 0, 10**25, -1])
def test_a_line_without_a_status_may_be_billed(status):
    result = OPENAI.collect(1, OPENAI.ended, File([openai_answer("0", status, images())])).run()[0]
    assert isinstance(result, ProviderError)
    assert result.billed == "unknown"


@pytest.mark.parametrize("status", ["expired", "cancelled", "completed"])
def test_a_request_that_an_ended_batch_is_silent_on_may_be_billed(status):
    results = OPENAI.collect(2, openai_batch(status, output_file_id="file-2"), OPENAI.file(1)).run()
    assert isinstance(results[0], OutcomeUnknownError)
    assert status in results[0].message


# --- what is refused as a whole -----------------------------------------------


def failed(*errors: object) -> HttpResponse:
    return openai_batch("failed", errors={"object": "list", "data": list(errors)})


def test_a_file_that_is_not_valid_costs_nothing_and_each_request_is_told_its_own_error():
    wrong = {"code": "invalid_value", "message": "No such size.", "param": "size", "line": 2}
    results = OPENAI.collect(
        3, failed({"code": "invalid", "message": "Something is wrong."}, wrong)
    ).run()
    assert all(isinstance(result, InvalidRequestError) for result in results.values())
    assert ["No such size" in str(results[position]) for position in range(3)] == [
        False,
        True,
        False,
    ]
    assert {getattr(result, "billed", None) for result in results.values()} == {"no"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "billing_hard_limit_reached", "message": "x"}, QuotaExceededError),
        ({"code": "model_not_found", "param": "model", "message": "x"}, ModelNotFoundError),
        ({"code": 10**25, "message": [], "line": "2"}, InvalidRequestError),
        ("words", InvalidRequestError),
    ],
)
def test_the_codes_of_a_file_mean_what_those_of_a_request_mean(error, kind):
    result = OPENAI.collect(1, failed(error)).run()[0]
    assert isinstance(result, kind)
    assert result.billed == "no"


@pytest.mark.parametrize("errors", [None, {}, {"data": None}, []])
def test_a_batch_that_failed_without_a_word_costs_nothing_either(errors):
    result = OPENAI.collect(1, openai_batch("failed", errors=errors)).run()[0]
    assert isinstance(result, InvalidRequestError)


def test_an_order_that_is_refused_costs_nothing():
    order = reply({"error": {"code": "billing_hard_limit_reached", "message": "Limit."}}, 400)
    with pytest.raises(QuotaExceededError) as caught:
        BatchWalk(OPENAI.batch_api.run(OPENAI.calls(1)), OPENAI.submission[0], order).run()
    assert caught.value.billed == "no"


@pytest.mark.parametrize(
    "counts", [None, [], {"total": 0}, {"total": 2, "completed": 3, "failed": 0}, {"total": "4"}]
)
def test_how_far_a_batch_is_may_be_unknown(counts):
    walk = OPENAI.collect(
        1, openai_batch("validating", request_counts=counts), OPENAI.ended, OPENAI.file(0)
    )
    walk.run()
    assert walk.of(Progress) == [Progress(note="validating")]


# --- over real sockets --------------------------------------------------------


async def test_what_the_day_was_too_short_for_costs_nothing():
    async with open_simulator(OpenAI(batch_executes=2)) as simulator:
        watch = Collector()
        async with open_driver(simulator.base_url("openai"), key=simulator.key) as driver:
            await driver.run(OPENAI.batch_api.run(OPENAI.calls(4, poll_seconds=0.01)), watch)
        assert [type(watch.results[position]) for position in range(4)] == [
            GeneratedImages,
            GeneratedImages,
            ProviderError,
            ProviderError,
        ]
        assert [getattr(watch.results[position], "billed", None) for position in (2, 3)] == [
            "no",
            "no",
        ]
        assert simulator.bills[0].images == 2


async def test_an_order_is_refused_in_the_words_of_the_provider():
    async with open_simulator(faults=Refused()) as simulator:
        async with open_driver(simulator.base_url("openai"), key=simulator.key) as driver:
            with pytest.raises(ContentFilterError):
                await driver.run(OPENAI.batch_api.run(OPENAI.calls(1)), Collector())
        async with open_driver(simulator.base_url("openai"), key="another") as driver:
            with pytest.raises(AuthenticationError):
                await driver.run(OPENAI.batch_api.run(OPENAI.calls(1)), Collector())
        assert simulator.billed_usd == Decimal(0)


GENERATION = {"model": "gpt-image-2", "prompt": "a cat"}
LINE = {"custom_id": "0", "method": "POST", "url": "/v1/images/generations", "body": GENERATION}


async def ordered(driver: ExchangeDriver, *lines: object, purpose: str = "batch") -> dict[str, Any]:
    """What the simulator makes of such a file: the error of its upload, or the
    batch.
    """
    content = b"".join(json_line(line) for line in lines)
    file = FormFile("file", content, "application/jsonl", "requests.jsonl")
    uploaded = json.loads(
        (await driver.send(form_request("files", [("purpose", purpose)], [file]))).body
    )
    if "error" in uploaded:
        return uploaded
    order = {"input_file_id": uploaded["id"], "endpoint": LINE["url"], "completion_window": "24h"}
    return json.loads((await driver.send(json_request("batches", order))).body)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ((), "invalid_file"),
        (("words",), "invalid_json_line"),
        (({**LINE, "more": 1},), "invalid_json_line"),
        ((LINE, LINE), "duplicate_custom_id"),
        (({**LINE, "url": "/v1/images/edits"},), "mismatched_endpoint"),
        (
            (LINE, {**LINE, "custom_id": "1", "body": {**GENERATION, "model": "gpt-image-1.5"}}),
            "mismatched_model",
        ),
    ],
)
async def test_the_simulated_batch_fails_where_its_file_is_wrong(lines, code):
    async with (
        open_simulator() as simulator,
        open_driver(simulator.base_url("openai"), key=simulator.key) as driver,
    ):
        batch = await ordered(driver, *lines)
        assert batch["status"] == "failed"
        assert [error["code"] for error in batch["errors"]["data"]] == [code]
        assert simulator.billed_usd == 0


async def test_the_simulated_batch_refuses_a_line_that_is_to_be_a_stream():
    streamed = {**LINE, "body": {**GENERATION, "stream": True}}
    async with (
        open_simulator() as simulator,
        open_driver(simulator.base_url("openai"), key=simulator.key) as driver,
    ):
        batch = await ordered(driver, streamed)
        assert batch["request_counts"] == {"total": 1, "completed": 0, "failed": 1}
        assert batch["output_file_id"] is None
        answer = await driver.send(
            HttpRequest(method="GET", url=f"files/{batch['error_file_id']}/content")
        )
        assert json.loads(answer.body)["response"]["status_code"] == 400


async def test_the_simulated_batch_refuses_what_it_does_not_know():
    async with (
        open_simulator() as simulator,
        open_driver(simulator.base_url("openai"), key=simulator.key) as driver,
    ):
        assert "error" in await ordered(driver, LINE, purpose="assistants")
        orders = (
            {},
            {"input_file_id": "file-x", "endpoint": LINE["url"], "completion_window": "24h"},
        )
        for order, status in zip(orders, (400, 404), strict=True):
            assert (await driver.send(json_request("batches", order))).status == status
        for url in ("batches/batch_x", "files/file-output-x/content"):
            assert (await driver.send(HttpRequest(method="GET", url=url))).status == 404
        assert (
            await driver.send(HttpRequest(method="POST", url="files", body=b"no form"))
        ).status == 400


async def test_a_model_that_is_gone_is_told_by_each_line():
    model = msgspec.structs.replace(OPENAI.calls(1)[0].model, wire_name="gpt-image-9")
    async with (
        open_simulator() as simulator,
        open_driver(simulator.base_url("openai"), key=simulator.key) as driver,
    ):
        watch = Collector()
        calls = [
            msgspec.structs.replace(each, model=model)
            for each in OPENAI.calls(2, poll_seconds=0.01)
        ]
        await driver.run(OPENAI.batch_api.run(calls), watch)
        assert [type(result) for result in watch.results.values()] == [ModelNotFoundError] * 2
        assert simulator.billed_usd == 0
