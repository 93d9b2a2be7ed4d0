"""What other programs wrote into their images is read, whichever of their forms
it has.
"""

from __future__ import annotations

import json
import time
from io import BytesIO

import pytest
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from imagen.metadata import ForeignRecord
from imagen.metadata._foreign.reading import read_foreign
from tests.support.metadata_files import image_bytes

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
