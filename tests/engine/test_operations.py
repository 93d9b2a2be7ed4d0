"""The five operations from the client to the exchange and back: images that are
worked on, their parents, emulation.
"""

from __future__ import annotations

import hashlib
import io
import os
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import msgspec
import pybase64
import pytest
from PIL import Image as PillowImage

import imagen
from imagen.testing import ScriptedReply, ScriptedTransport
from tests.support.custom_provider import COST, Atelier, open_atelier
from tests.support.images import PNG, png

OTHER = png((1, 2, 3))
MASK = png((255, 255, 255))


async def test_each_operation_reaches_its_exchange_with_its_images():
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        await client.generate("a cat", references=(PNG,))
        await client.edit("more cats", PNG, OTHER, mask=MASK)
        await client.vary(PNG, strength=0.3)
        await client.enhance(PNG, scale=2)
        await client.restyle(PNG, OTHER)
    generate, edit, vary, enhance, restyle = atelier.calls
    assert [one.data for one in generate.references] == [PNG]
    assert ([one.data for one in edit.images], edit.mask and edit.mask.data) == ([PNG, OTHER], MASK)
    assert ([one.data for one in vary.images], vary.request.strength) == ([PNG], 0.3)
    assert ([one.data for one in enhance.images], enhance.request.scale) == ([PNG], 2)
    assert ([one.data for one in restyle.images], [one.data for one in restyle.references]) == (
        [PNG],
        [OTHER],
    )


async def test_an_image_can_come_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "own.png"
    path.write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        made = await client.generate("a cat")
        sources = [PNG, path, str(path), "own.png", made, made.id, made.id[:9]]
        sources.append("data:image/png;base64," + pybase64.b64encode(PNG).decode())
        varied = [await client.vary(source) for source in sources]
        remembered = varied[0].request.image
        again = await client.vary(remembered)
        drawn = made.data
    data = [call.images[0].data for call in atelier.calls[1:]]
    assert data == [PNG, PNG, PNG, PNG, drawn, drawn, drawn, PNG, PNG]
    assert [image.parent_id for image in varied] == [None] * 4 + [made.id] * 3 + [None]
    assert isinstance(again.request.image, imagen.InputImage)
    assert again.request.image.sha256 == remembered.sha256


async def test_a_place_can_be_written_in_every_usual_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "a b#1.png"
    path.write_bytes(PNG)
    encoded = pybase64.b64encode(PNG).decode()
    wrapped = "\r\n ".join(encoded[at : at + 40] for at in range(0, len(encoded), 40))
    sources = [
        "~/a b#1.png",
        Path("~/a b#1.png"),
        path.as_uri(),
        "FILE://" + str(path).replace(" ", "%20").replace("#", "%23"),
        f"file://localhost{path}",
        f"file:{path}",
        f" {path.as_uri()}\n",
        f"DATA:image/png;BASE64,{encoded}",
        f"data:image/png;charset=utf-8;base64,{wrapped}",
        f"data:image/png;base64;name=a.png,{encoded.rstrip('=')}",
        f"data:;base64,{encoded.replace('+', '-').replace('/', '_')}",
        f"data:image/png;base64,{quote(encoded, safe='')}",
        f"data:image/png,{quote(PNG)}",
        f"\n data:image/png;base64, {encoded}\n",
    ]
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        for source in sources:
            await client.vary(source)
    assert [call.images[0].data for call in atelier.calls] == [PNG] * len(sources)


async def test_every_input_image_is_bounded_in_bytes(tmp_path):
    path = tmp_path / "own.png"
    data = PNG + bytes(2000)
    path.write_bytes(data)
    url = "data:image/png;base64," + pybase64.b64encode(data).decode()
    atelier = Atelier()
    async with open_atelier(atelier, toml="[bounds]\nmax_input_bytes = 1000\n") as client:
        for source in (data, path, str(path), path.as_uri(), url, url + "A" * 9000):
            with pytest.raises(imagen.InvalidRequestError, match="an image may have 1,000"):
                await client.vary(source)
    assert not atelier.calls


