"""What is loaded, how, and for how long; and what is refused before or instead
of that.
"""

from __future__ import annotations

import sys
import threading
import tomllib
from pathlib import Path

import msgspec
import pytest
import trio

import imagen
from imagen.providers.diffusers import _pipelines as pipelines
from imagen.providers.diffusers._adapter import generate
from imagen.providers.diffusers._errors import explain_drawing, explain_loading
from tests.support import exchanges as stepping
from tests.support.diffusers.fakes import (
    EditPipe,
    Left,
    Listener,
    Pipe,
    Shop,
    ask,
    frames_of,
    model,
    refusal,
    shop,
)
from tests.support.exchanges import input_image

__all__ = ["shop"]

CAT = imagen.Generate(prompt="a cat", seed=1)


# --- before anything runs -----------------------------------------------------


def refused(model: imagen.Model, **settings: object) -> str:
    """Why the exchange does not take a single step."""
    with pytest.raises(imagen.ConfigurationError) as caught:
        next(generate(stepping.call(model, settings=settings)))
    return caught.value.message


@pytest.mark.parametrize("wire", [{}, {"repository": ""}, {"repository": "  ", "variant": "fp16"}])
def test_a_model_without_a_repository_is_refused_with_the_line_that_is_missing(
    wire: dict[str, object],
):
    entry = msgspec.structs.replace(stepping.CATALOG.find("diffusers"), wire=wire)
    assert (
        refused(entry)
        == 'diffusers has no pipeline yet: write repository = "OWNER/NAME", one of huggingface.co'
        ' or a folder, under [models."diffusers".wire] in imagen.toml.'
    )


def test_the_line_that_is_missing_is_right(tmp_path: Path, shop: Shop):
    table = tomllib.loads('[models."diffusers".wire]\nrepository = "OWNER/NAME"')
    catalog = imagen.providers.load_catalog(table["models"])
    assert catalog.find("diffusers").wire == {"repository": "OWNER/NAME"}
    ask(CAT, wire=catalog.find("diffusers").wire)
    assert shop.loads[0]["repository"] == "OWNER/NAME"


@pytest.mark.parametrize(
    ("wire", "settings", "words"),
    [
        ({"repositry": "x"}, {}, "may hold repository, revision, variant, not repositry"),
        ({"variant": 16}, {}, "variant of a diffusers model is a text, not 16"),
        (
            {},
            {"dtype": "int8"},
            "dtype of diffusers is one of auto, float32, float16, bfloat16, not int8",
        ),
        ({}, {"offload": "yes"}, "offload of diffusers is one of none, model, sequential, not yes"),
        ({}, {"device": "gpu"}, "device of diffusers is auto, cpu, mps, cuda or cuda:0, not gpu"),
    ],
)
def test_a_wrong_word_in_imagen_toml_is_refused(
    wire: dict[str, object], settings: dict[str, object], words: str
):
    assert words in refused(model(**wire), **settings)


def test_it_is_there_and_chosen_only_by_name(tmp_path: Path):
    access = imagen.load_settings({"IMAGEN_HOME": str(tmp_path)}).access["diffusers"]
    assert not access.preferred
    entry = stepping.CATALOG.find("diffusers")
    assert entry.price is not None
    assert entry.price.usd_per_image == 0
    assert entry.capabilities.max_images_per_request == 1


@pytest.mark.parametrize("package", ["torch", "diffusers"])
def test_a_missing_package_is_named_with_the_command(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, package: str
):
    monkeypatch.setitem(sys.modules, package, None)
    error = refusal(CAT)
    assert type(error) is imagen.ConfigurationError
    assert (
        error.message
        == f'The package {package} is not installed: pip install "imagen-trio[diffusers]".'
    )


# --- how ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "device", "dtype", "expected"),
    [
        ({}, "auto", "auto", ("cpu", "float32")),
        ({"cuda": 9}, "auto", "auto", ("cuda", "bfloat16")),
        ({"cuda": 7}, "cuda:1", "auto", ("cuda:1", "float16")),
        ({"cuda": 9}, "cpu", "bfloat16", ("cpu", "bfloat16")),
        ({"mps": 0}, "auto", "auto", ("mps", "float16")),
        ({"xpu": 0}, "auto", "float32", ("xpu", "float32")),
        ({"cuda": 8, "mps": 0}, "auto", "auto", ("cuda", "bfloat16")),
    ],
)
def test_device_and_numbers_are_chosen(
    shop: Shop, there: dict[str, int], device: str, dtype: str, expected
):
    for name, capability in there.items():
        shop.has(name, capability=capability)
    ask(CAT, settings={"device": device, "dtype": dtype})
    assert (("to", expected[0]) in shop.pipe.log, shop.loads[0]["dtype"]) == (True, expected[1])


