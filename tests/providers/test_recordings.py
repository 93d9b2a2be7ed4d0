"""What providers were recorded to answer in November 2026, read by their
adapters. xAI, OpenRouter, fal and BFL have tests of their own.
"""

from __future__ import annotations

import msgspec
import pytest

import imagen
from imagen._results.prices import cost_of
from imagen.providers import PROVIDERS, GeneratedImage, Usage
from tests.support.exchanges import CATALOG, IMAGE, Walk, call, input_image, recorded, reply

FOLDER = "2026-11-28"
BANANA, LITE, PRO = "gemini-2.5-flash-image", "gemini-3.1-flash-lite-image", "gemini-3-pro-image"
GPT = "gpt-image-1.5"


def walk(folder: str, name: str, model: str, operation: str = "generate") -> Walk:
    response = recorded(name, f"{FOLDER}/{folder}")["response"]
    body = response["body"]
    content = body.encode() if isinstance(body, str) else body
    answer = reply(content, response["status"], **response["headers"])
    provider = PROVIDERS[CATALOG.find(model).provider]
    asked = call(model)
    if operation == "edit":
        edit = imagen.Edit(prompt="a hat", images=(b"",), model=model)
        asked = msgspec.structs.replace(asked, request=edit, images=(input_image(),))
    return Walk(provider.operations[operation](asked), answer, *[reply(IMAGE)] * 3)


def tokens(text_in: int, image_in: int, text_out: int, image_out: int) -> Usage:
    return Usage(
        text_input_tokens=text_in,
        image_input_tokens=image_in,
        text_output_tokens=text_out,
        image_output_tokens=image_out,
    )


IMAGES = [
    ("google", "edit-gemini-2.0-flash-preview.json", BANANA, "edit", tokens(8, 258, 65, 1290)),
    (
        "google",
        "generate-gemini-3-pro-image-thinking.json",
        PRO,
        "generate",
        tokens(22, 0, 275, 1120),
    ),
    (
        "google",
        "story-and-picture-gemini-2.5-flash-image.json",
        BANANA,
        "generate",
        tokens(17, 0, 46, 1290),
    ),
    ("google", "vertex-gemini-3.1-flash-lite-image.json", LITE, "generate", tokens(4, 0, 0, 1120)),
    (
        "google",
        "vertex-words-and-picture-gemini-2.5-flash-image.json",
        BANANA,
        "generate",
        tokens(9, 0, 5, 1290),
    ),
    (
        "google",
        "words-then-picture-gemini-2.5-flash-image.json",
        BANANA,
        "generate",
        tokens(10, 0, 14, 1290),
    ),
    ("openai", "edit-gpt-image-1-mask.json", GPT, "edit", tokens(30, 194, 0, 4160)),
    ("openai", "edit-gpt-image-1-several.json", GPT, "edit", tokens(56, 517, 0, 4160)),
    ("openai", "edit-gpt-image-1.5-low-1024.json", GPT, "edit", tokens(27, 194, 143, 272)),
    ("openai", "edit-gpt-image-1.5-one-image.json", GPT, "edit", tokens(27, 194, 262, 1056)),
    (
        "openai",
        "generate-gpt-image-2-medium.json",
        "gpt-image-2",
        "generate",
        tokens(41, 0, 0, 1756),
    ),
    ("openai", "generate-dall-e-2-url.json", GPT, "generate", None),
]


@pytest.mark.parametrize(
    ("folder", "name", "model", "operation", "usage"), IMAGES, ids=[case[1] for case in IMAGES]
)
def test_a_recorded_image_is_read_with_its_usage(folder, name, model, operation, usage):
    result = walk(folder, name, model, operation).run()
    (image,) = result.images
    assert isinstance(image, GeneratedImage)
    assert image.data
    assert result.usage == usage
    cost = cost_of(CATALOG.find(model), imagen.Generate(prompt="x", quality="low"), result)
    assert cost.usd
    assert cost.source == ("estimated" if usage is None else "computed")


ERRORS = [
    ("google", "error-400-aspect-ratio.json", BANANA, imagen.InvalidRequestError, "Aspect ratio"),
    ("google", "error-400-country.json", BANANA, imagen.AuthenticationError, "your country"),
    (
        "google",
        "error-429-free-tier-image.json",
        BANANA,
        imagen.QuotaExceededError,
        "current quota",
    ),
    ("google", "error-503-high-demand.json", PRO, imagen.ProviderError, "high demand"),
    ("openai", "error-403-azure-blocked-resource.json", GPT, imagen.AuthenticationError, "blocked"),
    (
        "openai",
        "error-unknown-parameter-quality.json",
        GPT,
        imagen.InvalidRequestError,
        "'quality'",
    ),
    (
        "xai",
        "error-400-empty-prompt.json",
        "grok-imagine-image",
        imagen.InvalidRequestError,
        "empty",
    ),
    (
        "xai",
        "error-400-model-not-found.json",
        "grok-imagine-image",
        imagen.ModelNotFoundError,
        "grok-2",
    ),
    (
        "xai",
        "error-422-plain-text.json",
        "grok-imagine-image",
        imagen.InvalidRequestError,
        "deserialize",
    ),
    (
        "xai",
        "error-429-no-credits.json",
        "grok-imagine-image",
        imagen.QuotaExceededError,
        "credits",
    ),
    (
        "openrouter",
        "error-400-upstream-raw.json",
        "openrouter/gemini-3.1-flash-lite-image",
        imagen.InvalidRequestError,
        "at most 1 image per prompt",
    ),
    (
        "stability",
        "error-400-not-a-form.json",
        "stable-image-core",
        imagen.InvalidRequestError,
        "multipart",
    ),
]


@pytest.mark.parametrize(
    ("folder", "name", "model", "kind", "said"), ERRORS, ids=[case[1] for case in ERRORS]
)
def test_a_recorded_error_has_its_class_and_its_sentence(folder, name, model, kind, said):
    error = walk(folder, name, model).fail()
    assert type(error) is kind
    assert said in error.message
    assert error.billed == "no"
    assert error.retryable == (kind is imagen.ProviderError)


def test_a_recorded_prompt_that_is_empty_is_the_prompts_fault():
    error = walk("xai", "error-400-empty-prompt.json", "grok-imagine-image").fail()
    assert error.code == "INVALID_PROMPT"


@pytest.mark.parametrize(
    ("folder", "name", "model", "said"),
    [
        ("replicate", "failed-e001.json", "replicate/flux-dev", "(E001)"),
        ("automatic1111", "error-500-out-of-memory.json", "automatic1111", "CUDA out of memory"),
        ("localai", "error-500-rpc.json", "localai", "error reading from server"),
    ],
)
def test_a_recorded_failure_is_quoted(folder, name, model, said):
    assert said in walk(folder, name, model).fail().message
