"""Teach the ImageNet knowledge of a detector whose whole backbone was trained on.

    python -m train.distil CHECKPOINT OUT --root DATA [--steps N]

The classifier reads C5 as ImageNet left it. Where training changed the features before that, stages
after C4 of its own learn to make ImageNet's C5 of the detector's C4, on the photos of OV-mini that
may be trained on, without any label. The detector itself stays as it is. OUT is a checkpoint folder
with `ModelConfig.knowledge` switched on.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from detclipv2.checkpoint import inspect
from detclipv2.config import ModelConfig
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import Backbone
from detclipv2.nn.knowledge import ImageNetKnowledge
from train.data.loader import Batches, load
from train.data.ov_mini import boxed_samples, tag_samples
from train.data.sample import Sample
from train.data.sampler import BatchConfig
from train.data.transforms import Augmentation
from train.distributed import World
from train.engine import LoopConfig
from train.experiment import Experiment, Stream
from train.knowledge import grown, imagenet_backbone
from train.memory import keep_freed_memory
from train.optim import OptimConfig, parameter_groups, schedule
from train.pretrain import prepare
from train.task import BoxesConfig, normalise

logger = logging.getLogger(__name__)

_OPTIM = OptimConfig(lr=1e-3, weight_decay=0.0, warmup=50, clip=5.0)


def distil(
    model: DetCLIPv2, teacher: Backbone, batches: Iterator[Tensor], steps: int
) -> list[float]:
    """Train `model.knowledge.late`, nothing else.

    Args:
        model: with late stages of its own, which are changed.
        teacher: the backbone that the classifier knows.
        batches: (B, H, W, 3) uint8, at least `steps` of them.
        steps: of the optimizer.

    Returns:
        The loss of every step, see `discord`.

    Raises:
        ValueError: `model` has no such stages.
    """
    knowledge = model.knowledge
    if knowledge is None or knowledge.late is None:
        raise ValueError("only knowledge with late stages of its own can be taught")
    late = knowledge.late.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameter_groups(late, _OPTIM))
    losses = []
    for step in tqdm(range(steps), unit="step", mininterval=5):
        pixels = normalise(next(batches), model.config.image)
        with torch.no_grad():
            c4, c5 = model.backbone(pixels)[-2], teacher(pixels)[-1]
        loss = discord(knowledge, late(c4), c5)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(late.parameters(), _OPTIM.clip)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(step, steps, _OPTIM)
        optimizer.step()
        losses.append(float(loss.detach()))
    late.requires_grad_(False)
    return losses


def discord(knowledge: ImageNetKnowledge, own: Tensor, wanted: Tensor) -> Tensor:
    """How far the classifier's last features are from what they should be, as a share of variance.

    Args:
        knowledge: has the classifier.
        own: (B, C, H, W), a C5 that learns.
        wanted: (B, C, H, W), the C5 that the classifier knows.
    """
    with torch.no_grad():
        right = knowledge.last_features(wanted)
    return nn.functional.mse_loss(knowledge.last_features(own), right) / right.var()


def set_up(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Add what commands that look at photos have in common, read `arguments`, make ready."""
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of the data")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    keep_freed_memory()
    return options


def photos(config: ModelConfig, root: Path, seed: int) -> Batches:
    """Batches of 16 photos that may be trained on, as a detector of `config` sees them."""
    stream = Stream(
        "photos", _photos, BoxesConfig(), BatchConfig(batch=16, sizes=(256, 320, 448), mosaic=0.3),
        Augmentation(scale=(0.5, 1.5)), own_concepts=1, cache_gib=1.0,
    )  # fmt: skip
    experiment = Experiment(config, (stream,), LoopConfig(1), root=root, seed=seed)
    return prepare(experiment, stream, World()).batches


def _photos(root: Path, cache: Path) -> tuple[Sequence[Sample], Sequence[float]]:
    boxed, tagged = boxed_samples(root, cache)[0], tag_samples(root)
    return [*boxed, *tagged], [1.0] * (len(boxed) + len(tagged))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    options = set_up(parser, arguments)
    plain = DetCLIPv2.from_pretrained(options.checkpoint)
    teacher = imagenet_backbone(plain.config.backbone).to(memory_format=torch.channels_last)
    model = grown(plain, teacher.after_c4()).to(memory_format=torch.channels_last)
    ahead = load(photos(model.config, options.root, options.seed), range(options.steps), workers=1)
    losses = distil(model, teacher, (batch.pixels for batch in ahead), options.steps)
    last = losses[-50:]
    logger.info("discord %.3f at first, %.3f at last", losses[0], sum(last) / len(last))
    card = inspect(options.checkpoint)["card"]
    distilled = {"steps": options.steps, "discord": [losses[0], sum(last) / len(last)]}
    model.save_pretrained(options.out, {**card, "distilled_knowledge": distilled})


if __name__ == "__main__":
    main()