def test_the_repository_is_loaded_as_imagen_toml_says(shop: Shop):
    ask(
        CAT,
        wire={"repository": "~/here", "revision": "main", "variant": "fp16"},
        settings={"local_files_only": True},
    )
    assert shop.loads == [
        {
            "repository": str(Path.home() / "here"),
            "revision": "main",
            "variant": "fp16",
            "dtype": "float32",
            "local_files_only": True,
            "use_safetensors": True,
        }
    ]
    ask(CAT, settings={"allow_pickle": True})
    assert shop.loads[1]["use_safetensors"] is None


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offloading_moves_parts_instead_of_the_whole(shop: Shop, offload: str):
    shop.has("cuda")
    result = ask(msgspec.structs.replace(CAT, previews=2), settings={"offload": offload})
    assert shop.pipe.log[0] == (f"{offload} offload", "cuda")
    assert not any(entry[0] == "to" for entry in shop.pipe.log)
    # A preview would move the VAE in and the rest out, at each of them.
    assert [one.field for one in result.adjustments] == ["previews"]
    ask(imagen.Vary(image=b""), images=(input_image(),), settings={"offload": offload})
    hooked = ("model offload", "cuda") in shop.pipe.log
    assert hooked == (offload == "model")


def test_there_is_nothing_to_offload_on_the_cpu(shop: Shop):
    ask(CAT, settings={"device": "cpu", "offload": "model"})
    assert ("to", "cpu") in shop.pipe.log


def test_weights_are_loaded_once_and_shared_by_the_kinds(shop: Shop):
    for _ in range(2):
        ask(CAT)
        ask(imagen.Vary(image=b""), images=(input_image(),))
    assert (len(shop.loads), len(shop.pipes)) == (1, 2)
    assert [len(pipe.calls) for pipe in shop.pipes] == [2, 2]
    assert ("bar", False) in shop.pipe.log


@pytest.mark.parametrize(("kept", "loads"), [(0, 6), (1, 5), (2, 3)])
def test_so_many_weights_stay_and_the_longest_unused_goes(shop: Shop, kept: int, loads: int):
    shop.has("cuda")
    for name in ("a", "a", "b", "a", "c", "a"):
        ask(CAT, wire={"repository": f"acme/{name}"}, settings={"pipelines_kept": kept})
    assert len(shop.loads) == loads
    # The old ones go before the new one comes, which may not fit beside them.
    assert max(shop.kept_meanwhile) == max(0, kept - 1)
    assert "cuda" in shop.emptied


def test_a_pipeline_for_images_may_draw_without_one(shop: Shop):
    shop.base = EditPipe
    shop.kin["Text2Image"] = Pipe
    ask(CAT)
    assert type(shop.pipe) is Pipe
    shop.kin.clear()
    ask(CAT, wire={"repository": "acme/other"})
    assert type(shop.pipe) is EditPipe


# --- what goes wrong ----------------------------------------------------------


def test_an_error_holds_no_frame_of_the_pipeline(shop: Shop):
    class Full(Pipe):
        fails = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    shop.base = Full
    shop.has("cuda")
    error = refusal(CAT)
    assert "too little memory" in error.message
    assert (error.__cause__, error.__context__) == (None, None)
    assert shop.emptied == ["cuda"]
    assert "Drawing.run" in frames_of(error)
    assert not frames_of(error) & {"Drawing._draw", "Full.__call__", "Pipe.__call__", "Pipe.draw"}


def named(*names: str, **attributes: object) -> type[Exception]:
    """An exception as a package that is not here names it."""
    kind: type[Exception] = Exception
    for name in names:
        kind = type(name, (kind,), dict(attributes))
    return kind


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class Answer:
    def __init__(self, status_code: object) -> None:
        self.status_code = status_code


HUB = named("HfHubHTTPError", response=Answer(403))
LOADING = [
    (
        named("RepositoryNotFoundError", "GatedRepoError")("x"),
        imagen.AuthenticationError,
        "accept its terms",
        False,
    ),
    (
        caused(OSError("x"), named("RepositoryNotFoundError")()),
        imagen.ModelNotFoundError,
        "is no folder here",
        False,
    ),
    (
        named("RevisionNotFoundError")("x"),
        imagen.ModelNotFoundError,
        "no such repository or revision",
        False,
    ),
    (named("HFValidationError")("x"), imagen.ModelNotFoundError, "is no folder here", False),
    (
        HUB("x"),
        imagen.AuthenticationError,
        "refuses to give acme/tiny (403): look at HF_TOKEN",
        False,
    ),
    (
        caused(OSError("x"), named("OfflineModeIsEnabled")()),
        imagen.ModelNotFoundError,
        "HF_HUB_OFFLINE",
        False,
    ),
    (
        named("LocalEntryNotFoundError")("x"),
        imagen.ModelNotFoundError,
        "may not be downloaded",
        False,
    ),
    (
        caused(OSError("x"), ConnectionError("refused")),
        imagen.ProviderError,
        "huggingface.co: refused. Try",
        True,
    ),
    (named("Odd", response=Answer(502))("x"), imagen.ProviderError, "it answers 502", True),
    (
        named("Odd", response=Answer("?"))("x"),
        imagen.ConfigurationError,
        "cannot be loaded as a pipeline. x.",
        False,
    ),
    (
        ValueError('"x" is neither a valid local path nor'),
        imagen.ModelNotFoundError,
        "There is no folder",
        False,
    ),
    (
        OSError("no safetensors\nat all"),
        imagen.ConfigurationError,
        "no safetensors at all. Set allow_pickle",
        False,
    ),
    (OSError(), imagen.ConfigurationError, "OSError.", False),
    (
        ImportError("sentencepiece is missing"),
        imagen.ConfigurationError,
        "sentencepiece is missing. Run pip",
        False,
    ),
    (named("OutOfMemoryError")("x"), imagen.ProviderError, "too little memory", False),
    (MemoryError(), imagen.ProviderError, "too little memory", False),
]