async def test_what_was_worked_on_is_remembered_without_its_bytes_and_survives_the_library():
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        parent = await client.generate("a cat")
        image = await client.edit("a dog", parent, OTHER, mask=png((255, 255, 255), (64, 64)))
        stored = await client.library.get(image.id)
        digest = parent.sha256
    assert stored is not None
    assert stored.request == image.request
    assert stored.parent_id == parent.id
    assert isinstance(stored.request, imagen.Edit)
    first, second = stored.request.images
    assert isinstance(first, imagen.InputImage)
    assert (first.id, first.sha256, first.width) == (parent.id, digest, 64)
    assert isinstance(second, imagen.InputImage)
    assert second.id is None
    assert len(msgspec.json.encode(stored.request)) < 1000


async def test_every_operation_goes_through_one_batch():
    atelier = Atelier()
    requests = [
        imagen.Generate(prompt="a"),
        imagen.Edit(prompt="b", images=(PNG,)),
        imagen.Vary(image=PNG),
        imagen.Enhance(image="no-such-file.png"),
        imagen.Restyle(image=PNG, reference=OTHER),
    ]
    outcomes: dict[int, imagen.Outcome] = {}
    async with open_atelier(atelier) as client, client.open_batch(requests) as batch:
        async for outcome in batch:
            outcomes[outcome.index] = outcome
        spending = await client.spending()
    assert sorted(outcomes) == [0, 1, 2, 3, 4]
    failure = outcomes[3]
    assert isinstance(failure, imagen.Failure)
    assert "no file 'no-such-file.png'" in failure.error.message
    assert failure.error.billed == "no"
    assert spending.settled_usd == COST * 4


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (b"", "not a PNG, JPEG"),
        (b"<html>", "not a PNG, JPEG"),
        ("", "is an empty text"),
        ("missing.png", "no file 'missing.png', and no image of that id"),
        ("data:image/png,hello", "base64"),
        ("data:image/png;base64,###", "base64"),
        ("http://example.com/a.png", "not https"),
        ("file:///etc/passwd", "passwd cannot be used.*not a PNG"),
        ("https://127.0.0.1/a.png", "not a public address"),
        ("https://10.1.2.3/a.png", "not a public address"),
        ("https://[::1]/a.png", "not a public address"),
        ("https://169.254.169.254/latest", "not a public address"),
        ("https://user@/a.png", "no URL|cannot be read"),
        ("file://server/share/a.png", "files of this machine only"),
        ("file:///C:/Users/me/a.png", "a drive of Windows"),
        ("file://C:/Users/me/a.png", "a drive of Windows"),
        ("file:///C|/a.png", "a drive of Windows"),
        ("file://~/a.png", "give the path itself, such as ~/image.png"),
        ("file:a.png", "is not an absolute path"),
        ("file:///a%00b.png", "cannot be read"),
        ("~no-such-user-here/a.png", "no file '~no-such-user-here/a.png'"),
        (Path("~no-such-user-here/a.png"), "cannot be read"),
        ("data:image/png;base64", "base64"),
        ("data:image/png;base64,", "base64"),
        ("data:image/png;base64,%%%", "base64"),
        ("Data:text/html,%3Cscript%3E", "not a PNG"),
        (Path("/dev/zero"), "is not a file"),
        (Path("/"), "cannot be read|is no file"),
        (Path("nul\0byte"), "cannot be read"),
        (7, "not int"),
        (
            imagen.InputImage(sha256="0" * 64, media_type="image/png", width=1, height=1),
            "does not keep",
        ),
        (
            imagen.InputImage(sha256="../../etc/passwd", media_type="image/png", width=1, height=1),
            "does not keep",
        ),
    ],
    ids=str,
)
async def test_an_image_that_is_none_is_refused_before_anything_is_sent(source, sentence):
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        with pytest.raises(imagen.InvalidRequestError, match=sentence) as caught:
            await client.vary(source)
        spending = await client.spending()
    assert caught.value.billed == "no"
    assert not atelier.calls
    assert spending.settled_usd == 0


