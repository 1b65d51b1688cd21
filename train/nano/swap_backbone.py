"""Put the neck and head of a trained detector on another backbone, to train on from there.

    python -m train.nano.swap_backbone CHECKPOINT BACKBONE OUT --root DATA [--width N] [--steps N]

BACKBONE is timm's name, for example tf_efficientnet_lite2; it comes as ImageNet left it. Only the
1×1 convolutions that read C3, C4 and C5 (the pyramid's laterals, the shortcut) know the backbone:
on photos that may be trained on, without any label, they are fitted by least squares to give of the
new maps what they gave of the old ones. All else is copied. What the new maps cannot give is lost,
so OUT is where a run begins (`init=OUT`), not where it ends. `--width` makes neck and head wider,
too; see `train.nano.widen`.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from detclipv2.checkpoint import inspect, load_checkpoint, save_checkpoint
from detclipv2.command import run_command
from detclipv2.config import ModelConfig
from detclipv2.model import DetCLIPv2
from detclipv2.nano.tower import NanoTower, build, nano_config
from train.data.loader import Batches, load
from train.data.readers.ov_mini import boxed_samples, tag_samples
from train.data.sampler import BatchConfig, Sampler
from train.data.transforms import Augmentation
from train.loop.allocator import keep_freed_memory
from train.nano.prior import imagenet_backbone
from train.nano.widen import refuse_second_tower, widen
from train.tasks.boxes import normalise

logger = logging.getLogger(__name__)

_REPLACED = ("backbone.", "prior.", "fpn.lateral.", "shortcut.")
_RIDGE = 1e-4  # of the mean variance of a channel


class Fit:
    """Least squares of a linear map with offset, from sums over batches.

    Args:
        inputs: width of what is given.
        outputs: width of what is wanted.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self._given = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64)
        self._wanted = torch.zeros(inputs + 1, outputs, dtype=torch.float64)
        self._squares = torch.zeros(outputs, dtype=torch.float64)

    def add(self, given: Tensor, wanted: Tensor) -> None:
        """One batch of maps, (B, inputs, H, W) and (B, outputs, H, W)."""
        rows, right = (m.movedim(1, -1).flatten(0, -2).double() for m in (given, wanted))
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
        self._given += rows.T @ rows
        self._wanted += rows.T @ right
        self._squares += right.square().sum(dim=0)

    def solve(self) -> tuple[Tensor, Tensor, float]:
        """Weight (outputs, inputs), offset (outputs,) and the share of variance unexplained.

        Raises:
            ValueError: no batch was added.
        """
        count = self._given[-1, -1]
        if not count:
            raise ValueError("nothing to fit: add at least one batch")
        ridge = torch.zeros_like(self._given)
        ridge.diagonal()[:-1] = _RIDGE * self._given.diagonal()[:-1].mean()
        found = torch.linalg.solve(self._given + ridge, self._wanted)
        missed = self._squares - 2 * (found * self._wanted).sum(dim=0)
        missed = missed + (found * (self._given @ found)).sum(dim=0)
        spread = self._squares - self._wanted[-1].square() / count
        return found[:-1].T, found[-1], float(missed.sum() / spread.sum().clamp(min=1e-12))


@torch.no_grad()
def transplant(
    model: DetCLIPv2, backbone: str, batches: Iterable[Tensor], weights_from: str = "package"
) -> tuple[DetCLIPv2, dict[str, float]]:
    """A detector with `backbone` that gives of photos about what `model` gives.

    Args:
        model: a trained detector; stays as it is.
        backbone: timm's name of the new one.
        batches: (B, H, W, 3) uint8.
        weights_from: see `imagenet_weights`.

    Returns:
        The detector, without an ImageNet prior, and for each fitted convolution the share of
        variance that it does not explain.

    Raises:
        ValueError: `model` has a second tower.
    """
    refuse_second_tower(model)
    config, nano = replace(model.config, backbone=backbone), nano_config(model)
    if nano is not None:
        nano = replace(nano, imagenet_prior=False)
    grown = build(config, nano, model.serving).eval()
    weights = imagenet_backbone(backbone, weights_from).state_dict()
    grown.image_tower.backbone.load_state_dict(weights)
    grown = grown.to(memory_format=torch.channels_last)
    kept = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.removeprefix("image_tower.").startswith(_REPLACED)
    }
    grown.load_state_dict(kept, strict=False)
    old, new = _readers(model), _readers(grown)
    fits = {name: Fit(conv.in_channels, conv.out_channels) for name, (_, conv) in new.items()}
    for batch in batches:
        pixels = normalise(batch, config.image)
        before, after = (m.image_tower.backbone(pixels) for m in (model, grown))
        for name, (level, conv) in old.items():
            fits[name].add(after[level], conv(before[level]))
    unexplained = {}
    for name, (_, conv) in new.items():
        weight, offset, unexplained[name] = fits[name].solve()
        conv.weight.copy_(weight[:, :, None, None])
        if conv.bias is not None:
            conv.bias.copy_(offset)
        else:
            # The embeddings that the shortcut is added to have one.
            assert grown.image_tower.head.embedding.bias is not None
            grown.image_tower.head.embedding.bias += offset
    return grown, unexplained


