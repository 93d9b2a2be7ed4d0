"""What other programs wrote into their images is read, whichever of their forms
it has.
"""

from __future__ import annotations

import json
import time
import zlib
from io import BytesIO
from xml.sax.saxutils import escape

import pytest
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from imagen.metadata import ForeignRecord
from imagen.metadata._foreign.reading import read_foreign
from tests.support.metadata_files import image_bytes, with_png_chunk

LINES = (
    "a lighthouse, (dusk:1.2)\nsecond line: with a colon\nNegative prompt: blurry, low"
    " quality\nugly\nSteps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed:"
    ' 4294967296, Size: 832x1216, Model hash: 0011aabb, Model: "dream, shaper", Lora hashes: "one:'
    ' 12ab, two: 34cd", Version: v1.10.1'
)
CLASSIC_GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 156680208700286,
            "steps": 20,
            "cfg": 8,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1,
            "model": ["10", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "base.safetensors"}},
    "10": {
        "class_type": "LoraLoader",
        "inputs": {"lora_name": "ink.safetensors", "model": ["4", 0]},
    },
    "5": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 512, "height": 768, "batch_size": 1},
    },
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a glass bottle", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["4", 1]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}, "is_changed": [float("nan")]},
}
FLUX_GRAPH = {
    "13": {
        "class_type": "SamplerCustomAdvanced",
        "inputs": {
            "noise": ["25", 0],
            "guider": ["22", 0],
            "sampler": ["16", 0],
            "sigmas": ["17", 0],
        },
    },
    "25": {"class_type": "RandomNoise", "inputs": {"noise_seed": 7}},
    "22": {"class_type": "BasicGuider", "inputs": {"model": ["12", 0], "conditioning": ["26", 0]}},
    "26": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["6", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["40", 0], "clip": ["11", 0]}},
    "40": {"class_type": "PrimitiveString", "inputs": {"value": "a red fox"}},
    "12": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors"}},
    "16": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
    "17": {"class_type": "BasicScheduler", "inputs": {"scheduler": "simple", "steps": 24}},
}


def png_with(**texts: str) -> bytes:
    info = PngInfo()
    for name, text in texts.items():
        info.add_itxt(name.replace("_dash_", "-"), text)
    return image_bytes("png", pnginfo=info)


def test_automatic1111():
    expected = ForeignRecord(
        program="AUTOMATIC1111",
        prompt="a lighthouse, (dusk:1.2)\nsecond line: with a colon",
        negative_prompt="blurry, low quality\nugly",
        model="dream, shaper",
        seed=4294967296,
        steps=28,
        sampler="DPM++ 2M",
        guidance=6.5,
        parameters={
            "Schedule type": "Karras",
            "Size": "832x1216",
            "Model hash": "0011aabb",
            "Lora hashes": "one: 12ab, two: 34cd",
            "Version": "v1.10.1",
        },
    )
    assert read_foreign(png_with(parameters=LINES)) == expected
    windows = LINES.replace("\n", "\r\n")
    assert read_foreign(png_with(parameters=windows)) == expected


@pytest.mark.parametrize(
    ("version", "program"), [("f2.0.1v1.10.1", "Forge"), ("ComfyUI", "ComfyUI")]
)
def test_programs_that_write_the_same_lines_are_told_apart(version, program):
    found = read_foreign(png_with(parameters=LINES.replace("v1.10.1", version)))
    assert found.program == program


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + LINES.encode("utf-16-be"),
        b"UNICODE\0" + LINES.encode("utf-16-le"),
        b"UNICODE\0" + LINES.encode("utf-16"),
        b"ASCII\0\0\0" + LINES.encode(),
        b"\0" * 8 + LINES.encode(),
    ],
    ids=["be", "le", "bom", "ascii", "undefined"],
)
def test_the_user_comment_of_a_jpeg_or_webp(kind, comment):
    exif = PillowImage.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    found = read_foreign(image_bytes(kind, exif=exif))
    assert (found.seed, found.steps) == (4294967296, 28)
    assert found.prompt.startswith("a lighthouse")