async def test_a_pipe_does_not_hang_and_a_bomb_is_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    bomb = bytearray(PNG)
    bomb[16:24] = (60000).to_bytes(4, "big") * 2
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        with pytest.raises(imagen.InvalidRequestError, match="is not a file"):
            await client.vary(tmp_path / "pipe.png")
        with pytest.raises(imagen.InvalidRequestError, match="60000 x 60000 pixels"):
            await client.vary(bytes(bomb))
    assert not atelier.calls


async def test_a_paid_image_that_claims_to_be_enormous_is_set_aside():
    bomb = bytearray(PNG)
    bomb[16:24] = (60000).to_bytes(4, "big") * 2

    def work(call: imagen.providers.Call) -> imagen.providers.Exchange:
        yield imagen.providers.Compute(call=bytes)
        return imagen.providers.GeneratedImages(
            images=(imagen.providers.GeneratedImage(data=bytes(bomb)),), reported_cost_usd=COST
        )

    class Liar(Atelier):
        def provider(self) -> imagen.providers.Provider:
            return msgspec.structs.replace(super().provider(), operations={"generate": work})

    async with open_atelier(Liar()) as client:
        with pytest.raises(imagen.ProviderError, match="more than imagen opens") as caught:
            await client.generate("x")
        folder = client.library.folder.parent / "set-aside"
        kept = [path.read_bytes() for path in folder.glob("*/image-*.bin")]
        spending = await client.spending()
    assert "kept at" in caught.value.message
    assert kept == [bytes(bomb)]
    assert spending.settled_usd == COST


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"media_types": ["image/jpeg"]}, "it is image/png"),
        ({"min_side": 9}, "short side has 8"),
        ({"max_side": 7}, "long side has 8"),
        ({"min_pixels": 65}, "64 pixels"),
        ({"max_pixels": 63}, "at most 63"),
        ({"max_ratio": 1.5}, "more than 1.5 times"),
        ({"max_bytes": 10}, "at most 10"),
    ],
    ids=str,
)
async def test_an_image_that_the_model_does_not_take_is_refused_in_a_sentence(limits, sentence):
    atelier = Atelier()
    entry = {
        "provider": "atelier",
        "capabilities": {"operations": ["vary"], "inputs": limits, "prompt_required": []},
    }
    image = png(size=(16, 8)) if "max_ratio" in limits else PNG
    async with open_atelier(atelier) as client:
        settings = msgspec.structs.replace(client.settings, models={"fussy": entry})
    async with imagen.open_client(settings) as client:
        with pytest.raises(imagen.InvalidRequestError, match=sentence):
            await client.vary(image, model="fussy", assume_usd=Decimal(1))
    assert not atelier.calls


async def test_a_mask_of_another_size_is_refused():
    async with open_atelier(Atelier()) as client:
        with pytest.raises(imagen.InvalidRequestError, match="make them the same"):
            await client.edit("x", PNG, mask=png(size=(9, 9)))


def turned_jpeg() -> bytes:
    """Return a photo that is stored as 96x64 and shown as 64x96."""
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    PillowImage.new("RGB", (96, 64), (9, 99, 199)).save(file, "JPEG", exif=exif)
    return file.getvalue()


async def test_a_mask_fits_the_image_as_it_is_seen():
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        with pytest.raises(imagen.InvalidRequestError, match="96x64 pixels, the image 64x96"):
            await client.edit("x", turned_jpeg(), mask=png(size=(96, 64)))
        made = await client.edit("x", turned_jpeg(), mask=png(size=(64, 96)))
        again = await client.edit("x", made.request.images[0], mask=turned_jpeg())
    for call in atelier.calls:
        assert (call.images[0].width, call.images[0].height) == (64, 96)
        with PillowImage.open(io.BytesIO(call.images[0].data)) as sent:
            assert (sent.size, sent.getexif().get(0x0112)) == ((64, 96), None)
    assert (atelier.calls[1].mask.width, atelier.calls[1].mask.height) == (64, 96)
    # The library keeps the file that the caller gave.
    assert again.request.images[0].sha256 == hashlib.sha256(turned_jpeg()).hexdigest()


