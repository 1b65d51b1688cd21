"""Give a trained detector what its backbone knew: python -m train.distill CHECKPOINT ROOT OUT

Training for boxes moves the backbone away from its ImageNet classifier. This fits the classifier
to the moved features, with the untouched backbone as teacher, on the training photos of OV-mini
without any label. The paper has no teacher; `ModelConfig.knowledge` says whether a model has one.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detclipv2.checkpoint import inspect
from detclipv2.language.embeddings import prompt_text
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import Backbone, imagenet_weights, load_imagenet
from detclipv2.nn.knowledge import ImageNetKnowledge, imagenet_names
from train.data.loader import Batch, Batches, load
from train.data.ov_mini import all_training_samples
from train.data.sampler import BatchConfig, Sampler
from train.data.transforms import Augmentation
from train.engine import LoopConfig, Run
from train.memory import keep_freed_memory
from train.optim import OptimConfig
from train.task import normalise

logger = logging.getLogger(__name__)


def with_knowledge(model: DetCLIPv2, weights_from: str) -> DetCLIPv2:
    """A copy of `model` with its backbone's classifier attached, as ImageNet left it.

    Args:
        model: a trained detector with a frozen text tower.
        weights_from: see `imagenet_weights`.
    """
    grown = DetCLIPv2(dataclasses.replace(model.config, knowledge=True))
    grown.load_state_dict(model.state_dict(), strict=False)
    prompts = [prompt_text(model.config.text.template, name) for name in imagenet_names()]
    with torch.no_grad():
        parts = [model.text.pooled(prompts[i : i + 64]) for i in range(0, len(prompts), 64)]
    assert grown.knowledge is not None
    grown.knowledge.load(imagenet_weights(model.config.backbone, weights_from), torch.cat(parts))
    return grown.eval()


class DistillTask:
    """Cell by cell, the divergence of the model's class shares from the untouched network's."""

    def __init__(self, model: DetCLIPv2, weights_from: str) -> None:
        assert model.knowledge is not None
        self._model, self._student = model, model.knowledge
        weights = imagenet_weights(model.config.backbone, weights_from)
        self._backbone = Backbone(model.config.backbone).eval()
        load_imagenet(self._backbone, weights)
        self._teacher = ImageNetKnowledge(self._backbone.channels[-1], model.config.text.width)
        self._teacher.load(weights, self._student.names)
        channels_last: dict[str, torch.memory_format] = {"memory_format": torch.channels_last}
        nn.Module.to(self._backbone, **channels_last)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The mean over all cells of KL(teacher ‖ student)."""
        pixels = normalise(batch.pixels, self._model.config.image)
        with torch.no_grad():
            features = self._model.backbone(pixels)[-1]
            wanted = self._teacher.logits(self._backbone(pixels)[-1]).log_softmax(dim=1)
        given = self._student.logits(features).log_softmax(dim=1)
        divergence = F.kl_div(given, wanted, reduction="none", log_target=True)
        return {"distill": divergence.sum(dim=1).mean()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint", help="a trained detector's folder")
    parser.add_argument("root", type=Path, help="folder of OV-mini")
    parser.add_argument("out", type=Path, help="run folder; OUT/checkpoint is the result")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", default="package", help="where the ImageNet weights come from")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    source = DetCLIPv2.from_pretrained(options.checkpoint)
    model = with_knowledge(source, options.weights).to(memory_format=torch.channels_last)
    assert model.knowledge is not None
    model.requires_grad_(False)
    model.knowledge.hidden.requires_grad_(True)
    model.knowledge.classifier.requires_grad_(True)
    samples, repeats = all_training_samples(options.root)
    sampler = Sampler(samples, repeats, BatchConfig(batch=options.batch, sizes=(256, 320)), seed=0)
    red, green, blue = (round(255 * m) for m in model.config.image.mean)
    batches = Batches(
        samples, sampler, Augmentation(), seed=0, fill=(red, green, blue), most_concepts=1
    )  # fmt: skip
    run = Run(
        options.out, model, OptimConfig(lr=1e-3, warmup=50, weight_decay=0.0, ema=0.99),
        LoopConfig(steps=options.steps, save_minutes=2.0),
    )  # fmt: skip
    run.train(DistillTask(model, options.weights), lambda steps: load(batches, steps, workers=1))
    run.average.swap()
    card = inspect(options.checkpoint)["card"]
    model.save_pretrained(options.out / "checkpoint", {**card, "knowledge_steps": run.step})


if __name__ == "__main__":
    main()
