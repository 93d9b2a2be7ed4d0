"""Bedrock by the credentials of AWS: what arrives is signed, each time anew, and
no key is in what stays.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pybase64
import pytest
import trio

import imagen
from imagen import AuthenticationError, ImagenError
from imagen._system.aws_signing import AwsSigner
from tests.support.drivers import Server, http_reply, open_server
from tests.support.exchanges import input_image
from tests.support.signatures_of_aws import check_signature
from tests.support.simulated_client import RETRY

SECRET, TOKEN = "wJalr+EXAMPLE/KEY", "IQoJb3JpZ2luX2VjEXAMPLETOKEN=="
ENVIRON = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": TOKEN,
    "AWS_REGION": "eu-central-1",
}
MODEL = "bedrock/stable-image-core"
DRAWN = http_reply(
    {
        "images": [pybase64.b64encode(input_image().data).decode()],
        "seeds": [1],
        "finish_reasons": [None],
    }
)
BUSY = http_reply({"message": "Try again."}, "503 Service Unavailable")


@asynccontextmanager
async def answered(home: Path, *replies: bytes) -> AsyncIterator[tuple[imagen.Client, Server]]:
    """A client whose requests get these replies, one after the other."""
    waiting = iter(replies)

    async def answer(stream: trio.abc.Stream, request: bytes) -> None:
        await stream.send_all(next(waiting))

    async with open_server(answer) as server:
        environ = {"IMAGEN_HOME": str(home), "BEDROCK_BASE_URL": server.url, **ENVIRON}
        settings = msgspec.structs.replace(imagen.load_settings(environ), retry=RETRY)
        async with imagen.open_client(settings) as client:
            yield client, server


def check(request: bytes) -> dict[str, str]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(": ") for line in lines)
    headers = {name.lower(): value for name, _, value in pairs}
    check_signature(method, path, headers, body, SECRET, "eu-central-1")
    return headers


async def test_what_arrives_is_signed_with_its_token(tmp_path):
    async with answered(tmp_path, DRAWN) as (client, server):
        await client.generate("a cat, ü and 猫", model=MODEL, seed=1)
        (request,) = server.requests
    headers = check(request)
    assert headers["x-amz-security-token"] == TOKEN
    assert "bearer" not in headers["authorization"].casefold()


async def test_a_request_that_is_tampered_with_does_not_verify(tmp_path):
    async with answered(tmp_path, DRAWN) as (client, server):
        await client.generate("a cat", model=MODEL)
        (request,) = server.requests
    with pytest.raises(AssertionError):
        check(request.replace(b"a cat", b"a dog"))


async def test_each_retry_is_signed_anew(tmp_path, monkeypatch):
    signed: list[str] = []
    sign = AwsSigner.sign

    def note(self: AwsSigner, *request: object) -> dict[str, str]:
        headers = sign(self, *request)
        signed.append(headers["authorization"])
        return headers

    monkeypatch.setattr(AwsSigner, "sign", note)
    async with answered(tmp_path, BUSY, BUSY, DRAWN) as (client, server):
        await client.generate("a cat", model=MODEL)
        assert [check(request)["authorization"] for request in server.requests] == signed
    assert len(signed) == 3


@pytest.mark.parametrize(
    ("status", "expected"), [("403 Forbidden", AuthenticationError), ("200 OK", ImagenError)]
)
async def test_a_reply_that_quotes_the_token_leaves_it_nowhere(tmp_path, status, expected):
    said = f"The canonical request is\nx-amz-security-token:{TOKEN}\n, the key was {SECRET}."
    async with answered(tmp_path, http_reply({"message": said}, status)) as (client, _):
        with pytest.raises(expected) as caught:
            await client.generate("a cat", model=MODEL)
    assert not holds_a_key(f"{caught.value} {caught.value.details} {caught.value!r}".encode())
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if holds_a_key(file.read_bytes())]
    with sqlite3.connect(tmp_path / "imagen.sqlite3") as database:
        assert not holds_a_key("\n".join(database.iterdump()).encode())


def holds_a_key(data: bytes) -> bool:
    return TOKEN.encode() in data or SECRET.encode() in data


async def test_without_keys_nothing_is_sent_and_nothing_is_booked(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delitem(ENVIRON, "AWS_SECRET_ACCESS_KEY")
    async with answered(tmp_path, DRAWN) as (client, server):
        with pytest.raises(AuthenticationError, match="set both") as caught:
            await client.generate("a cat", model=MODEL)
        spending = await client.spending()
    assert caught.value.billed == "no"
    assert not server.requests
    assert (spending.settled_usd, spending.unknown_usd) == (0, 0)
