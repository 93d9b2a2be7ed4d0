"""Errors in the forms that servers write."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagen
from imagen.providers import HttpResponse
from imagen.providers._replies.refusals import refusal, refusal_in_success

SAID = "the size must be a multiple of 16"
FORMS = {
    "a text": {"error": SAID},
    "OpenAI": {"error": {"message": SAID, "type": "invalid_request_error"}},
    "a code beside a text (xAI)": {"code": "Client specified an invalid argument", "error": SAID},
    "FastAPI": {"detail": SAID},
    "FastAPI, by field": {"detail": [{"loc": ["body", "size"], "msg": SAID, "type": "value"}]},
    "upstream (OpenRouter)": {
        "error": {
            "message": "Provider returned error",
            "code": 400,
            "metadata": {"raw": msgspec.json.encode({"error": {"message": SAID}}).decode()},
        }
    },
    "upstream as a plain text": {"error": {"message": "Error", "metadata": {"raw": SAID}}},
    "twice": {"error": {"error": {"message": SAID}}},
    "a list of errors": {"errors": [{"message": SAID}]},
    "one-api": {"success": False, "message": SAID, "data": None},
    "a number beside it": {"code": 10012, "msg": SAID},
    "RFC 9457": {"type": "about:blank", "title": "Bad", "detail": SAID, "status": 400},
    "beside empty data": {"created": 1, "data": [], "error": SAID},
}


def reply(value: object, status: int = 400, **headers: str) -> HttpResponse:
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return HttpResponse(status=status, headers=headers, body=body)


@pytest.mark.parametrize("value", FORMS.values(), ids=FORMS.keys())
def test_the_sentence_is_quoted(value):
    for error in (refusal(reply(value), "X"), refusal_in_success(reply(value, 200), "X")):
        assert error is not None
        assert SAID in error.message
        assert error.billed == "no"


@pytest.mark.parametrize(
    "body",
    [
        b"upstream connect error",
        b"<html><head><title>t</title></head><body><h1>upstream connect error</h1></body></html>",
        b"\xef\xbb\xbfupstream connect error\n",
    ],
)
def test_a_plain_text_is_quoted_too(body):
    assert "upstream connect error" in refusal(reply(body, 502), "X").message
    assert refusal_in_success(reply(body, 200), "X") is None


MONEY = imagen.QuotaExceededError
MODEL = imagen.ModelNotFoundError
FILTER = imagen.ContentFilterError
WORDS = [
    (429, "Your team has either used all available credits or reached its limit.", MONEY),
    (403, "Insufficient balance. Please recharge.", MONEY),
    (400, "You have run out of credits", MONEY),
    (402, "Payment needed", MONEY),
    (400, "Model not found: grok-2", MODEL),
    (404, "The model `dall-e-9` does not exist or you do not have access to it.", MODEL),
    (400, "The model gpt-image-0 has been deprecated", MODEL),
    (422, "Your prompt was flagged by our content policy.", FILTER),
    (400, "Blocked by the safety system", FILTER),
    (429, "Rate limit reached, try again in 2s", imagen.RateLimitError),
    (400, "Model 'x' supports at most 1 image per prompt", imagen.InvalidRequestError),
    (400, "Argument not supported: size", imagen.InvalidRequestError),
]


@pytest.mark.parametrize(("status", "said", "kind"), WORDS, ids=lambda value: str(value)[:30])
def test_words_decide_where_codes_say_little(status, said, kind):
    error = refusal(reply({"code": "some error", "error": said}, status), "X")
    assert type(error) is kind
    assert error.retryable == (kind is imagen.RateLimitError)


def test_an_empty_prompt_is_the_prompts_fault():
    error = refusal(reply({"error": "Prompt cannot be empty. Please provide a prompt."}), "xAI")
    assert error.code == "INVALID_PROMPT"


IN_SUCCESS = [
    ({"error": {"message": "out of quota", "code": "insufficient_user_quota"}}, MONEY, "no"),
    ({"error": {"message": "slow", "code": 429}}, imagen.RateLimitError, "no"),
    ({"error": {"message": "No such key", "code": "401"}}, imagen.AuthenticationError, "no"),
    ({"data": None, "error": {"message": "x", "code": "moderation_blocked"}}, FILTER, "no"),
    ({"error": "internal server error"}, imagen.ProviderError, "unknown"),
    ({"error": "upstream timed out"}, imagen.ProviderError, "unknown"),
]


@pytest.mark.parametrize(("value", "kind", "billed"), IN_SUCCESS, ids=str)
def test_an_error_inside_a_success_is_read_like_its_status(value, kind, billed):
    error = refusal_in_success(reply(value, 200), "X")
    assert type(error) is kind
    assert error.billed == billed


@pytest.mark.parametrize("value", [{}, [], {"data": []}, {"error": None}, {"error": ""}], ids=str)
def test_without_a_reason_there_is_no_error(value):
    assert refusal_in_success(reply(value, 200), "X") is None


def test_the_key_is_hidden():
    said = "Incorrect API key provided: sk-secret. Find yours in the settings."
    error = refusal(reply({"error": {"message": said, "code": "invalid_api_key"}}, 401), "X")
    assert "sk-secret" not in str(error)


@given(st.binary(), st.integers(300, 599))
def test_any_body_is_an_error(body, status):
    assert isinstance(refusal(reply(body, status), "X"), imagen.ImagenError)