@pytest.mark.parametrize(
    ("error", "kind", "words", "retryable"),
    LOADING,
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_goes_wrong_while_loading_is_explained(error, kind, words: str, retryable: bool):
    said = explain_loading(error, "acme/tiny")
    assert (type(said), said.retryable, said.billed) == (kind, retryable, "no")
    assert words in said.message
    assert "\n" not in said.message


@pytest.mark.parametrize(
    ("error", "kind", "code", "words"),
    [
        (
            ValueError("`height` must be 8"),
            imagen.InvalidRequestError,
            "API_ERROR",
            "does not take this: `height` must",
        ),
        (
            RuntimeError("shapes differ"),
            imagen.ProviderError,
            "API_ERROR",
            "failed: shapes differ.",
        ),
        (KeyError("x"), imagen.ProviderError, "API_ERROR", "failed: 'x'."),
        (
            RuntimeError("MPS backend out of memory"),
            imagen.ProviderError,
            "API_ERROR",
            "too little memory",
        ),
        (ImportError("no scipy"), imagen.ConfigurationError, "CONFIGURATION", "no scipy"),
        (
            imagen.InvalidRequestError("as it is"),
            imagen.InvalidRequestError,
            "INVALID_REQUEST",
            "as it is",
        ),
    ],
)
def test_what_goes_wrong_while_drawing_is_explained(error, kind, code: str, words: str):
    said = explain_drawing(error, "acme/tiny")
    assert (type(said), said.code, said.retryable, said.billed) == (kind, code, False, "no")
    assert words in said.message


def test_errors_of_loading_and_of_drawing_are_told_apart(shop: Shop):
    class Bad(Pipe):
        fails = ValueError("bad")

    shop.error = ValueError("bad")
    assert isinstance(refusal(CAT), imagen.ConfigurationError)
    shop.error, shop.base = None, Bad
    assert isinstance(refusal(CAT), imagen.InvalidRequestError)


# --- taking turns -------------------------------------------------------------


def test_waiting_for_the_device_ends_with_its_caller(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipelines, "_ASK_SECONDS", 0.001)
    bench = pipelines.bench_of("auto")
    with bench.turn(Listener()):
        listener = Listener(leaves_at=2)
        with pytest.raises(Left):
            ask(CAT, listener=listener)
        assert listener.fractions == [0.0, 0.0]
    assert shop.loads == []
    ask(CAT)


async def test_two_clients_draw_one_after_the_other(tmp_path: Path, shop: Shop):
    busy, most = [], []

    class Slow(Pipe):
        def draw(self, **arguments):
            busy.append(threading.get_ident())
            most.append(len(busy))
            trio.from_thread.run(trio.sleep, 0.02)
            busy.pop()
            return super().draw(**arguments)

    shop.base = Slow

    async def draw(name: str) -> None:
        settings = imagen.load_settings(
            {"IMAGEN_HOME": str(tmp_path / name), "IMAGEN_DEFAULT_MODEL": "diffusers"}
        )
        settings = msgspec.structs.replace(
            settings, models={"diffusers": {"wire": {"repository": "acme/tiny"}}}
        )
        async with imagen.open_client(settings, library=None) as client:
            image = await client.generate("a cat")
            assert (image.cost.usd, image.provider) == (0, "diffusers")

    async with trio.open_nursery() as nursery:
        for name in ("a", "b", "c"):
            nursery.start_soon(draw, name)
    assert most == [1, 1, 1]
    assert len(shop.loads) == 1


async def test_a_model_without_a_repository_costs_nothing_and_loads_nothing(
    tmp_path: Path, shop: Shop
):
    settings = imagen.load_settings(
        {"IMAGEN_HOME": str(tmp_path), "IMAGEN_DEFAULT_MODEL": "diffusers"}
    )
    async with imagen.open_client(settings) as client:
        with pytest.raises(imagen.ConfigurationError, match="has no pipeline yet"):
            await client.generate("a cat")
        spending = await client.spending()
    assert (spending.settled_usd, spending.unknown_usd, spending.attempts.unknown) == (0, 0, 0)
    assert shop.loads == []