def test_comfyui():
    found = read_foreign(png_with(prompt=json.dumps(CLASSIC_GRAPH), workflow="{}"))
    assert found == ForeignRecord(
        program="ComfyUI",
        prompt="a glass bottle",
        negative_prompt="text, watermark",
        model="base.safetensors",
        seed=156680208700286,
        steps=20,
        sampler="euler",
        guidance=8.0,
        parameters={
            "scheduler": "normal",
            "denoise": "1",
            "width": "512",
            "height": "768",
            "lora_name": "ink.safetensors",
        },
    )


def test_comfyui_with_a_graph_of_flux():
    found = read_foreign(png_with(prompt=json.dumps(FLUX_GRAPH)))
    assert (found.prompt, found.negative_prompt) == ("a red fox", None)
    assert (found.model, found.seed, found.steps) == ("flux1-dev.safetensors", 7, 24)
    assert (found.sampler, found.guidance) == ("euler", 3.5)


def test_prompts_that_go_through_one_node_are_told_apart():
    graph = {name: dict(node) for name, node in CLASSIC_GRAPH.items()}
    control = {"negative": ["7", 0], "positive": ["6", 0], "strength": 1.0}
    graph["20"] = {"class_type": "ControlNetApplyAdvanced", "inputs": control}
    graph["21"] = {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": dict(reversed(control.items())),
    }
    for node in ("20", "21"):
        inputs = {**CLASSIC_GRAPH["3"]["inputs"], "positive": [node, 0], "negative": [node, 1]}
        graph["3"] = {"class_type": "KSampler", "inputs": inputs}
        found = read_foreign(png_with(prompt=json.dumps(graph)))
        assert (found.prompt, found.negative_prompt) == ("a glass bottle", "text, watermark")


def test_a_graph_that_goes_round_in_circles_ends():
    graph = {
        "1": {
            "class_type": "KSampler",
            "inputs": {"positive": ["2", 0], "negative": ["1", 0], "seed": ["3", 0]},
        },
        "2": {"class_type": "A", "inputs": {"conditioning": ["3", 0]}},
        "3": {"class_type": "B", "inputs": {"x": ["2", 0], "y": ["404", 0]}},
    }
    assert read_foreign(png_with(prompt=json.dumps(graph))) == ForeignRecord(program="ComfyUI")


def test_invokeai():
    metadata = {
        "generation_mode": "sdxl_txt2img",
        "positive_prompt": "a castle",
        "negative_prompt": "",
        "seed": 11,
        "steps": 30,
        "scheduler": "euler_a",
        "cfg_scale": 7.5,
        "model": {"key": "k", "name": "juggernaut", "base": "sdxl"},
        "width": 1024,
    }
    found = read_foreign(png_with(invokeai_metadata=json.dumps(metadata)))
    assert found == ForeignRecord(
        program="InvokeAI",
        prompt="a castle",
        model="juggernaut",
        seed=11,
        steps=30,
        sampler="euler_a",
        guidance=7.5,
        parameters={"generation_mode": "sdxl_txt2img", "width": "1024"},
    )


def test_fooocus_swarmui_and_novelai():
    fooocus = {
        "prompt": "a",
        "negative_prompt": "b",
        "base_model": "m",
        "seed": "5",
        "steps": 9,
        "sampler": "s",
    }
    found = read_foreign(png_with(parameters=json.dumps(fooocus)))
    assert (found.program, found.prompt, found.negative_prompt, found.seed) == (
        "Fooocus",
        "a",
        "b",
        5,
    )
    swarm = {"sui_image_params": {"prompt": "c", "model": "n", "seed": 6, "cfgscale": 4}}
    found = read_foreign(png_with(parameters=json.dumps(swarm)))
    assert (found.program, found.prompt, found.model, found.seed, found.guidance) == (
        "SwarmUI",
        "c",
        "n",
        6,
        4.0,
    )
    comment = json.dumps(
        {"prompt": "d", "uc": "e", "seed": 8, "scale": 5, "sampler": "k_euler", "steps": 28}
    )
    found = read_foreign(
        png_with(Software="NovelAI", Source="NovelAI Diffusion V4", Comment=comment)
    )
    assert (found.program, found.prompt, found.negative_prompt) == ("NovelAI", "d", "e")
    assert (found.model, found.seed, found.steps) == ("NovelAI Diffusion V4", 8, 28)


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"parameters": "just words"},
        {"parameters": "{"},
        {"parameters": "{}"},
        {"parameters": '{"base_model": ' + "9" * 10_000 + "}"},
        {"parameters": "[" * 100_000},
        {"prompt": '{"1": ' + '{"a": ' * 100_000},
        {"prompt": "[1, 2]"},
        {
            "prompt": (
                '{"1": 5, "2": {"class_type": 7, "inputs": []}, "3": {"class_type": "Sampler",'
                ' "inputs": {}}}'
            )
        },
        {"prompt": '{"1": {"class_type": "Sampler", "inputs": {"positive": [["x"], 0]}}}'},
        {"invokeai_metadata": "null"},
        {"Software": "NovelAI"},
    ],
    ids=lambda texts: " ".join(texts) or "none",
)
def test_what_only_looks_like_a_record_is_none(texts):
    assert read_foreign(png_with(**texts)) is None


