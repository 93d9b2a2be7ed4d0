"""Gemini's Batch API: the files that go up, the lines that come down, and what
each of them is billed.
"""

from __future__ import annotations

import json
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
    RateLimitError,
)
from imagen.providers import (
    PROVIDERS,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    Progress,
    WithheldImage,
)
from imagen.providers._wire.http import json_request
from imagen.providers.google import _adapter as google
from imagen.testing.simulator import FewerImages, open_simulator
from imagen.testing.simulator import Withheld as WithheldByFilter
from tests.support.batch_files import (
    GOOGLE,
    BatchWalk,
    Collector,
    File,
    google_answer,
    google_batch,
    json_line,
)
from tests.support.drivers import open_driver
from tests.support.exchanges import Walk, call, input_image, outcome, recorded, reply

MODEL = GOOGLE.model


def sent_lines(walk: BatchWalk) -> list[dict[str, object]]:
    return [json.loads(line) for line in walk.requests[1].body.splitlines()]


def content(*parts: dict[str, object], reason: str = "STOP") -> dict[str, object]:
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": reason}]}


# --- what goes up -------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": 'Ä\n"✓"', "aspect_ratio": "16:9", "seed": 7, "safety": "strict"},
        {"prompt": "like this", "references": (input_image(), input_image(32, 32))},
    ],
)
def test_a_line_holds_what_the_request_would_be_by_itself(fields):
    asked = call(MODEL, **fields)
    alone = Walk(google.generate(asked), reply(content()))
    alone.fail()
    walk = BatchWalk(
        GOOGLE.batch_api.run([asked] * 2), *GOOGLE.submission, GOOGLE.ended, GOOGLE.file(0, 1)
    )
    walk.run()
    assert sent_lines(walk) == [
        {"key": "0", "request": alone.body},
        {"key": "1", "request": alone.body},
    ]


def test_the_requests_of_a_batch():
    walk = GOOGLE.run(1, GOOGLE.ended, GOOGLE.file(0))
    walk.run()
    start, upload, order, poll, download = walk.requests
    assert (start.method, start.url) == ("POST", "../upload/v1beta/files")
    assert start.headers["x-goog-upload-protocol"] == "resumable"
    assert start.headers["x-goog-upload-command"] == "start"
    assert start.headers["x-goog-upload-header-content-length"] == str(len(upload.body))
    assert (upload.method, upload.url) == (
        "POST",
        "https://generativelanguage.googleapis.com/upload/1",
    )
    assert upload.headers["x-goog-upload-command"] == "upload, finalize"
    assert upload.headers["x-goog-upload-offset"] == "0"
    assert (order.method, order.url) == ("POST", f"models/{MODEL}:batchGenerateContent")
    assert json.loads(order.body)["batch"]["inputConfig"] == {"fileName": "files/1"}
    assert (poll.method, poll.url) == ("GET", "batches/1")
    assert (download.method, download.url, download.stream) == (
        "GET",
        "files/batch-1:download?alt=media",
        True,
    )
    (stop,) = walk.of(imagen.providers.Cancellable)
    assert isinstance(stop, imagen.providers.Cancellable)
    assert stop.request == HttpRequest(method="POST", url="batches/1:cancel")


@pytest.mark.parametrize(
    "answers",
    [
        (HttpResponse(status=200),),
        (HttpResponse(status=200, headers={"x-goog-upload-url": "../x"}),),
        (GOOGLE.submission[0], reply({"file": {"name": "models/1"}})),
        (GOOGLE.submission[0], reply({"file": []})),
        (GOOGLE.submission[0], reply(b"")),
    ],
)
def test_an_upload_without_a_name_costs_nothing(answers):
    with pytest.raises(ProviderError) as caught:
        BatchWalk(GOOGLE.batch_api.run(GOOGLE.calls(1)), *answers).run()
    assert caught.value.billed == "no"


@pytest.mark.parametrize("name", [None, 1, "", "batches/", "operations/1", "batches"])
def test_an_order_without_a_name_may_be_billed(name):
    with pytest.raises(ProviderError) as caught:
        BatchWalk(
            GOOGLE.batch_api.run(GOOGLE.calls(1)), *GOOGLE.submission[:2], reply({"name": name})
        ).run()
    assert caught.value.billed == "unknown"


def test_a_name_cannot_lead_elsewhere():
    ended = google_batch("BATCH_STATE_SUCCEEDED", response={"responsesFile": "files/../models?x"})
    walk = BatchWalk(
        GOOGLE.batch_api.run(GOOGLE.calls(1)),
        *GOOGLE.submission[:2],
        reply({"name": "batches/../1"}),
        ended,
        GOOGLE.file(0),
    )
    walk.run()
    assert [request.url for request in walk.requests[3:]] == [
        "batches/..%2F1",
        "files/..%2Fmodels%3Fx:download?alt=media",
    ]