def _readers(model: DetCLIPv2) -> dict[str, tuple[int, nn.Conv2d]]:
    """The convolutions that read the backbone's maps, and which of C3, C4 and C5 each reads."""
    tower = model.image_tower
    laterals = {f"lateral {i}": (i, conv) for i, conv in enumerate(tower.fpn.lateral)}
    shortcut = tower.shortcut if isinstance(tower, NanoTower) else None
    past = {} if shortcut is None else dict(enumerate(shortcut.maps, start=1))
    shortcuts = {f"shortcut {i}": (i, conv) for i, conv in past.items()}
    return {**laterals, **shortcuts}  # type: ignore[dict-item]


def on_backbone(
    checkpoint: str | Path,
    backbone: str,
    *,
    root: Path,
    width: int | None = None,
    steps: int = 80,
    sizes: tuple[int, ...] = (256, 320, 448),
    seed: int = 0,
) -> tuple[DetCLIPv2, dict[str, float]]:
    """A checkpoint on another backbone, fitted to photos of OV-mini.

    Args:
        checkpoint: a name or folder.
        backbone: timm's name.
        root: OV-mini's folder.
        width: channels of neck and head; None for as many as now.
        steps: batches of 16 photos to fit on.
        sizes: long sides of the canvases, in pixels.
        seed: of the photos and of new channels.

    Returns:
        As `transplant`.
    """
    torch.manual_seed(seed)
    keep_freed_memory()
    model = load_checkpoint(checkpoint).to(memory_format=torch.channels_last)
    ahead = load(photos(model.config, root, sizes, seed), range(steps), workers=1)
    seen = (batch.pixels for batch in tqdm(ahead, total=steps, unit="batch"))
    swapped, unexplained = transplant(model, backbone, seen)
    return (widen(swapped, width, seed) if width else swapped), unexplained


def photos(config: ModelConfig, root: Path, sizes: tuple[int, ...], seed: int) -> Batches:
    """Batches of 16 photos that may be trained on, as a detector of `config` sees them."""
    boxed, tagged = boxed_samples(root)[0], tag_samples(root)
    samples = [*boxed, *tagged]
    plan = BatchConfig(batch=16, sizes=sizes, mosaic=0.3)
    red, green, blue = (round(255 * m) for m in config.image.mean)
    return Batches(
        samples,
        Sampler(samples, [1.0] * len(samples), plan, seed),
        Augmentation(scale=(0.5, 1.5)),
        seed=seed,
        fill=(red, green, blue),
        most_concepts=1,
        cache_gib=1.0,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("backbone")
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, help="channels of neck and head; as now by default")
    parser.add_argument("--steps", type=int, default=80, help="batches of 16 photos to fit on")
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of the data")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    grown, unexplained = on_backbone(
        options.checkpoint,
        options.backbone,
        root=options.root,
        width=options.width,
        steps=options.steps,
        seed=options.seed,
    )
    for name, share in unexplained.items():
        logger.info("%s: %.2f of the variance unexplained", name, share)
    card = {k: v for k, v in inspect(options.checkpoint)["card"].items() if "sha" not in k}
    save_checkpoint(grown, options.out, card)


if __name__ == "__main__":
    run_command(main)