async def test_a_format_that_the_library_does_not_hold_is_kept_as_it_was_sent():
    file = io.BytesIO()
    PillowImage.new("RGB", (8, 8), (9, 99, 199)).save(file, "TIFF")
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        made = await client.vary(file.getvalue())
        await client.vary(made.request.image)
    first, second = (call.images[0] for call in atelier.calls)
    assert (first.media_type, first.data) == ("image/png", second.data)


async def test_an_emulated_operation_says_so_and_keeps_what_was_asked():
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        with pytest.raises(imagen.InvalidRequestError, match="emulate=True"):
            await client.vary(PNG, model="atelier-editor")
        image = await client.vary(PNG, model="atelier-editor", emulate=True)
    assert isinstance(atelier.calls[0].request, imagen.Edit)
    assert [one.data for one in atelier.calls[0].images] == [PNG]
    assert isinstance(image.request, imagen.Vary)
    assert (image.adjustments[0].field, image.adjustments[0].sent) == ("operation", "edit")


async def test_with_no_model_named_an_emulation_takes_one_that_edits():
    atelier = Atelier()
    async with open_atelier(atelier) as client:
        table = {"provider": "atelier", "capabilities": {"operations": ["edit"]}}
        settings = msgspec.structs.replace(client.settings, default_model=None)
        provider = msgspec.structs.replace(atelier.provider(), models={"only-edits": table})
    access = {
        **settings.access,
        "atelier": msgspec.structs.replace(settings.access["atelier"], provider=provider),
    }
    async with imagen.open_client(msgspec.structs.replace(settings, access=access)) as client:
        with pytest.raises(imagen.ConfigurationError, match="No model that can vary"):
            await client.vary(PNG)
        image = await client.vary(PNG, emulate=True)
    assert image.model == "only-edits"


async def test_an_edit_without_words_does_not_choose_a_model_that_needs_none():
    async with open_atelier(Atelier()) as client:
        settings = msgspec.structs.replace(client.settings, default_model=None)
    async with imagen.open_client(settings) as client:
        with pytest.raises(imagen.InvalidRequestError, match="say what is to change"):
            await client.edit("", PNG)


async def test_an_image_that_was_made_and_withheld_is_a_refusal_with_its_cost():
    async with open_atelier(Atelier(withhold=True)) as client:
        async with client.open_batch("x") as batch:
            (outcome,) = [outcome async for outcome in batch]
        spending = await client.spending()
    assert isinstance(outcome, imagen.Failure)
    assert isinstance(outcome.error, imagen.ContentFilterError)
    assert (outcome.error.billed, outcome.cost.usd) == ("yes", COST)
    assert "too much" in outcome.error.message
    assert spending.settled_usd == COST
    assert spending.attempts.refused == 1


async def test_an_image_that_was_made_and_lost_is_a_failure_with_its_cost_beside_the_others():
    def work(call: imagen.providers.Call) -> imagen.providers.Exchange:
        yield imagen.providers.Compute(call=bytes)
        images = (
            imagen.providers.LostImage(reason="Its link answers 404."),
            imagen.providers.GeneratedImage(data=PNG),
        )
        return imagen.providers.GeneratedImages(images=images, reported_cost_usd=COST * 2)

    class Forgetful(Atelier):
        def provider(self) -> imagen.providers.Provider:
            provider = msgspec.structs.replace(super().provider(), operations={"generate": work})
            table = {**provider.models["atelier-1"], "capabilities": {"max_images_per_request": 2}}
            return msgspec.structs.replace(provider, models={"atelier-1": table})

    async with open_atelier(Forgetful()) as client:
        async with client.open_batch("x", n=2, together=True) as batch:
            lost, made = sorted(
                [outcome async for outcome in batch], key=lambda outcome: outcome.index
            )
        spending = await client.spending()
    assert isinstance(made, imagen.Image)
    assert isinstance(lost, imagen.Failure)
    assert isinstance(lost.error, imagen.ProviderError)
    assert (lost.error.billed, lost.cost.usd, made.cost.usd) == ("yes", COST, COST)
    assert spending.settled_usd == COST * 2