def test_values_of_odd_kinds_are_left_out():
    odd = {
        "positive_prompt": ["a"],
        "seed": True,
        "steps": 1e400,
        "cfg_scale": "wide",
        "model": {},
        "scheduler": None,
    }
    found = read_foreign(png_with(invokeai_metadata=json.dumps(odd)))
    assert found == ForeignRecord(program="InvokeAI", prompt='["a"]')
    found = read_foreign(
        png_with(
            invokeai_metadata='{"positive_prompt": "half \\ud800 a pair", "seed": 1'
            + "0" * 40
            + "}"
        )
    )
    assert (found.prompt, found.seed) == ("half ? a pair", None)


@pytest.mark.parametrize("copies", [4_000])
def test_texts_that_make_a_careless_reader_slow_do_not(copies):
    """Each of them takes a reader that looks back a minute and more. The
    processor's time, so that a busy machine passes.
    """
    graph = {str(n): {"class_type": "A", "inputs": {"x": [str(n + 1), 0]}} for n in range(copies)}
    samplers = {
        f"s{n}": {"class_type": "Sampler", "inputs": {"positive": ["0", 0]}} for n in range(copies)
    }
    hostile = [
        {"prompt": json.dumps(graph | samplers)},
        {"parameters": "Steps: 1, " + "Hashes: {" * copies * 10},
        {"parameters": "Steps: 1, " + 'a:"\\' * copies * 10},
        {"parameters": "Negative prompt:" * copies + "\nSteps:" * copies},
        {"Software": "NovelAI", "Source": " " * copies * 10 + "!", "Comment": "{}"},
    ]
    started = time.process_time()
    for texts in hostile:
        read_foreign(png_with(**texts))
    assert time.process_time() - started < 5


def test_an_image_without_texts_has_none():
    for kind in ("png", "jpeg", "webp"):
        assert read_foreign(image_bytes(kind)) is None
    assert read_foreign(image_bytes("gif", "P")) is None
    out = BytesIO()
    PillowImage.new("RGB", (2, 2)).save(out, "BMP")
    assert read_foreign(out.getvalue()) is None


GRAPH = json.dumps(CLASSIC_GRAPH)
COMFY_FIELDS = {
    "the fields for the camera": {0x0110: f"prompt:{GRAPH}", 0x010F: "workflow:{}"},
    "with capitals and a blank": {0x010F: f"Prompt: {GRAPH}", 0x010E: 'Workflow:{"nodes": []}'},
    "the description": {0x010E: f"prompt:{GRAPH}"},
    "the artist's comment": {0x9C9C: f"prompt:{GRAPH}".encode("utf-16-le")},
    "an object in the user comment": {0x9286: {"prompt": CLASSIC_GRAPH, "workflow": {}}},
    "texts in the user comment": {0x9286: {"prompt": GRAPH, "workflow": "{}"}},
    "a text in a text": {0x9286: {"prompt": json.dumps(GRAPH)}},
}