# --- what comes down ----------------------------------------------------------


@pytest.mark.parametrize(
    "ended",
    [
        google_batch("JOB_STATE_SUCCEEDED", response={"responsesFile": "files/batch-1"}),
        google_batch(
            "BATCH_STATE_SUCCEEDED", done=True, response={"responsesFile": "files/batch-1"}
        ),
        google_batch("JOB_STATE_PARTIALLY_SUCCEEDED", response={"responsesFile": "files/batch-1"}),
        google_batch("BATCH_STATE_CANCELLED", response={"responsesFile": "files/batch-1"}),
        reply({"name": "batches/1", "done": True, "response": {"responsesFile": "files/batch-1"}}),
        reply(
            {
                "metadata": {
                    "state": "BATCH_STATE_SUCCEEDED",
                    "output": {"responsesFile": "files/batch-1"},
                },
                "done": True,
            }
        ),
    ],
)
def test_the_end_is_known_in_each_of_its_forms(ended):
    assert isinstance(GOOGLE.collect(1, ended, GOOGLE.file(0)).run()[0], GeneratedImages)


@pytest.mark.parametrize(
    "state", ["JOB_STATE_PENDING", "BATCH_STATE_RUNNING", "BATCH_STATE_SOMETHING_NEW"]
)
def test_anything_else_goes_on(state):
    walk = GOOGLE.collect(1, google_batch(state), GOOGLE.ended, GOOGLE.file(0))
    walk.run()
    assert walk.of(Progress) == [Progress(note=state.partition("_STATE_")[2].lower())]


@pytest.mark.parametrize(
    "body",
    [
        {"promptFeedback": {"blockReason": "SAFETY"}},
        content(reason="IMAGE_OTHER"),
        content({"text": "A fine idea."}, reason="NO_IMAGE"),
        content({"inlineData": {"mimeType": "image/png", "data": "!!"}}),
        content(reason="MAX_TOKENS"),
        {"candidates": 5},
        "words",
    ],
)
def test_a_line_means_what_the_answer_to_a_single_request_means(body):
    alone = Walk(google.generate(call(MODEL)), reply(body)).fail()
    result = GOOGLE.collect(1, GOOGLE.ended, File([google_answer("0", response=body)])).run()[0]
    assert isinstance(result, imagen.ImagenError)
    assert outcome(result) == outcome(alone)


def test_each_line_is_read_with_the_request_that_it_answers():
    calls = [
        call(MODEL, prompt=str(seed), seed=seed, settings={"economy_poll_seconds": 1.0})
        for seed in (5, 6)
    ]
    walk = BatchWalk(
        GOOGLE.batch_api.collect(calls, GOOGLE.accepted), GOOGLE.ended, GOOGLE.file(1, 0)
    )
    results = walk.run()
    seeds = [[image.seed for image in results[position].images] for position in (0, 1)]
    assert seeds == [[5], [6]]


def test_a_withheld_image_is_one_in_a_line_too():
    body = content(reason="IMAGE_SAFETY")
    result = GOOGLE.collect(1, GOOGLE.ended, File([google_answer("0", response=body)])).run()[0]
    assert isinstance(result, GeneratedImages)
    assert isinstance(result.images[0], WithheldImage)


def test_recorded_answers_are_read_in_lines_too():
    body = recorded("generate-gemini-3.1-flash-lite-image.json", "google")["response"]["body"]
    result = GOOGLE.collect(1, GOOGLE.ended, File([google_answer("0", response=body)])).run()[0]
    assert result == Walk(google.generate(call(MODEL)), reply(body)).run()


@pytest.mark.parametrize("field", ["error", "status"])
@pytest.mark.parametrize(
    ("error", "kind", "billed"),
    [
        ({"code": 3, "message": "Wrong."}, InvalidRequestError, "no"),
        (
            {"code": 400, "message": "Wrong.", "status": "INVALID_ARGUMENT"},
            InvalidRequestError,
            "no",
        ),
        ({"code": 8, "message": "Too many."}, RateLimitError, "no"),
        ({"code": 5, "message": "Gone."}, ModelNotFoundError, "no"),
        ({"code": 7, "message": "No."}, AuthenticationError, "no"),
        ({"code": 13, "message": "Oh."}, ProviderError, "unknown"),
        ({"code": 1, "message": "Cancelled."}, ProviderError, "unknown"),
        ({"code": "3", "message": []}, ProviderError, "unknown"),
    ],
)
def test_an_error_in_a_line_is_known_by_either_kind_of_number(field, error, kind, billed):
    result = GOOGLE.collect(1, GOOGLE.ended, File([json_line({"key": "0", field: error})])).run()[0]
    assert isinstance(result, kind)
    assert result.billed == billed