async def test_a_link_is_fetched_and_what_goes_wrong_there_costs_nothing():
    replies = iter(
        [ScriptedReply(chunks=(PNG,)), ScriptedReply(status=404), ScriptedReply(fault="lost")]
    )
    transport = ScriptedTransport(lambda request: next(replies))
    atelier = Atelier()
    async with open_atelier(atelier, transport=lambda access: transport) as client:
        image = await client.vary("https://example.com/pictures/a.png?token=secret")
        for sentence in ("answers 404", "broke"):
            with pytest.raises(
                imagen.InvalidRequestError, match=f"example.com cannot be read.*{sentence}"
            ) as caught:
                await client.vary("https://example.com/pictures/a.png?token=secret")
            assert caught.value.billed == "no"
            assert "secret" not in caught.value.message
    assert isinstance(image.request, imagen.Vary)
    assert isinstance(image.request.image, imagen.InputImage)
    assert image.request.image.name == "example.com"
    assert [call.images[0].data for call in atelier.calls] == [PNG]


# --- models and providers -----------------------------------------------------


async def test_the_default_model_for_an_operation_is_the_first_that_can_do_it():
    atelier = Atelier()
    settings_for = "atelier-editor"
    async with open_atelier(atelier) as client:
        settings = msgspec.structs.replace(client.settings, default_model=settings_for)
    async with imagen.open_client(settings) as client:
        varied = await client.vary(PNG)
        edited = await client.edit("x", PNG)
    assert (varied.model, edited.model) == ("atelier-1", "atelier-editor")


async def test_nothing_that_can_do_it_is_a_sentence(tmp_path: Path):
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
    async with imagen.open_client(settings) as client:
        with pytest.raises(imagen.ConfigurationError, match="No model that can restyle is set up"):
            await client.restyle(PNG, PNG)


async def test_settings_of_a_provider_reach_its_exchange_and_are_checked(tmp_path: Path):
    atelier = Atelier()
    async with open_atelier(
        atelier, home=tmp_path, toml="[providers.atelier.settings]\nbrushes = 5\n"
    ) as client:
        await client.generate("x")
    assert atelier.calls[0].settings == {"brushes": 5, "colour": "ochre"}
    for line, sentence in (
        ("paint = 1", "no setting paint"),
        ('brushes = "many"', "of the type int"),
    ):
        with pytest.raises(imagen.ConfigurationError, match=sentence):
            async with open_atelier(
                atelier, home=tmp_path, toml=f"[providers.atelier.settings]\n{line}\n"
            ):
                pass
    with pytest.raises(imagen.ConfigurationError, match=r"providers\.atelir"):
        async with open_atelier(
            atelier, home=tmp_path, toml='[providers.atelir]\nbase_url = "https://a.example"\n'
        ):
            pass


class _Point:
    name, value = "atelier", "atelier:PROVIDER"

    def __init__(self, found: object) -> None:
        self._found = found

    def load(self) -> object:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (ImportError("no oil"), "cannot be loaded: no oil"),
        ("a word", "is not an imagen.providers.Provider"),
        (None, ""),
    ],
    ids=["broken", "foreign", "good"],
)
def test_installed_packages_add_providers(monkeypatch: pytest.MonkeyPatch, found, sentence):
    provider = Atelier().provider()
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: [_Point(found or provider)]
    )
    if sentence:
        with pytest.raises(imagen.ConfigurationError, match=sentence):
            imagen.load_settings({})
    else:
        settings = imagen.load_settings({})
        assert settings.access["atelier"].configured
        assert settings.load_catalog().find("atelier-1").provider == "atelier"