def xmp_with(properties):
    """Return a packet with these properties."""
    namespaces = {
        "exif": "http://ns.adobe.com/exif/1.0/",
        "tiff": "http://ns.adobe.com/tiff/1.0/",
        "dc": "http://purl.org/dc/elements/1.1/",
    }
    head = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in namespaces.items())
    body = "".join(
        f"<{name}><rdf:Alt><rdf:li xml:lang='x-default'>{escape(text)}</rdf:li></rdf:Alt></{name}>"
        for name, text in properties.items()
    )
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
        f' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description{head}>{body}'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def with_packet(kind, packet):
    if kind == "png":
        return with_png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet.encode())
    return image_bytes(kind, xmp=packet.encode())


def exif_of(fields):
    exif = PillowImage.Exif()
    for tag, value in fields.items():
        if isinstance(value, dict):
            comment = b"UNICODE\0" + json.dumps(value).encode("utf-16-be")
            exif.get_ifd(0x8769)[tag] = comment
        else:
            exif[tag] = value
    return exif.tobytes()


@pytest.mark.parametrize("kind", ["webp", "jpeg", "png"])
@pytest.mark.parametrize("fields", COMFY_FIELDS.values(), ids=COMFY_FIELDS)
def test_comfyui_in_exif(kind, fields):
    found = read_foreign(image_bytes(kind, exif=exif_of(fields)))
    assert (found.program, found.prompt, found.steps) == ("ComfyUI", "a glass bottle", 20)


@pytest.mark.parametrize("kind", ["webp", "jpeg", "png"])
@pytest.mark.parametrize("name", ["exif:UserComment", "dc:description", "tiff:Make"])
@pytest.mark.parametrize("text", [f"prompt:{GRAPH}", json.dumps({"prompt": CLASSIC_GRAPH})])
def test_comfyui_in_xmp(kind, name, text):
    data = with_packet(kind, xmp_with({name: text}))
    assert read_foreign(data).prompt == "a glass bottle"


@pytest.mark.parametrize("kind", ["webp", "jpeg", "png"])
def test_a_camera_is_no_program(kind):
    fields = {0x010F: "Canon", 0x0110: "EOS R5: {new}", 0x010E: "prompt: none", 0x0131: "9.0"}
    assert read_foreign(image_bytes(kind, exif=exif_of(fields))) is None


@pytest.mark.parametrize(
    "prompt",
    [
        "夕暮れの灯台",
        "маяк на закате",
        "phare à l'aube — Noël",
        "제주 등대",
        "ประภาคาร",
        "🗼 at dusk",
    ],
)
@pytest.mark.parametrize("chunk", [b"tEXt", b"zTXt", b"iTXt"])
def test_texts_in_utf8_in_any_chunk(prompt, chunk):
    text = f"{prompt}\nSteps: 20, Seed: 42".encode()
    body = {
        b"tEXt": b"parameters\0" + text,
        b"zTXt": b"parameters\0\0" + zlib.compress(text),
        b"iTXt": b"parameters\0\0\0\0\0" + text,
    }[chunk]
    assert read_foreign(with_png_chunk(chunk, body)).prompt == prompt


@pytest.mark.parametrize("prompt", ["café", "Größe", "señor ×2"])
def test_texts_in_latin_1_stay(prompt):
    body = b"parameters\0" + f"{prompt}\nSteps: 20, Seed: 42".encode("latin-1")
    assert read_foreign(with_png_chunk(b"tEXt", body)).prompt == prompt


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8"])
def test_a_user_comment_in_chinese_is_read_in_any_encoding(encoding):
    text = "黄昏时分悬崖上的灯塔与大海的波浪以及远处的船只在夕阳下航行天空布满云彩" * 2
    exif = PillowImage.Exif()
    comment = b"UNICODE\0" + f"{text}\nSteps: 20, Seed: 42".encode(encoding)
    exif.get_ifd(0x8769)[0x9286] = comment
    assert read_foreign(image_bytes("jpeg", exif=exif)).prompt == text


