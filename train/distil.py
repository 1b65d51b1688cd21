"""Teach the ImageNet knowledge of a detector whose whole backbone was trained on.

    python -m train.distil CHECKPOINT OUT --root DATA [--steps N] [--scales 1 2]

The classifier reads C5 as ImageNet left it. Where training changed the features before that, stages
after C4 of its own learn to make ImageNet's C5 of the detector's C4, on the photos of OV-mini that
may be trained on, without any label. The detector itself stays as it is. OUT is a checkpoint folder
with `ModelConfig.knowledge` switched on.

With --scales they then learn, from the state CHECKPOINT has them in, to say of the detector's boxes
what the classifier says of the photo at several sizes: what is small it recognises in an enlarged
photo only.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from detclipv2.checkpoint import inspect
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import Backbone
from detclipv2.nn.knowledge import ImageNetKnowledge, best_located
from train.data.loader import load
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
_BOXES = 128  # of a photo, that several scales are asked about


def distil(
    model: DetCLIPv2, teacher: Backbone, batches: Iterator[Tensor], steps: int,
    scales: Sequence[float] = (), optim: OptimConfig = _OPTIM,
) -> list[float]:  # fmt: skip
    """Train `model.knowledge.late`, nothing else.

    Args:
        model: with late stages of its own, which are changed.
        teacher: the backbone that the classifier knows.
        batches: (B, H, W, 3) uint8, at least `steps` of them.
        steps: of the optimizer.
        scales: sizes, relative to the photo's, at which the teacher's opinion of the detector's
            boxes is asked; none to make the teacher's C5 at the same size.
        optim: rates.

    Returns:
        The loss of every step, see `discord` and `dissent`.

    Raises:
        ValueError: `model` has no such stages, or a scale makes sides that are no multiples of 32.
    """
    knowledge = model.knowledge
    if knowledge is None or knowledge.late is None:
        raise ValueError("only knowledge with late stages of its own can be taught")
    late = knowledge.late.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameter_groups(late, optim))
    losses = []
    for step in tqdm(range(steps), unit="step", mininterval=5):
        pixels = normalise(next(batches), model.config.image)
        if scales:
            with torch.no_grad():
                boxes, wanted = _boxes(model, pixels), []
                for scale in scales:
                    c5 = teacher(_resized(pixels, scale))[-1]
                    wanted.append(knowledge.shares(c5, boxes * scale))
                c4 = model.backbone(pixels)[-2]
            own = knowledge.shares(late(c4), boxes)
            loss = dissent(own, torch.stack(wanted).mean(dim=0))
        else:
            with torch.no_grad():
                c4, c5 = model.backbone(pixels)[-2], teacher(pixels)[-1]
            loss = discord(knowledge, late(c4), c5)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(late.parameters(), optim.clip)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(step, steps, optim)
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


def dissent(own: Tensor, wanted: Tensor) -> Tensor:
    """Kullback–Leibler divergence of `own` shares from the `wanted`, mean over boxes.

    Args:
        own: (B, A, classes), see `ImageNetKnowledge.shares`.
        wanted: (B, A, classes).
    """
    tiny = torch.finfo(own.dtype).tiny
    ratio = wanted.clamp(min=tiny).log() - own.clamp(min=tiny).log()
    return (wanted * ratio).sum(dim=-1).mean()


def _boxes(model: DetCLIPv2, pixels: Tensor) -> Tensor:
    """(B, A', 4) boxes of the detector, drawn from those that the classifier looks at."""
    regions = model.encode_image(pixels)
    looked_at = best_located(regions.localisation)
    drawn = torch.randperm(looked_at.shape[1])[:_BOXES]
    return regions.boxes.gather(1, looked_at[:, drawn, None].expand(-1, -1, 4))


def _resized(pixels: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return pixels
    for side in pixels.shape[-2:]:
        if scale * side < 32 or scale * side % 32:
            raise ValueError(
                f"scale {scale:g} makes {side} pixels {scale * side:.0f}, no multiple of 32; "
                "take 1, 2 or another that does"
            )
    bigger = nn.functional.interpolate(pixels, scale_factor=scale, mode="bilinear")
    return bigger.contiguous(memory_format=torch.channels_last)


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
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of the data")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[], help="sizes at which the teacher looks"
    )
    parser.add_argument("--lr", type=float, default=_OPTIM.lr, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    torch.manual_seed(options.seed)
    plain = DetCLIPv2.from_pretrained(options.checkpoint)
    teacher = imagenet_backbone(plain.config.backbone).to(memory_format=torch.channels_last)
    taught = plain.knowledge is not None and plain.knowledge.late is not None
    model = plain if taught and options.scales else grown(plain, teacher.after_c4)
    model = model.to(memory_format=torch.channels_last)
    sizes = (384, 448) if options.scales else (256, 320, 448)
    stream = Stream(
        "photos", _photos, BoxesConfig(), BatchConfig(batch=options.batch, sizes=sizes, mosaic=0.3),
        Augmentation(scale=(0.5, 1.5)), own_concepts=1, cache_gib=1.0,
    )  # fmt: skip
    experiment = Experiment(
        model.config, (stream,), LoopConfig(options.steps), root=options.root, seed=options.seed
    )
    batches = prepare(experiment, stream, World()).batches
    ahead = load(batches, range(options.steps), workers=1)
    losses = distil(
        model, teacher, (batch.pixels for batch in ahead), options.steps, options.scales,
        dataclasses.replace(_OPTIM, lr=options.lr),
    )  # fmt: skip
    last = losses[-50:]
    logger.info("loss %.3f at first, %.3f at last", losses[0], sum(last) / len(last))
    card = inspect(options.checkpoint)["card"]
    distilled: dict[str, object] = {
        "steps": options.steps, "loss": [losses[0], sum(last) / len(last)],
        "scales": options.scales,
    }  # fmt: skip
    if taught and options.scales:
        distilled["began_with"] = card.get("distilled_knowledge", {})
    told = {key: value for key, value in card.items() if "sha" not in key}
    model.save_pretrained(options.out, {**told, "distilled_knowledge": distilled})


if __name__ == "__main__":
    main()
