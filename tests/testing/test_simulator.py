"""The simulator against recorded replies, and each fault against what it says
on the wire and on the bill.
"""

import base64
import contextlib
import io
import json
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any, Literal

import httpx2
import pytest
import trio
from PIL import Image

from imagen.testing import simulator as package
from imagen.testing.simulator import (
    NEXOS_MODELS,
    BrokenBase64,
    Drip,
    ExpiredLink,
    Fault,
    FewerImages,
    Garbage,
    GzipBomb,
    HtmlError,
    Nexos,
    NexosModel,
    NotAllowed,
    OpenAI,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Received,
    Redirect,
    Refused,
    Reset,
    ServerError,
    Simulator,
    Stall,
    Truncated,
    WrongMedia,
    open_simulator,
    png,
)
from imagen.testing.simulator.__main__ import command_line
from imagen.testing.simulator.__main__ import run as run_from_command_line
from imagen.testing.simulator._core.files import Files
from imagen.testing.simulator._core.latency import latency_seconds
from tests.support.paths import ROOT

RECORDED = ROOT / ".." / "shared" / "recorded" / "openai"
Json = dict[str, Any]
KEY = {"authorization": "Bearer test-key"}


def recorded(name: str) -> Json:
    path = RECORDED / name
    if not path.exists():
        pytest.skip("the recorded replies are not beside this checkout")
    reply: Json = json.loads(path.read_text())
    return reply


def recorded_error(name: str) -> Json:
    return next(
        case["response"] for case in recorded("errors.json")["cases"] if case["name"] == name
    )


@contextlib.asynccontextmanager
async def open_http() -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(headers=KEY, timeout=5, trust_env=False) as http:
        yield http


async def post(http: httpx2.AsyncClient, simulator: Simulator, **fields: object) -> httpx2.Response:
    body = {"model": "gpt-image-2", "prompt": "a red circle", **fields}
    return await http.post(f"{simulator.base_url('openai')}/images/generations", json=body)


async def post_nexos(
    http: httpx2.AsyncClient, simulator: Simulator, **fields: object
) -> httpx2.Response:
    body = {"model": "Imagen 4", "prompt": "a red circle", "response_format": "b64_json", **fields}
    return await http.post(f"{simulator.base_url('nexos')}/images/generations", json=body)


async def fetch(url: str) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as keyless:
        return await keyless.get(url)


