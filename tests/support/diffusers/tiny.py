"""Pipelines of a few thousand random weights, made on the spot: their images
are noise, and everything else is real.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def make_tokenizer(folder: Path) -> Any:
    """One that knows letters."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [
        "<|startoftext|>",
        "<|endoftext|>",
        *letters,
        *(f"{letter}</w>" for letter in letters),
    ]
    (folder / "vocab.json").write_text(
        json.dumps({token: number for number, token in enumerate(tokens)})
    )
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16
    )


def make_vae(channels: int = 4, shift: float | None = None) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=[8, 8, 8, 16],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=128,
        shift_factor=shift,
    )


def make_text_encoder(tokens: int = 54) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
            vocab_size=tokens,
            max_position_embeddings=16,
            hidden_size=16,
            intermediate_size=16,
            num_attention_heads=2,
            num_hidden_layers=1,
        )
    )


def save_stable_diffusion(folder: Path, *, alarmed: bool = False) -> Path:
    """A Stable Diffusion of 128 x 128 pixels; an `alarmed` one has a safety
    checker that likes no image.
    """
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        norm_num_groups=4,
        attention_head_dim=4,
    )
    checker, extractor = _make_safety_checker() if alarmed else (None, None)
    pipeline = StableDiffusionPipeline(
        vae=make_vae(),
        text_encoder=make_text_encoder(),
        tokenizer=make_tokenizer(folder / "letters"),
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=checker,
        feature_extractor=extractor,
        requires_safety_checker=alarmed,
    )
    pipeline.save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def _make_safety_checker() -> tuple[Any, Any]:
    import torch
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    sides = {
        "image_size": 32,
        "patch_size": 16,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "projection_dim": 16,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=sides, projection_dim=16))
    # An image alarms it when it is nearer to a concept than this weight.
    checker.concept_embeds_weights.data = torch.full_like(checker.concept_embeds_weights, -2.0)
    return checker, CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )


def save_stable_diffusion_3(folder: Path) -> Path:
    """A Stable Diffusion 3, of another family: a transformer with patches of
    two latents in place of a U-Net.
    """
    import torch
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )
    from transformers import (
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        T5Config,
        T5EncoderModel,
        T5Tokenizer,
    )

    torch.manual_seed(0)
    config = CLIPTextConfig(
        **make_text_encoder().config.to_dict() | {"projection_dim": 16, "num_hidden_layers": 2}
    )
    pieces = ["<pad>", "</s>", "<unk>", *"▁abcdefghijklmnopqrstuvwxyz"]
    t5 = T5Config(vocab_size=200, d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=32,
    )
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=make_vae(16, shift=0.06),
        text_encoder=CLIPTextModelWithProjection(config),
        tokenizer=make_tokenizer(folder / "letters"),
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer_2=make_tokenizer(folder / "letters_2"),
        text_encoder_3=T5EncoderModel(t5),
        tokenizer_3=T5Tokenizer(vocab=[(piece, -1.0) for piece in pieces]),
    )
    pipeline.save_pretrained(folder / "pipeline")
    return folder / "pipeline"
