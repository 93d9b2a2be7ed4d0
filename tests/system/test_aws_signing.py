"""Signatures of AWS: as published, by the credentials that AWS users have."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import imagen
from imagen import AuthenticationError, ConfigurationError
from imagen._system import aws_signing
from imagen._system.aws_signing import AwsSigner, has_aws_credentials
from imagen_mcp._models import is_available
from tests.support.signatures_of_aws import check_signature

URL = "https://bedrock-runtime.us-west-2.amazonaws.com"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalr+EXAMPLE/KEY"}
TOKEN = "the-session-token=="
BODY = b'{"prompt": "a cat"}'
ASKED = {"host": "bedrock-runtime.us-west-2.amazonaws.com", "content-type": "application/json"}


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test may find those of this machine."""
    for name in (*KEYS, "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def sign(
    signer: AwsSigner, path: str = "/model/a%3A1/invoke", body: bytes = BODY
) -> dict[str, str]:
    return signer.sign("POST", URL + path, ASKED, body)


def checked(headers: dict[str, str], secret: str, region: str = "us-west-2", **more) -> None:
    path = more.pop("path", "/model/a%3A1/invoke")
    check_signature("POST", path, {**ASKED, **headers}, more.pop("body", BODY), secret, region)


def test_the_check_of_these_tests_takes_the_published_example():
    headers = {
        "authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request,"
            " SignedHeaders=content-type;host;x-amz-date,"
            " Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        ),
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "host": "iam.amazonaws.com",
        "x-amz-date": "20150830T123600Z",
    }
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    query = "Action=ListUsers&Version=2010-05-08"
    check_signature("GET", "/", headers, b"", secret, "us-east-1", "iam", query)
    with pytest.raises(AssertionError):
        check_signature("GET", "/", headers, b"x", secret, "us-east-1", "iam", query)


@pytest.mark.parametrize("path", ["/model/a%3A1/invoke", "/model/plain/invoke", "/model/a.b-1_2~"])
def test_a_signature_is_that_of_the_published_algorithm(path):
    headers = sign(AwsSigner("bedrock", URL, KEYS), path)
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    checked(headers, KEYS["AWS_SECRET_ACCESS_KEY"], path=path)


def test_another_body_has_another_signature():
    headers = sign(AwsSigner("bedrock", URL, KEYS))
    with pytest.raises(AssertionError):
        checked(headers, KEYS["AWS_SECRET_ACCESS_KEY"], body=b"{}")


def test_a_session_token_is_sent_and_signed():
    headers = sign(AwsSigner("bedrock", URL, {**KEYS, "AWS_SESSION_TOKEN": TOKEN}))
    assert headers["x-amz-security-token"] == TOKEN
    assert "x-amz-security-token" in headers["authorization"]
    checked(headers, KEYS["AWS_SECRET_ACCESS_KEY"])


@pytest.mark.parametrize(
    ("base_url", "environ", "region"),
    [
        (URL, {"AWS_REGION": "eu-central-1"}, "us-west-2"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com", {}, "us-east-1"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", {}, "us-gov-west-1"),
        ("https://vpce-1.bedrock-runtime.eu-west-3.vpce.amazonaws.com", {}, "eu-west-3"),
        ("https://bedrock-runtime.ap-southeast-2.api.aws", {}, "ap-southeast-2"),
        ("http://127.0.0.1:8000", {"AWS_REGION": "eu-central-1"}, "eu-central-1"),
        ("http://127.0.0.1:8000", {"AWS_DEFAULT_REGION": " 'eu-north-1' "}, "eu-north-1"),
        ("http://127.0.0.1:8000", {}, "us-west-2"),
    ],
)
def test_the_region_is_that_of_the_host_else_of_the_environment(base_url, environ, region):
    headers = sign(AwsSigner("bedrock", base_url, {**KEYS, **environ}))
    checked(headers, KEYS["AWS_SECRET_ACCESS_KEY"], region)


def write_profiles(folder: Path) -> dict[str, str]:
    file = folder / "credentials of mine"
    lines = [
        "[default]\naws_access_key_id = A1\naws_secret_access_key = S1\n",
        "[work]\naws_access_key_id = A2\naws_secret_access_key = S2\naws_session_token = T2\n",
    ]
    file.write_text("\n".join(lines))
    return {"AWS_SHARED_CREDENTIALS_FILE": str(file)}


@pytest.mark.parametrize(("profile", "secret", "token"), [("", "S1", None), ("work", "S2", "T2")])
def test_a_profile_of_the_files_of_aws_signs(tmp_path, profile, secret, token):
    environ = {**write_profiles(tmp_path), "AWS_PROFILE": profile}
    headers = sign(AwsSigner("bedrock", URL, environ))
    assert headers.get("x-amz-security-token") == token
    checked(headers, secret)


def test_the_usual_file_is_found_at_home(tmp_path):
    assert not has_aws_credentials({})
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = A1\naws_secret_access_key = S1\n"
    )
    assert has_aws_credentials({})
    checked(sign(AwsSigner("bedrock", URL, {})), "S1")


