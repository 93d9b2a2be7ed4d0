"""Azure: the paths, keys and errors that differ from OpenAI's, and that it
takes what is offered.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

import imagen
from imagen import (
    AuthenticationError,
    ConfigurationError,
    ContentFilterError,
    ModelNotFoundError,
    QuotaExceededError,
    RateLimitError,
)
from imagen.providers import PROVIDERS
from imagen.testing.simulator import open_simulator
from tests.support.exchanges import (
    CATALOG,
    STREAM,
    Walk,
    call,
    completed,
    images,
    input_image,
    mask_image,
    partial,
    recorded,
    reply,
    sse,
)
from tests.support.providers.gateways import models_of, opened, takes_everything_offered
from tests.support.simulated_client import simulated_settings

OPERATIONS = PROVIDERS["azure"].operations
MODEL = "azure/gpt-image-2"
DAY = {"api_version": "2025-04-01-preview"}
USAGE = {"input_tokens": 10, "output_tokens": 1056}


def generated(*responses: Any, **more: Any) -> Walk:
    return Walk(OPERATIONS["generate"](call(MODEL, **more)), *responses)


def edited(mask: bool = False, **more: Any) -> Walk:
    request = imagen.Edit(prompt="a hat", images=("x",), mask="m" if mask else None)
    asked = call(
        MODEL,
        request=request,
        images=(input_image(),),
        mask=mask_image() if mask else None,
        **more,
    )
    return Walk(OPERATIONS["edit"](asked), reply(images(usage=USAGE)))


def refused(status: int, code: str, text: str = "No.") -> imagen.ImagenError:
    return generated(reply({"error": {"code": code, "message": text}}, status)).fail()


# --- what is sent -------------------------------------------------------------


def test_a_generation_names_its_deployment_and_the_version():
    walk = generated(reply(images(usage=USAGE)), quality="low", size="1024x1024")
    result = walk.run()
    assert walk.requests[0].url == "openai/v1/images/generations?api-version=preview"
    assert walk.body == {
        "model": "gpt-image-2",
        "prompt": "a cat",
        "n": 1,
        "size": "1024x1024",
        "quality": "low",
    }
    assert result.usage is not None
    assert result.usage.image_output_tokens == 1056


def test_a_day_as_the_version_uses_the_path_of_the_deployment():
    model = msgspec.structs.replace(CATALOG.find(MODEL), wire_name="my images")
    walk = Walk(OPERATIONS["generate"](call(model, settings=DAY)), reply(images()))
    walk.run()
    (request,) = walk.requests
    assert request.url == (
        "openai/deployments/my%20images/images/generations?api-version=2025-04-01-preview"
    )
    assert "model" not in walk.body


@pytest.mark.parametrize("version", ["", "a b", "preview&x=1", "../..", "v1/#"])
def test_a_version_is_no_way_to_another_address(version):
    assert isinstance(
        generated(reply(images()), settings={"api_version": version}).fail(), ConfigurationError
    )


@pytest.mark.parametrize("settings", [{}, DAY])
def test_an_edit_is_a_form_with_images_and_a_mask(settings):
    walk = edited(mask=True, settings=settings)
    walk.run()
    (request,) = walk.requests
    assert "/images/edits?api-version=" in request.url
    assert request.headers["content-type"].startswith("multipart/form-data")
    assert request.body.count(b'name="image[]"') == 1
    assert request.body.count(b'name="mask"') == 1
    assert (b'name="model"' in request.body) is not bool(settings)


def test_previews_come_as_a_stream():
    walk = Walk(
        OPERATIONS["generate"](call(MODEL, previews=1)),
        STREAM,
        chunks=[sse(partial(), completed(usage=USAGE))],
    )
    assert len(walk.run().images) == 1
    assert len(walk.partials) == 1


# --- errors -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "contentFilter", ContentFilterError),
        (400, "content_filter", ContentFilterError),
        (400, "content_policy_violation", ContentFilterError),
        (400, "ResponsibleAIPolicyViolation", ContentFilterError),
        (401, "401", AuthenticationError),
        (403, "Forbidden", AuthenticationError),
        (404, "DeploymentNotFound", ModelNotFoundError),
        (429, "429", RateLimitError),
        (429, "insufficient_quota", QuotaExceededError),
    ],
)
def test_a_refusal_has_its_class_and_its_words(status, code, kind):
    error = refused(status, code, "Not so.")
    assert isinstance(error, kind)
    assert error.billed == "no"
    assert "Not so" in error.message
    assert str(error) == error.message
    assert "OpenAI" not in error.message.replace("Azure OpenAI", "")


def test_a_deployment_that_is_missing_is_named():
    error = refused(404, "DeploymentNotFound")
    assert "gpt-image-2" in error.message
    assert f'[models."{MODEL}"]' in error.message


def test_the_recorded_answer_of_a_blocked_resource():
    response = recorded("error-403-azure-blocked-resource.json", "2026-11-28/openai")["response"]
    error = generated(reply(response["body"], response["status"])).fail()
    # The whole resource is blocked: another prompt would not help.
    assert isinstance(error, AuthenticationError)
    assert error.billed == "no"
    assert "temporarily blocked" in error.message


# --- whole --------------------------------------------------------------------


@pytest.mark.parametrize("model", models_of("azure", "azure_entra"))
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    await takes_everything_offered(tmp_path, model, free_sizes=("1024x768", "1536x1536"))


@pytest.mark.parametrize(("provider", "header"), [("azure", "api-key"), ("azure_entra", "bearer")])
async def test_a_key_has_its_header_and_is_looked_at(tmp_path, provider, header):
    async with opened(tmp_path) as (client, simulator):
        assert (await client.probe(provider)).usable
        headers = simulator.received[0].headers
        assert ("api-key" in headers) is (header == "api-key")
        assert ("authorization" in headers) is (header == "bearer")


async def test_the_older_paths_go_all_the_way(tmp_path):
    async with open_simulator() as simulator:
        settings = simulated_settings(simulator, tmp_path)
        access = settings.access["azure"]
        changed = msgspec.structs.replace(access, settings={**access.settings, **DAY})
        settings = msgspec.structs.replace(settings, access={**settings.access, "azure": changed})
        async with imagen.open_client(settings) as client:
            image = await client.generate("a cat", model=MODEL, quality="low")
            await client.edit("a hat", image.data, model=MODEL, quality="low")
            spending = await client.spending()
        assert spending.settled_usd == simulator.billed_usd > Decimal(0)


def test_nothing_is_asked_of_azure_before_its_address_is_set(tmp_path):
    environ = {"IMAGEN_HOME": str(tmp_path), "AZURE_OPENAI_API_KEY": "k"}
    assert not imagen.load_settings(environ).access["azure"].configured
    environ["AZURE_OPENAI_ENDPOINT"] = "https://mine.openai.azure.com/"
    assert imagen.load_settings(environ).access["azure"].configured
