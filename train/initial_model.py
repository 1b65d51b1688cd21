"""The model that a run begins with."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import nn

from detclipv2.config import ModelConfig
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import imagenet_weights, load_imagenet
from train.experiment import Experiment
from train.loop.distributed import Parallel
from train.tasks.boxes import BoxesConfig

logger = logging.getLogger(__name__)


def build_model(experiment: Experiment) -> DetCLIPv2:
    """The model with its pretrained parts."""
    torch.manual_seed(experiment.seed)
    model = DetCLIPv2(_noting_definitions(experiment))
    if experiment.backbone_weights:
        weights = imagenet_weights(experiment.model.backbone, experiment.backbone_weights)
        load_imagenet(model.backbone, weights)
    # A frozen tower is in no checkpoint; one that learns is in that of `init`.
    if experiment.model.text.frozen or (experiment.text_weights and not experiment.init):
        model.text.load_pretrained()
    if experiment.init:
        begin_with(model, DetCLIPv2.from_pretrained(experiment.init))
    for backbone in model.backbones:
        backbone.freeze(experiment.freeze, experiment.freeze_depthwise)
    if experiment.checkpointing:
        checkpoint_activations(model)
    return model.to(memory_format=torch.channels_last)


def _noting_definitions(experiment: Experiment) -> ModelConfig:
    """The configuration, with a note that its names had definitions where they had."""
    model = experiment.model
    boxes = [s.task for s in experiment.streams if isinstance(s.task, BoxesConfig)]
    enriched = model.text.definitions or any(task.enrich for task in boxes)
    return replace(model, text=replace(model.text, definitions=enriched))


def begin_with(model: DetCLIPv2, source: DetCLIPv2) -> None:
    """Take all weights of `source` that have the same name and shape.

    Raises:
        ValueError: there is none.
    """
    own = model.state_dict()
    fitting = {
        name: tensor
        for name, tensor in source.state_dict().items()
        if name in own and own[name].shape == tensor.shape
    }
    if not any(name.startswith("head.") for name in fitting):
        raise ValueError(f"no weight of {source.config.name!r} fits {model.config.name!r}")
    model.load_state_dict(fitting, strict=False)
    logger.info("began with %d of %d tensors", len(fitting), len(own))


def trained_view(model: DetCLIPv2, parallel: Parallel = "ddp") -> DetCLIPv2:
    """What the losses see of `model`: the same, but faster where its backbones are frozen.

    A sharded model stays as it is: only whole parameters can be read for the faster copy.
    """
    learns = any(p.requires_grad for part in model.backbones for p in part.parameters())
    return model if learns or parallel == "fsdp" else model.for_inference()


def checkpoint_activations(model: DetCLIPv2) -> None:
    """Keep only the borders of the backbone's and the text tower's blocks for the backward pass."""
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
        apply_activation_checkpointing,
    )

    blocks = set(blocks_of(model))
    apply_activation_checkpointing(model, check_fn=lambda module: module in blocks)


def blocks_of(model: DetCLIPv2) -> list[nn.Module]:
    """Parts of similar size that follow one another: stages of backbones, layers of text."""
    layers = [m for m in model.text.tower.modules() if type(m).__name__.endswith("Layer")]
    stages = [
        stage
        for backbone in model.backbones
        for stage in backbone.stages
        if any(True for _ in stage.parameters())
    ]
    # A Sequential made for the occasion is no part of the model.
    inside = set(model.modules())
    return [m for m in (*stages, *layers) if m in inside]