def test_novelai_of_version_4():
    comment = {
        "prompt": "",
        "v4_prompt": {
            "caption": {
                "base_caption": "two girls",
                "char_captions": [{"char_caption": "red hair"}, {"char_caption": "blue hair"}],
            }
        },
        "v4_negative_prompt": {"caption": {"base_caption": "blurry", "char_captions": []}},
        "seed": 9,
        "steps": 28,
        "scale": 5.5,
        "sampler": "k_euler_ancestral",
    }
    texts = {"Title": "NovelAI generated image", "Source": "NovelAI Diffusion V4.5 4BDE2A90"}
    found = read_foreign(png_with(**texts, Comment=json.dumps(comment)))
    assert (found.program, found.model) == ("NovelAI", "NovelAI Diffusion V4.5 4BDE2A90")
    assert (found.prompt, found.negative_prompt) == ("two girls | red hair | blue hair", "blurry")
    del comment["v4_prompt"]
    texts |= {"Software": "NovelAI", "Description": "a lighthouse"}
    assert read_foreign(png_with(**texts, Comment=json.dumps(comment))).prompt == "a lighthouse"


def test_novelai_in_a_webp():
    inner = {"prompt": "a fox", "uc": "blurry", "seed": 3, "sampler": "k_euler"}
    outer = {"Software": "NovelAI", "Source": "NovelAI V4", "Comment": json.dumps(inner)}
    found = read_foreign(image_bytes("webp", exif=exif_of({0x9286: outer})))
    assert (found.program, found.prompt, found.model) == ("NovelAI", "a fox", "NovelAI V4")


@pytest.mark.parametrize(
    ("fields", "program", "model"),
    [
        (
            {"prompt": "p", "base_model": "m", "seed": "7", "version": "v2"},
            "Fooocus",
            "m",
        ),
        ({"Prompt": "p", "base_model_name": "m", "seed": 7}, "RuinedFooocus", "m"),
        ({"positive_prompt": "p", "model": {"name": "m"}, "seed": 7}, "InvokeAI", "m"),
        ({"prompt": "p", "use_stable_diffusion_model": "m", "seed": 7}, "Easy Diffusion", "m"),
        ({"c": "p", "uc": "n", "model": "m", "seed": 7}, "Draw Things", "m"),
        ({"prompt": "p", "uc": "n", "seed": 7}, "NovelAI", None),
        ({"sui_image_params": {"prompt": "p", "model": "m", "seed": 7}}, "SwarmUI", "m"),
    ],
)
@pytest.mark.parametrize("kind", ["webp", "jpeg"])
def test_an_object_in_the_user_comment(kind, fields, program, model):
    found = read_foreign(image_bytes(kind, exif=exif_of({0x9286: fields})))
    assert (found.program, found.prompt, found.model, found.seed) == (program, "p", model, 7)


def test_easy_diffusion_and_draw_things_in_a_png():
    texts = {"prompt": "a boat", "use_stable_diffusion_model": "sd-v1-5", "seed": "5"}
    found = read_foreign(png_with(**texts))
    assert (found.program, found.prompt, found.seed) == ("Easy Diffusion", "a boat", 5)
    packet = xmp_with({"exif:UserComment": json.dumps({"c": "a boat", "uc": "", "seed": 6})})
    found = read_foreign(with_packet("png", packet))
    assert (found.program, found.prompt, found.seed) == ("Draw Things", "a boat", 6)


@pytest.mark.parametrize(
    ("end", "program"),
    [
        ("Version: Fooocus v2.5.5", "Fooocus"),
        ("App: SD.Next, Version: 2f1d3a5", "SD.Next"),
        ("Version: neo", "Forge"),
        ("Version: f2.0.1v1.10.1-previous-665-gae278f79", "Forge"),
        ("Version: v1.10.1", "AUTOMATIC1111"),
    ],
)
def test_the_version_names_the_program(end, program):
    text = f"a boat\nSteps: 20, Sampler: Euler, Seed: 1, {end}"
    assert read_foreign(png_with(parameters=text)).program == program


def test_lines_in_the_comment_of_a_jpeg():
    out = BytesIO()
    PillowImage.new("RGB", (2, 2)).save(out, "JPEG", comment=b"a boat\nSteps: 20, Seed: 1")
    assert read_foreign(out.getvalue()).prompt == "a boat"


def test_a_damaged_record_does_not_hide_another():
    texts = {"parameters": "{", "prompt": GRAPH, "Software": "NovelAI", "Comment": "["}
    assert read_foreign(png_with(**texts)).prompt == "a glass bottle"