@pytest.mark.parametrize(
    ("ended", "kind", "billed"),
    [
        (
            google_batch("BATCH_STATE_FAILED", error={"code": 3, "message": "Odd file."}),
            InvalidRequestError,
            "no",
        ),
        (
            google_batch("JOB_STATE_FAILED", error={"code": 8, "message": "Odd file."}),
            OutcomeUnknownError,
            "unknown",
        ),
        (
            google_batch("JOB_STATE_FAILED", error={"code": 13, "message": "Odd file."}),
            OutcomeUnknownError,
            "unknown",
        ),
        (google_batch("JOB_STATE_FAILED", error="Odd file."), OutcomeUnknownError, "unknown"),
        (google_batch("JOB_STATE_EXPIRED"), OutcomeUnknownError, "unknown"),
        (google_batch("JOB_STATE_CANCELLED"), OutcomeUnknownError, "unknown"),
        (google_batch("JOB_STATE_SUCCEEDED"), OutcomeUnknownError, "unknown"),
        (
            google_batch("JOB_STATE_SUCCEEDED", response={"responsesFile": "x"}),
            OutcomeUnknownError,
            "unknown",
        ),
    ],
)
def test_a_batch_without_results(ended, kind, billed):
    results = GOOGLE.collect(2, ended).run()
    assert [type(result) for result in results.values()] == [kind, kind]
    assert {getattr(result, "billed", None) for result in results.values()} == {billed}


# --- over real sockets --------------------------------------------------------


async def run(simulator, *, key: str | None = None, count: int = 2, **fields: object) -> Collector:
    watch = Collector()
    calls = GOOGLE.calls(count, poll_seconds=0.01, **fields)
    base_url = simulator.base_url("google")
    async with open_driver(
        base_url, provider=PROVIDERS["google"], key=key or simulator.key
    ) as driver:
        await driver.run(GOOGLE.batch_api.run(calls), watch)
    return watch


async def test_a_wrong_key_is_refused_before_anything_is_ordered():
    async with open_simulator() as simulator:
        with pytest.raises(AuthenticationError) as caught:
            await run(simulator, key="another")
        assert caught.value.billed == "no"
        assert [received.kind for received in simulator.received] == ["upload"]


async def test_images_to_refer_to_go_along():
    async with open_simulator() as simulator:
        watch = await run(simulator, references=(input_image(color="red"),))
        assert all(isinstance(result, GeneratedImages) for result in watch.results.values())
        assert b"inlineData" in simulator.received[1].body


@pytest.mark.parametrize("fault", [WithheldByFilter(), FewerImages()], ids=repr)
async def test_images_that_are_not_shown(fault):
    async with open_simulator(faults=fault) as simulator:
        watch = await run(simulator)
        assert not any(
            isinstance(image, imagen.providers.GeneratedImage)
            for result in watch.results.values()
            if isinstance(result, GeneratedImages)
            for image in result.images
        )


async def test_the_simulated_batch_looks_at_its_file():
    base_path = f"models/{MODEL}:batchGenerateContent"
    async with open_simulator() as simulator:
        base_url = simulator.base_url("google")
        async with open_driver(base_url, provider=PROVIDERS["google"], key=simulator.key) as driver:

            async def status(method: str, url: str, body: object = None) -> int:
                request = HttpRequest(method=method, url=url, body=msgspec.json.encode(body))
                return (await driver.send(request)).status

            order: dict[str, dict[str, Any]] = {
                "batch": {"displayName": "x", "inputConfig": {"fileName": "files/x"}}
            }
            assert await status("POST", base_path, order) == 404
            assert await status("POST", base_path, {"batch": {"requests": []}}) == 400
            assert await status("POST", "models/nothing:batchGenerateContent", order) == 404
            assert await status("POST", "files", {}) == 400
            assert await status("POST", "../upload/v1beta/files", {}) == 400
            assert await status("GET", "batches/x") == 404
            assert await status("GET", "files/batch-x:download?alt=media") == 404
            finish = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
            uploaded = await driver.send(
                HttpRequest(method="POST", url="files", headers=finish, body=b"words")
            )
            order["batch"]["inputConfig"] = {"fileName": json.loads(uploaded.body)["file"]["name"]}
            batch = json.loads((await driver.send(json_request(base_path, order))).body)
            assert (batch["metadata"]["state"], batch["error"]["code"]) == ("BATCH_STATE_FAILED", 3)
        assert simulator.billed_usd == 0


def test_a_refused_prompt_is_free_where_the_settings_say_so():
    calls = [
        call(MODEL, settings={"economy_poll_seconds": 1.0, "charges_for_blocked_prompts": False})
    ]
    result = BatchWalk(
        GOOGLE.batch_api.collect(calls, GOOGLE.accepted), GOOGLE.ended, File([GOOGLE.refused("0")])
    ).run()[0]
    assert isinstance(result, ContentFilterError)
    assert result.billed == "no"