def shape(value: object) -> object:
    """The keys of a JSON value, without its contents."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def first_image(reply: httpx2.Response) -> Image.Image:
    return opened(base64.b64decode(reply.json()["data"][0]["b64_json"], validate=True))


def error_of(reply: httpx2.Response) -> Json:
    error: Json = reply.json()["error"]
    return error


async def raw_exchange(simulator: Simulator, request: bytes) -> bytes:
    """Send bytes, and read what comes until the server closes. Raises
    BrokenResourceError on an RST.
    """
    async with await trio.open_tcp_stream(
        "127.0.0.1", int(simulator.url.rpartition(":")[2])
    ) as stream:
        await stream.send_all(request)
        return b"".join([part async for part in stream])


def raw_request(fields: Json | None = None) -> bytes:
    body = json.dumps(fields or {"model": "gpt-image-2", "prompt": "x"}).encode()
    return (
        b"POST /openai/v1/images/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer"
        b" test-key\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )


# -- OpenAI's replies


async def test_a_generation_has_the_recorded_shape() -> None:
    wanted = recorded("stream-gpt-image-1-partials.json")["response"]["same_call_without_stream"]
    async with open_simulator(OpenAI(retired=())) as simulator, open_http() as http:
        reply = await post(http, simulator, model="gpt-image-1", size="1024x1024", quality="low")
    assert reply.status_code == 200
    assert shape(reply.json()) == shape(wanted)
    assert reply.json()["usage"]["output_tokens"] == wanted["usage"]["output_tokens"]
    assert [reply.json()[name] for name in ("background", "output_format", "quality", "size")] == [
        wanted[name] for name in ("background", "output_format", "quality", "size")
    ]
    headers = recorded("generate-gpt-image-1.json")["response"]["headers"]
    assert {name for name in headers if not name.startswith("cf-") and name != "server"} <= set(
        reply.headers
    )


async def test_images_have_the_size_asked_for_and_differ() -> None:
    async with open_simulator() as simulator, open_http() as http:
        reply = await post(http, simulator, size="1536x864", n=2)
    one, two = (base64.b64decode(item["b64_json"]) for item in reply.json()["data"])
    assert opened(one).size == opened(two).size == (1536, 864)
    assert one != two


@pytest.mark.parametrize("format", ["jpeg", "webp", "gif"])
async def test_other_formats_are_what_they_say(format: str) -> None:
    async with open_simulator() as simulator, open_http() as http:
        reply = await post(http, simulator, model="gpt-image-2.6-flare", output_format=format)
    assert first_image(reply).format == format.upper()


async def test_a_dalle_reply_has_links_that_can_be_fetched() -> None:
    wanted = recorded("generate-dall-e-3-url.json")["response"]["body"]
    async with open_simulator(OpenAI(retired=())) as simulator, open_http() as http:
        reply = await post(http, simulator, model="dall-e-3", style="vivid")
        assert shape(reply.json()) == shape(wanted)
        url = reply.json()["data"][0]["url"]
        assert not url.startswith(simulator.url)
        fetched = await fetch(url)
        assert fetched.headers["content-type"] == "image/png"
        assert opened(fetched.content).size == (1024, 1024)
        assert simulator.billed_usd == Decimal("0.04")


async def test_the_bill_is_the_usage_times_the_token_prices() -> None:
    async with open_simulator() as simulator, open_http() as http:
        usage = (await post(http, simulator, model="gpt-image-1.5", quality="high", n=2)).json()[
            "usage"
        ]
    assert usage["output_tokens"] == 2 * 4160
    expected = (
        usage["input_tokens"] * Decimal(5) + usage["output_tokens"] * Decimal(32)
    ) / 1_000_000
    [bill] = simulator.bills
    assert (bill.usd, bill.images, bill.model, bill.delivered) == (
        expected,
        2,
        "gpt-image-1.5",
        True,
    )


async def test_gpt_image_2_costs_about_its_list_price() -> None:
    async with open_simulator() as simulator, open_http() as http:
        await post(http, simulator, quality="medium", size="1024x1024")
    assert abs(simulator.billed_usd - Decimal("0.053")) < Decimal("0.0005")


async def test_a_fixed_price_is_billed_and_the_usage_left_out() -> None:
    async with open_simulator(usd_per_image="0.04") as simulator, open_http() as http:
        reply = await post(http, simulator, n=3)
        streamed = await post(http, simulator, stream=True)
    assert "usage" not in reply.json()
    assert "usage" not in streamed.text
    assert simulator.billed_usd == Decimal("0.16")


async def test_a_stream_has_the_recorded_events() -> None:
    wanted = recorded("stream-gpt-image-1-partials.json")["response"]["events"]
    async with open_simulator(OpenAI(retired=())) as simulator, open_http() as http:
        reply = await post(
            http,
            simulator,
            model="gpt-image-1",
            size="1024x1024",
            quality="low",
            stream=True,
            partial_images=2,
        )
    assert reply.headers["content-type"].startswith("text/event-stream")
    frames = [frame.split("\n") for frame in reply.text.split("\n\n")[:-1]]
    events = [
        {"event": name.removeprefix("event: "), "data": json.loads(data.removeprefix("data: "))}
        for name, data in frames
    ]
    assert [event["event"] for event in events] == [event["event"] for event in wanted]
    assert [shape(event) for event in events] == [shape(event) for event in wanted]
    for event in events:
        assert opened(base64.b64decode(event["data"]["b64_json"])).size == (1024, 1024)
    assert events[-1]["data"]["usage"]["output_tokens"] == 272 + 200  # 100 for each partial
    assert simulator.bills[0].delivered


async def test_partials_are_spread_over_the_latency() -> None:
    async with open_simulator(latency=0.15) as simulator, open_http() as http:
        body = {"model": "gpt-image-2", "prompt": "x", "stream": True, "partial_images": 2}
        url = f"{simulator.base_url('openai')}/images/generations"
        async with http.stream("POST", url, json=body) as reply:
            arrived: list[tuple[str, float]] = []
            async for line in reply.aiter_lines():
                if line.startswith("event:"):
                    arrived.append((line, trio.current_time()))
    assert len(arrived) == 3
    assert arrived[1][1] - arrived[0][1] > 0.02
    assert arrived[2][1] - arrived[1][1] > 0.02


async def test_the_list_of_models_names_shutdown_dates() -> None:
    async with open_simulator() as simulator, open_http() as http:
        reply = await http.get(f"{simulator.base_url('openai')}/models")
    listed = {item["id"]: item for item in reply.json()["data"]}
    assert listed["gpt-image-1.5"]["shutdown_date"] == "2026-12-01"
    assert listed["gpt-image-2"]["shutdown_date"] is None
    assert "dall-e-3" not in listed


# -- OpenAI's errors


async def test_a_wrong_key_is_refused_as_recorded() -> None:
    wanted = recorded_error("wrong API key")
    async with open_simulator() as simulator, open_http() as http:
        http.headers["authorization"] = "Bearer test"
        reply = await post(http, simulator)
    assert (reply.status_code, reply.json()) == (wanted["status"], wanted["body"])
    assert reply.headers["www-authenticate"] == wanted["headers"]["www-authenticate"]
    assert simulator.bills == []


@pytest.mark.parametrize(
    ("case", "fields"),
    [
        ("retired model", {"model": "dall-e-3"}),
        ("response_format sent to a GPT image model", {"response_format": "b64_json"}),
        ("size not supported by gpt-image-1", {"model": "gpt-image-1", "size": "123x456"}),
    ],
)
async def test_recorded_refusals_are_repeated_to_the_letter(case: str, fields: Json) -> None:
    wanted = recorded_error(case)
    retired = ["dall-e-3"] if case == "retired model" else []
    async with open_simulator(OpenAI(retired=retired)) as simulator, open_http() as http:
        reply = await post(http, simulator, **fields)
    # The order of the sizes in the text is not part of the shape.
    assert reply.status_code == wanted["status"]
    assert {**error_of(reply), "message": ""} == {**wanted["body"]["error"], "message": ""}
    assert sorted(re.findall(r"\w+", error_of(reply)["message"])) == sorted(
        re.findall(r"\w+", wanted["body"]["error"]["message"])
    )


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": "gpt-image-9"}, "model", "invalid_value"),
        ({"model": None}, "model", "invalid_value"),
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"prompt": 7}, "prompt", "invalid_type"),
        ({"prompt": ""}, "prompt", "invalid_value"),
        ({"prompt": "x" * 32001}, "prompt", "string_above_max_length"),
        ({"seed": 1}, "seed", "unknown_parameter"),
        ({"style": "vivid"}, "style", "unknown_parameter"),
        ({"complexity": "low"}, "complexity", "unknown_parameter"),
        ({"n": 11}, "n", "invalid_value"),
        ({"n": True}, "n", "invalid_type"),
        ({"quality": "max"}, "quality", "invalid_value"),
        ({"model": "gpt-image-1.5", "size": "1536x864"}, "size", "invalid_value"),
        ({"size": "1000x1000"}, "size", "invalid_value"),  # no multiples of 16
        ({"size": "3072x960"}, "size", "invalid_value"),  # wider than 3:1
        ({"size": "3856x2160"}, "size", "invalid_value"),  # a side too long
        ({"size": "512x512"}, "size", "invalid_value"),  # too few pixels
        ({"size": "3840x2176"}, "size", "invalid_value"),  # too many
        ({"output_format": "gif"}, "output_format", "invalid_value"),
        ({"output_compression": 50}, "output_compression", "unsupported_parameter"),
        (
            {"output_format": "jpeg", "output_compression": 101},
            "output_compression",
            "invalid_value",
        ),
        ({"background": "transparent"}, "background", "invalid_value"),
        (
            {"model": "gpt-image-1.5", "background": "transparent", "output_format": "jpeg"},
            "background",
            "invalid_value",
        ),
        ({"moderation": "none"}, "moderation", "invalid_value"),
        ({"partial_images": 2}, "partial_images", "unsupported_parameter"),
        ({"stream": True, "partial_images": 4}, "partial_images", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        (
            {"model": "gpt-image-2.6-flare", "frame_count": 4},
            "frame_count",
            "unsupported_parameter",
        ),
        (
            {"model": "gpt-image-2.6-flare", "output_format": "gif", "stream": True},
            "stream",
            "unsupported_parameter",
        ),
    ],
)
async def test_a_field_that_the_api_refuses_is_refused(fields: Json, param: str, code: str) -> None:
    async with open_simulator() as simulator, open_http() as http:
        reply = await post(http, simulator, **fields)
    assert reply.status_code == 400
    assert (error_of(reply)["param"], error_of(reply)["code"]) == (param, code)
    assert simulator.bills == []


@pytest.mark.parametrize(
    "fields",
    [
        {"size": "3840x2160"},
        {"size": "1280x512"},
        {
            "model": "gpt-image-2.5-flare",
            "quality": "xhigh",
            "background": "transparent",
            "size": "1024x1024",
        },
        {"output_format": "webp", "output_compression": 0},
        {"n": None, "size": None, "user": "acme", "moderation": "low"},
        {"model": "gpt-image-2.6-sunburst", "output_format": "svg", "complexity": "low"},
    ],
)
async def test_a_field_that_the_api_takes_is_taken(fields: Json) -> None:
    async with open_simulator() as simulator, open_http() as http:
        assert (await post(http, simulator, **fields)).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe", b'"x"'])
async def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    async with open_simulator() as simulator, open_http() as http:
        reply = await http.post(f"{simulator.base_url('openai')}/images/generations", content=body)
    assert reply.status_code == 400


# -- nexos


@pytest.mark.parametrize("format", ["b64_json", "url"])
async def test_a_nexos_reply_has_the_form_asked_for(format: str) -> None:
    simulation = open_simulator(usd_per_image="0.05", image_bytes=30_000)
    async with simulation as simulator, open_http() as http:
        reply = await post_nexos(http, simulator, n=2, response_format=format, size="512x512")
        assert shape(reply.json()) == {
            "created": None,
            "data": [{format: None, "revised_prompt": None}],
        }
        if format == "url":
            content = (await fetch(reply.json()["data"][1]["url"])).content
        else:
            content = base64.b64decode(reply.json()["data"][1]["b64_json"])
        assert opened(content).size == (512, 512)
        assert len(content) == 30_000
    assert simulator.billed_usd == Decimal("0.10")


async def test_nexos_takes_names_and_uuids_and_three_key_headers() -> None:
    async with open_simulator() as simulator, open_http() as http:
        for model in NEXOS_MODELS[:7]:
            for name in (model.name, model.uuid):
                assert (
                    await post_nexos(http, simulator, model=name, size="256x256")
                ).status_code == 200
        del http.headers["authorization"]
        assert (await post_nexos(http, simulator)).status_code == 401
        http.headers["x-api-key"] = "test-key"
        assert (await post_nexos(http, simulator)).status_code == 200
        http.headers["x-nexos-key"] = "wrong"
        assert (await post_nexos(http, simulator)).status_code == 401
    assert simulator.billed_usd == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": "opaque"}, "background"),
        ({"quality": "auto"}, "quality"),
        ({"size": "1536x1024"}, "size"),
        ({"style": "loud"}, "style"),
        ({"n": 0}, "n"),
        ({"n": 2, "model": "DALL-E 3"}, "n"),
        ({"response_format": "png"}, "response_format"),
        ({"model": None}, "model"),
    ],
)
async def test_nexos_is_strict(fields: Json, param: str) -> None:
    async with open_simulator() as simulator, open_http() as http:
        reply = await post_nexos(http, simulator, **fields)
    assert reply.status_code == 400
    assert error_of(reply)["param"] == param


@pytest.mark.parametrize("name", ["Imagen 5", "imagen 4", "GPT 4.1"])
async def test_nexos_does_not_find_other_models(name: str) -> None:
    async with open_simulator() as simulator, open_http() as http:
        reply = await post_nexos(http, simulator, model=name)
    assert (reply.status_code, error_of(reply)) == (
        404,
        {"code": 100110, "message": "Model not found"},
    )


async def test_nexos_lists_what_a_test_gives_it() -> None:
    twins = [
        NexosModel(name="Imagen 4", uuid=f"00000000-0000-4000-8000-00000000000{at}")
        for at in (1, 2)
    ]
    nexos = Nexos(models=twins, credits_per_image=Decimal("4.5"))
    async with open_simulator(nexos) as simulator, open_http() as http:
        listed = (await http.get(f"{simulator.base_url('nexos')}/models")).json()
        made = await post_nexos(http, simulator, model=twins[1].uuid, n=2)
        assert (await post(http, simulator)).status_code == 200  # the other provider is still there
    assert [item["nexos_model_id"] for item in listed["data"]] == [twin.uuid for twin in twins]
    assert listed["total"] == 2
    assert made.json()["usage"] == {"nexos_credits_cost": 9.0}
    assert made.headers["x-nexos-model-id"] == twins[1].uuid


async def test_nexos_turns_the_default_python_agent_away() -> None:
    async with open_simulator() as simulator, open_http() as http:
        http.headers["user-agent"] = "Python-urllib/3.12"
        reply = await post_nexos(http, simulator)
    assert (reply.status_code, reply.text) == (403, "error code: 1010")


# -- faults: the provider declines


@pytest.mark.parametrize(
    ("fault", "openai", "nexos"),
    [
        (RateLimited(), (429, "rate_limit_exceeded"), 429),
        (QuotaExhausted(), (429, "insufficient_quota"), 402),
        (ServerError(), (500, "server_error"), 500),
        (Overloaded(), (503, "server_is_overloaded"), 503),
        (NotAllowed(), (403, None), 403),
        (Refused(), (400, "moderation_blocked"), 400),
    ],
)
async def test_a_decline_is_worded_by_the_provider_and_costs_nothing(
    fault: Fault, openai: tuple[int, str | None], nexos: int
) -> None:
    async with open_simulator(faults=fault, latency=60) as simulator, open_http() as http:
        reply = await post(http, simulator)
        assert (reply.status_code, error_of(reply)["code"]) == openai
        assert (await post_nexos(http, simulator)).status_code == nexos
    assert simulator.bills == []


async def test_a_refusal_is_the_recorded_one() -> None:
    wanted = recorded_error("prompt refused by moderation")["body"]["error"]
    async with open_simulator(faults=Refused()) as simulator, open_http() as http:
        error = error_of(await post(http, simulator))
    without_id = [
        re.sub(r"req_\w+", "req_", text) for text in (error["message"], wanted["message"])
    ]
    assert without_id[0] == without_id[1]
    assert {**error, "message": ""} == {**wanted, "message": ""}


async def test_the_wait_after_a_429_stands_in_the_header_or_in_the_text() -> None:
    faults = [
        RateLimited(wait_seconds=2.5),
        *(RateLimited(wait_seconds=s, told="text") for s in (12, 0.467, 51.8)),
    ]
    async with open_simulator(faults=faults) as simulator, open_http() as http:
        told, *spoken = [await post(http, simulator) for _ in faults]
    assert told.headers["retry-after"] == "3"
    assert "try again" not in told.text
    waits = [error_of(reply)["message"].partition("try again in ")[2] for reply in spoken]
    assert waits == ["12s.", "467ms.", "51.8 seconds."]
    assert all("retry-after" not in reply.headers for reply in spoken)


# -- faults: the reply is spoilt


async def test_fewer_images_are_billed_as_few() -> None:
    async with (
        open_simulator(faults=FewerImages(), usd_per_image="1") as simulator,
        open_http() as http,
    ):
        assert len((await post(http, simulator, n=2)).json()["data"]) == 1
        assert (await post(http, simulator, n=1)).json()["data"] == []
    assert [(bill.images, bill.usd, bill.delivered) for bill in simulator.bills] == [
        (1, Decimal(1), True),
        (0, Decimal(0), True),
    ]


async def test_broken_base64_does_not_decode() -> None:
    async with open_simulator(faults=BrokenBase64()) as simulator, open_http() as http:
        text = (await post(http, simulator)).json()["data"][0]["b64_json"]
    with pytest.raises(ValueError, match="base64"):
        base64.b64decode(text, validate=True)
    assert [bill.delivered for bill in simulator.bills] == [False]
    assert simulator.billed_usd > 0


async def test_wrong_media_is_a_page_where_an_image_should_be() -> None:
    async with open_simulator(faults=WrongMedia()) as simulator, open_http() as http:
        text = (await post(http, simulator)).json()["data"][0]["b64_json"]
    assert base64.b64decode(text).startswith(b"<!DOCTYPE html>")
    assert [bill.delivered for bill in simulator.bills] == [False]


async def test_an_expired_link_answers_403_and_was_billed() -> None:
    faults = [ExpiredLink(), ExpiredLink(status=404), None]
    async with open_simulator(faults=faults, usd_per_image="1") as simulator, open_http() as http:
        urls = [
            (await post_nexos(http, simulator, response_format="url")).json()["data"][0]["url"]
            for _ in faults
        ]
        async with httpx2.AsyncClient(trust_env=False) as keyless:
            assert [(await keyless.get(url)).status_code for url in urls] == [403, 404, 200]
    assert [bill.delivered for bill in simulator.bills] == [False, False, True]
    assert simulator.leaks == []


# -- faults: the way back breaks


@pytest.mark.parametrize(("after_billing", "bills"), [(False, 0), (True, 1)])
async def test_a_reset_arrives_as_a_reset(after_billing: bool, bills: int) -> None:
    async with open_simulator(faults=Reset(after_billing=after_billing)) as simulator:
        with pytest.raises(trio.BrokenResourceError) as raised:
            await raw_exchange(simulator, raw_request())
        assert isinstance(raised.value.__cause__, ConnectionResetError)
        async with open_http() as http:
            with pytest.raises(httpx2.TransportError):
                await post(http, simulator)
    assert [bill.delivered for bill in simulator.bills] == [False] * 2 * bills


async def test_a_reset_before_anything_was_done_does_not_wait() -> None:
    async with open_simulator(faults=Reset(), latency=60) as simulator:
        with pytest.raises(trio.BrokenResourceError):
            await raw_exchange(simulator, raw_request())


async def test_a_stall_without_end_ends_when_the_client_gives_up() -> None:
    async with open_simulator(faults=Stall()) as simulator:
        async with open_http() as http:
            http.timeout = httpx2.Timeout(0.05)
            with pytest.raises(httpx2.ReadTimeout):
                await post(http, simulator)
        with trio.fail_after(5):
            await simulator.wait_closed()


@pytest.mark.parametrize("sent", ["nothing", "headers", "half"])
async def test_a_stall_sends_so_much_and_no_more(
    sent: Literal["nothing", "headers", "half"],
) -> None:
    async with open_simulator(faults=Stall(seconds=0.05, sent=sent)) as simulator:
        began = trio.current_time()
        got = await raw_exchange(simulator, raw_request())
        assert trio.current_time() - began >= 0.05
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") is (sent != "nothing")
    assert (len(body) > 1000) is (sent == "half")
    assert [bill.delivered for bill in simulator.bills] == [False]


async def test_a_truncated_body_is_shorter_than_promised() -> None:
    async with open_simulator(faults=Truncated(share=0.25)) as simulator:
        head, _, body = (await raw_exchange(simulator, raw_request())).partition(b"\r\n\r\n")
        promised = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        assert len(body) == promised // 4
        async with open_http() as http:
            with pytest.raises(httpx2.RemoteProtocolError):
                await post(http, simulator)
    assert [bill.delivered for bill in simulator.bills] == [False, False]


async def test_a_truncated_chunked_body_lacks_its_last_chunk() -> None:
    async with open_simulator(faults=Truncated(chunked=True)) as simulator:
        head, _, body = (await raw_exchange(simulator, raw_request())).partition(b"\r\n\r\n")
        assert b"chunked" in head
        assert not body.endswith(b"0\r\n\r\n")
        async with open_http() as http:
            with pytest.raises(httpx2.RemoteProtocolError):
                await post(http, simulator)


async def test_a_stream_can_be_cut_after_a_partial() -> None:
    async with open_simulator(faults=Truncated(share=0.4, chunked=True)) as simulator:
        got = await raw_exchange(
            simulator,
            raw_request(
                {"model": "gpt-image-2", "prompt": "x", "stream": True, "partial_images": 1}
            ),
        )
    assert b"event: image_generation.partial_image" in got
    assert b"event: image_generation.completed" not in got


async def test_garbage_is_the_same_for_the_same_seed() -> None:
    bodies = []
    for seed in (1, 1, 2):
        async with (
            open_simulator(faults=Garbage(size_bytes=100), seed=seed) as simulator,
            open_http() as http,
        ):
            reply = await post(http, simulator)
            assert reply.headers["content-type"] == "application/json"
            bodies.append(reply.content)
        assert [bill.delivered for bill in simulator.bills] == [False]
    assert bodies[0] == bodies[1] != bodies[2]


async def test_an_html_error_is_a_page_and_costs_nothing() -> None:
    async with open_simulator(faults=HtmlError()) as simulator, open_http() as http:
        reply = await post(http, simulator)
    assert reply.status_code == 502
    assert reply.headers["content-type"].startswith("text/html")
    assert simulator.bills == []


async def test_a_gzip_bomb_is_small_until_it_is_opened() -> None:
    size = (3 << 20) + 17
    async with (
        open_simulator(faults=GzipBomb(expands_to_bytes=size)) as simulator,
        open_http() as http,
    ):
        reply = await post(http, simulator)
    assert int(reply.headers["content-length"]) < size / 500
    assert reply.content == b" " * size
    assert [bill.delivered for bill in simulator.bills] == [False]


async def test_a_drip_takes_its_time_and_arrives_whole() -> None:
    async with (
        open_simulator(faults=Drip(piece_bytes=4000, pause_seconds=0.01)) as simulator,
        open_http() as http,
    ):
        began = trio.current_time()
        image = first_image(await post(http, simulator))
        assert trio.current_time() - began > 0.03
    assert image.size == (1024, 1024)
    assert simulator.bills[0].delivered


async def test_a_key_that_follows_a_redirect_is_seen() -> None:
    async with open_simulator(faults=Redirect()) as simulator, open_http() as http:
        reply = await post(http, simulator)
        assert reply.status_code == 307
        assert reply.headers["location"].startswith(simulator.elsewhere_url)
        assert simulator.leaks == []
        leaked = await http.post(reply.headers["location"], content=b"{}")
        assert leaked.status_code == 400
    assert [leak.number for leak in simulator.leaks] == [1]
    assert simulator.bills == []


async def test_a_key_sent_with_a_download_is_seen_and_refused() -> None:
    async with open_simulator() as simulator, open_http() as http:
        url = (await post_nexos(http, simulator, response_format="url")).json()["data"][0]["url"]
        assert (await http.get(url)).status_code == 400
    assert [leak.kind for leak in simulator.leaks] == ["download"]


# -- plans


def only_blue(received: Received) -> Fault | None:
    return ServerError() if b"blue" in received.body else None


@pytest.mark.parametrize(
    ("plan", "statuses"),
    [
        (None, [200, 200, 200]),
        ([None, ServerError()], [200, 500, 200]),
        ({2: Overloaded()}, [200, 200, 503]),
        (Overloaded(), [503, 503, 503]),
        (only_blue, [200, 500, 200]),
    ],
)
async def test_a_plan_says_who_meets_what(plan: package.FaultPlan, statuses: list[int]) -> None:
    async with open_simulator(faults=plan) as simulator, open_http() as http:
        await http.get(
            f"{simulator.base_url('openai')}/models"
        )  # other requests do not shift the plan
        got = [
            (await post(http, simulator, prompt=prompt)).status_code
            for prompt in ("red", "blue", "green")
        ]
    assert got == statuses


async def test_lists_and_downloads_have_plans_of_their_own() -> None:
    async with (
        open_simulator(
            list_faults=[ServerError()], download_faults=[None, RateLimited(), Truncated()]
        ) as simulator,
        open_http() as http,
        httpx2.AsyncClient(trust_env=False) as keyless,
    ):
        models = f"{simulator.base_url('nexos')}/models"
        assert [(await http.get(models)).status_code for _ in range(2)] == [500, 200]
        url = (await post_nexos(http, simulator, response_format="url")).json()["data"][0]["url"]
        assert [(await keyless.get(url)).status_code for _ in range(2)] == [200, 429]
        with pytest.raises(httpx2.RemoteProtocolError):
            await keyless.get(url)


@pytest.mark.parametrize(
    ("latency", "expected"),
    [
        (0.5, [0.5, 0.5, 0.5]),
        ([0.1, 0.2], [0.1, 0.2, 0.2]),
        (lambda place: place / 4, [0, 0.25, 0.5]),
        ([], [0, 0, 0]),
    ],
)
def test_latency_takes_four_forms(latency: package.Latency, expected: list[float]) -> None:
    assert [latency_seconds(latency, place, seed=1) for place in range(3)] == expected
    spread = [latency_seconds((1.0, 2.0), place, seed=1) for place in range(3)]
    assert all(1 <= seconds <= 2 for seconds in spread)
    assert len(set(spread)) == 3
    assert spread == [latency_seconds((1.0, 2.0), place, seed=1) for place in range(3)]


# -- the record, and connections


async def test_every_request_is_written_down() -> None:
    async with open_simulator() as simulator, open_http() as http:
        await post(http, simulator)
        await http.get(f"{simulator.base_url('nexos')}/models?limit=3")
        await http.get(f"{simulator.url}/somewhere")
    first, second, third = simulator.received
    assert (first.number, first.provider, first.kind, first.method) == (
        0,
        "openai",
        "create",
        "POST",
    )
    assert first.path == "/openai/v1/images/generations"
    assert json.loads(first.body)["prompt"] == "a red circle"
    assert first.headers["authorization"] == "Bearer test-key"
    assert (second.provider, second.kind, second.query) == ("nexos", "list", "limit=3")
    assert (third.provider, third.kind) == ("nowhere", "other")
    assert first.at_seconds <= second.at_seconds


async def test_it_counts_what_is_in_flight_and_waits_for_arrivals() -> None:
    async with (
        open_simulator(latency=0.1) as simulator,
        open_http() as http,
        trio.open_nursery() as nursery,
    ):
        for _ in range(5):
            nursery.start_soon(post, http, simulator)
        with trio.fail_after(5):
            await simulator.wait_received(5)
        assert simulator.open_sockets == 5
        assert [bill.delivered for bill in simulator.bills] == [False] * 5
    assert simulator.max_in_flight == 5
    assert all(bill.delivered for bill in simulator.bills)


async def test_a_connection_is_kept_alive_and_its_end_is_seen() -> None:
    async with open_simulator() as simulator:
        async with open_http() as http:
            for _ in range(3):
                await post(http, simulator)
            assert simulator.open_sockets == 1
        with trio.fail_after(5):
            await simulator.wait_closed()
        assert simulator.open_sockets == 0


async def test_a_client_that_leaves_still_pays() -> None:
    async with open_simulator(latency=60) as simulator:
        async with open_http() as http:
            with trio.move_on_after(0.1):
                await post(http, simulator)
        with trio.fail_after(5):
            await simulator.wait_closed()
        [bill] = simulator.bills
        assert bill.usd > 0
        assert not bill.delivered
        async with open_http() as http:  # and the server is well
            assert (await http.get(f"{simulator.base_url('openai')}/models")).status_code == 200


async def test_a_client_that_leaves_in_the_middle_of_the_reply_is_no_delivery() -> None:
    async with open_simulator(image_bytes=20_000_000) as simulator:
        with trio.fail_after(5):
            async with await trio.open_tcp_stream(
                "127.0.0.1", int(simulator.url.rpartition(":")[2])
            ) as stream:
                await stream.send_all(raw_request())
                await stream.receive_some(1000)
            await simulator.wait_closed()
        assert [bill.delivered for bill in simulator.bills] == [False]


async def test_a_client_that_resets_the_connection_does_no_harm() -> None:
    async with open_simulator(latency=60) as simulator:
        for request in (b"", b"GET /", raw_request()):
            async with await trio.open_tcp_stream(
                "127.0.0.1", int(simulator.url.rpartition(":")[2])
            ) as stream:
                await stream.send_all(request)
                if request.startswith(b"POST"):
                    await simulator.wait_received(1)
                stream.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            with trio.fail_after(5):
                await simulator.wait_closed()
        assert [bill.delivered for bill in simulator.bills] == [False]


async def test_a_request_sent_during_the_answer_to_another_is_kept() -> None:
    last = raw_request().replace(b"Host: x", b"Host: x\r\nConnection: close")
    async with (
        open_simulator(latency=[0.05, 0]) as simulator,
        await trio.open_tcp_stream("127.0.0.1", int(simulator.url.rpartition(":")[2])) as stream,
    ):
        await stream.send_all(raw_request())
        await simulator.wait_received(1)
        await stream.send_all(last)
        got = b"".join([part async for part in stream])
    assert got.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/openai/v1/images/variations", 404),
        ("/nexos/v1/images/edits", 404),
        ("/openai/images/generations", 404),
    ],
)
async def test_paths_that_are_not_simulated_are_not_found(path: str, status: int) -> None:
    async with open_simulator() as simulator, open_http() as http:
        assert (await http.post(f"{simulator.url}{path}", json={})).status_code == status


@pytest.mark.parametrize(
    ("fields", "usd"),
    [
        ({"quality": "hd"}, "0.08"),
        ({"quality": "hd", "size": "1792x1024"}, "0.12"),
        ({"size": "1024x1792"}, "0.08"),
    ],
)
async def test_dalle_is_billed_by_its_list(fields: Json, usd: str) -> None:
    async with open_simulator(OpenAI(retired=())) as simulator, open_http() as http:
        await post(http, simulator, model="dall-e-3", **fields)
    assert simulator.billed_usd == Decimal(usd)


async def test_only_the_newest_files_are_kept() -> None:
    files = Files("http://elsewhere")
    urls = [files.keep(b"x", "png", expired_status=None) for _ in range(201)]
    async with open_simulator(files) as simulator, httpx2.AsyncClient(trust_env=False) as http:
        paths = [url.removeprefix("http://elsewhere") for url in (urls[0], urls[1], urls[-1])]
        got = [(await http.get(f"{simulator.url}{path}")).status_code for path in paths]
    assert got == [404, 200, 200]


async def test_leaving_the_block_closes_everything_at_once() -> None:
    async def ask(url: str) -> None:
        async with open_http() as http:
            with pytest.raises(httpx2.TransportError):
                await http.post(url, json={"model": "gpt-image-2", "prompt": "x"})

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery, open_simulator(latency=60) as simulator:
            # The nursery outlives the simulator on purpose: its task must see
            # the connection end.
            url = f"{simulator.base_url('openai')}/images/generations"
            nursery.start_soon(ask, url)
            await simulator.wait_received(1)
        assert simulator.open_sockets == 0
        with pytest.raises(OSError, match="connect"):
            await raw_exchange(simulator, b"")


async def test_the_callers_error_leaves_the_block_bare() -> None:
    async def fail() -> None:
        async with open_simulator() as simulator:
            await simulator.wait_received(0)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()


async def test_a_deadline_around_the_block_works() -> None:
    with trio.move_on_after(0.05) as scope:
        async with open_simulator():
            await trio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    "nonsense", [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x00\xff" * 9 + b"\r\n\r\n"]
)
async def test_nonsense_is_hung_up_on(nonsense: bytes) -> None:
    async with open_simulator() as simulator:
        async with await trio.open_tcp_stream(
            "127.0.0.1", int(simulator.url.rpartition(":")[2])
        ) as stream:
            await stream.send_all(nonsense)
            await stream.send_eof()
            with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
        async with open_http() as http:
            assert (await post(http, simulator)).status_code == 200


async def test_chunked_requests_and_pipelined_ones_are_read() -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b'{"model": "gpt-image-2",'
        await trio.lowlevel.checkpoint()
        yield b'"prompt": "x"}'

    async with open_simulator(latency=0.02) as simulator:
        async with open_http() as http:
            url = f"{simulator.base_url('openai')}/images/generations"
            assert (await http.post(url, content=pieces())).status_code == 200
        last = raw_request().replace(b"Host: x", b"Host: x\r\nConnection: close")
        got = await raw_exchange(simulator, raw_request() + last)
        assert got.count(b"HTTP/1.1 200") == 2
    assert len(simulator.received) == 3


async def test_a_head_request_gets_no_body() -> None:
    async with open_simulator() as simulator:
        got = await raw_exchange(
            simulator, b"HEAD /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
    assert got.startswith(b"HTTP/1.1 404")
    assert got.endswith(b"\r\n\r\n")


async def test_the_bill_can_be_asked_for_over_http() -> None:
    async with open_simulator(usd_per_image="0.04") as simulator, open_http() as http:
        await post(http, simulator)
        bill = (await http.get(f"{simulator.url}/simulator/bill")).json()
        requests = (await http.get(f"{simulator.url}/simulator/requests")).json()
        assert (await http.get(f"{simulator.url}/simulator/x")).status_code == 404
    assert {name: bill[name] for name in ("requests", "images", "billed_usd")} == {
        "requests": 1,
        "images": 1,
        "billed_usd": "0.04",
    }
    assert bill["bills"][0]["delivered"] is True
    assert json.loads(requests[0]["body"])["prompt"] == "a red circle"


# -- images and names


@pytest.mark.parametrize("size_bytes", [None, 10, 30_000, 1_500_000, 5_000_000])
def test_a_png_has_the_wanted_length(size_bytes: int | None) -> None:
    content = png(1024, 1024, seed=4, size_bytes=size_bytes)
    assert opened(content).size == (1024, 1024)
    assert content != png(1024, 1024, seed=5, size_bytes=size_bytes)
    if size_bytes is not None and size_bytes > 20_000:
        assert len(content) == size_bytes


def test_the_exported_names_are_sorted_and_exist() -> None:
    assert package.__all__ == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


# -- the process


async def test_the_process_explains_itself_in_plain_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = command_line(["--fault", "server-error:2", "--image-bytes", "30000", "--seed", "3"])
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_from_command_line, options)
            while not (text := capsys.readouterr().out):
                await trio.sleep(0.005)
            variables = dict(
                line.removeprefix("export ").split("=", 1) for line in text.splitlines()
            )
            async with open_http() as http:
                url = variables["OPENAI_BASE_URL"]
                for body in ({"model": "gpt-image-2", "prompt": "x"}, {"model": 7}):
                    await http.post(f"{url}/images/generations", json=body)
                await http.get(f"{url}/models")
            signal.raise_signal(signal.SIGTERM)
    assert variables["OPENAI_API_KEY"] == variables["NEXOS_API_KEY"] == "test-key"
    made, failed, listed, summary = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"POST  /openai/v1/images/generations  gpt-image-2  200  \$0\.0\d+", made)
    assert failed == "POST  /openai/v1/images/generations  -  500  not billed  ServerError"
    assert listed == "GET  /openai/v1/models  -  200  not billed"
    assert summary.startswith("3 requests, 1 images, $0.0")


async def test_the_process_can_speak_json(capsys: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_from_command_line, command_line(["--json"]))
            while not (text := capsys.readouterr().out):
                await trio.sleep(0.005)
            signal.raise_signal(signal.SIGINT)
    ready, summary = json.loads(text), json.loads(capsys.readouterr().out)
    assert ready["url"] + "/nexos/v1" == ready["env"]["NEXOS_API_BASE_URL"]
    assert summary == {"kind": "summary", "requests": 0, "images": 0, "billed_usd": "0"}


async def test_the_process_continues_when_its_lines_are_not_read() -> None:
    command = [sys.executable, "-m", "imagen.testing.simulator", "--json"]
    with trio.fail_after(20):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, cwd=ROOT)
        try:
            assert process.stdout is not None
            async with process.stdout:
                ready = json.loads(await process.stdout.receive_some())
            for _ in range(2):
                assert (await fetch(f"{ready['url']}/somewhere")).status_code == 404
            process.terminate()
            assert await process.wait() == 0
        finally:
            process.kill()
            with trio.move_on_after(5, shield=True):
                await process.wait()


@pytest.mark.parametrize(
    "arguments", [["--fault", "nonsense"], ["--fault", "reset:0"], ["--latency", "soon"]]
)
def test_wrong_arguments_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command_line(arguments)
    assert "usage:" in capsys.readouterr().err


async def use_process(process: trio.Process, stop: signal.Signals) -> bytes:
    """Draw one image, lose another, stop the process, and return what it
    printed about that.
    """
    assert process.stdout is not None
    async with process.stdout:
        ready = json.loads(await process.stdout.receive_some())
        async with open_http() as http:
            url = ready["env"]["OPENAI_BASE_URL"] + "/images/generations"
            body = {"model": "gpt-image-2", "prompt": "x"}
            assert (await http.post(url, json=body)).status_code == 200
            with pytest.raises(httpx2.TransportError):
                await http.post(url, json=body)
        process.send_signal(stop)
        return b"".join([part async for part in process.stdout])


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_the_process_says_where_it_is_and_what_it_billed(stop: signal.Signals) -> None:
    command = [
        sys.executable,
        "-m",
        "imagen.testing.simulator",
        "--json",
        "--usd-per-image",
        "0.04",
    ]
    command += ["--fault", "reset-after-billing:2", "--latency", "0.001-0.002"]
    with trio.fail_after(20):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, cwd=ROOT)
        try:
            rest = await use_process(process, stop)
            assert await process.wait() == 0
        finally:
            process.kill()
            with trio.move_on_after(5, shield=True):
                await process.wait()
    one, two, summary = map(json.loads, rest.splitlines())
    assert (one["status"], one["billed_usd"], one["delivered"], one["model"]) == (
        200,
        "0.04",
        True,
        "gpt-image-2",
    )
    assert (two["status"], two["billed_usd"], two["fault"]) == (None, "0.04", "Reset")
    assert summary == {"kind": "summary", "requests": 2, "images": 2, "billed_usd": "0.08"}