def test_keys_of_the_environment_win_over_a_profile(tmp_path):
    environ = {**write_profiles(tmp_path), "AWS_PROFILE": "work", **KEYS}
    checked(sign(AwsSigner("bedrock", URL, environ)), KEYS["AWS_SECRET_ACCESS_KEY"])


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "No AWS credentials were found"),
        ({"AWS_ACCESS_KEY_ID": "A"}, "AWS_SECRET_ACCESS_KEY is not"),
        ({"AWS_PROFILE": "missing"}, "check AWS_PROFILE"),
    ],
)
def test_missing_keys_are_said_with_what_to_do(environ, says):
    with pytest.raises(AuthenticationError, match=says) as caught:
        sign(AwsSigner("bedrock", URL, environ))
    assert caught.value.billed == "no"


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a script of sh")
def test_a_program_that_fails_does_not_put_its_words_into_the_error(tmp_path):
    config = tmp_path / "config"
    config.write_text("[profile p]\ncredential_process = sh -c 'echo S3CRET >&2; exit 1'\n")
    environ = {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "p"}
    with pytest.raises(AuthenticationError) as caught:
        sign(AwsSigner("bedrock", URL, environ))
    assert "S3CRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_keys_that_expire_are_asked_for_at_each_signature():
    class Rotating:
        number = 0

        def get_frozen_credentials(self):
            self.number += 1
            return aws_signing._Keys("A", f"secret {self.number}", f"token {self.number}")

    signer = AwsSigner("bedrock", URL, KEYS)
    signer._source = Rotating()
    for number in (1, 2):
        checked(sign(signer), f"secret {number}")
    assert signer.hide_in("token 1, token 2") == "[hidden], [hidden]"


def test_no_key_is_in_a_log_a_repr_or_a_pickle(caplog):
    caplog.set_level(logging.DEBUG)
    signer = AwsSigner("bedrock", URL, {**KEYS, "AWS_SESSION_TOKEN": TOKEN})
    sign(signer)
    shown = f"{caplog.text} {signer!r}"
    assert TOKEN not in shown
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in shown
    assert signer.hide_in(f"it is {TOKEN}") == "it is [hidden]"
    assert TOKEN.encode() not in signer.hide_in_bytes(f"it is {TOKEN}".encode())
    with pytest.raises(TypeError):
        pickle.dumps(signer)


def access(environ: dict[str, str], tmp_path: Path):
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path), **environ})
    return settings.access["bedrock"]


def test_credentials_configure_the_provider_and_do_not_make_it_the_default(tmp_path):
    found = access(KEYS, tmp_path)
    assert (found.configured, found.preferred) == (True, False)
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in repr(found)


@pytest.mark.parametrize(
    ("more", "offered"),
    [({}, False), ({"BEDROCK_BASE_URL": URL}, True), ({"AWS_BEARER_TOKEN_BEDROCK": "b"}, True)],
)
def test_an_assistant_is_offered_bedrock_only_where_its_user_set_it_up(tmp_path, more, offered):
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path), **KEYS, **more})
    model = settings.load_catalog().find("bedrock/stable-image-core")
    assert is_available(model, settings) is offered


def test_a_bearer_key_wins(tmp_path):
    found = access({**KEYS, "AWS_BEARER_TOKEN_BEDROCK": "b"}, tmp_path)
    assert found.signer is None
    assert found.preferred


def test_without_any_credentials_it_is_not_set_up(tmp_path):
    assert not access({}, tmp_path).configured


async def test_a_probe_says_what_it_can(tmp_path):
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path), **KEYS})
    async with imagen.open_client(settings) as client:
        status = await client.probe("bedrock")
    assert (status.configured, status.usable) == (True, True)
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
    async with imagen.open_client(settings) as client:
        status = await client.probe("bedrock")
    assert (status.configured, status.usable) == (False, False)


async def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    find_spec = aws_signing.importlib.util.find_spec
    monkeypatch.setattr(
        aws_signing.importlib.util,
        "find_spec",
        lambda name, *more: None if name == "botocore" else find_spec(name, *more),
    )
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path), **KEYS})
    async with imagen.open_client(settings) as client:
        with pytest.raises(ConfigurationError, match=r"imagen-trio\[bedrock\]"):
            await client.generate("a cat", model="bedrock/stable-image-core")
        status = await client.probe("bedrock")
    assert (status.configured, status.usable) == (False, False)
    assert "imagen-trio[bedrock]" in status.message


async def test_no_credentials_at_all_says_which_there_could_be(tmp_path):
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
    async with imagen.open_client(settings) as client:
        with pytest.raises(ConfigurationError, match=r"AWS_BEARER_TOKEN_BEDROCK.*AWS_PROFILE"):
            await client.generate("a cat", model="bedrock/stable-image-core")


def test_botocore_is_imported_when_it_signs():
    code = "import imagen, sys; imagen.load_settings(); sys.exit('botocore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **KEYS})
