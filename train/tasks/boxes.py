"""Learning from boxes: a batch of detection or grounding data to its losses (Eq. 1 and 6).

The network sees no loss, the losses see no file. Everything that is divided by a count is divided
by the count of all processes, so that many processes learn what one would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from detclipv2.config import STRIDES, ImageConfig, ModelConfig
from detclipv2.geometry.anchors import grid_anchors
from detclipv2.geometry.boxes import iou_matrix
from detclipv2.language.concepts import ConceptDictionary
from detclipv2.learning.assign import BACKGROUND, atss_assign
from detclipv2.learning.losses import centerness_loss, centerness_target, focal_loss, giou_loss
from detclipv2.regions import Regions
from train.data.loader import Batch
from train.loop.backprop import Backprop
from train.loop.distributed import Replica, own_share
from train.tasks.box_targets import (
    PhotoTarget,
    build_targets,
    fill_concepts,
    gather_concepts,
    sought,
)
from train.tasks.text_encoding import Encode

RankingLoss = Callable[[Regions, Tensor, Sequence[PhotoTarget]], Tensor]
"""Regions of B canvases, (B, A, K) logits, B targets → a sum over what `sought` names."""


@dataclass(frozen=True)
class BoxesConfig:
    """Learning from boxes with names.

    Attributes:
        align: weight of the alignment loss.
        rank: weight of the ranking loss, see `RankingLoss`; the paper has none.
        giou: weight of the box loss; the paper's α and β resolved as the ATSS defaults.
        centerness: weight of the centerness loss.
        quality: weight of the losses of the foreground and the IoU branch, where the head has them.
        localise: False drops all but the alignment loss, as the paper does for grounding data.
        concepts: M, a photo's own concepts filled up with negatives.
        negatives: where those come from: the data's own names, or the concept dictionary.
        enrich: names are followed by their definitions, as the paper does for detection data.
        micro_batch: canvases that go through the network at once; 0 for all.
    """

    align: float = 1.0
    rank: float = 0.0
    giou: float = 2.0
    centerness: float = 1.0
    quality: float = 0.0
    localise: bool = True
    concepts: int = 150
    negatives: Literal["data", "dictionary"] = "dictionary"
    enrich: bool = False
    micro_batch: int = 0

    def __post_init__(self) -> None:
        if self.negatives not in ("data", "dictionary"):
            raise ValueError(f"negatives must be 'data' or 'dictionary', got {self.negatives!r}")
        if self.concepts < 1:
            raise ValueError(f"concepts (M) must be positive, got {self.concepts}")


class BoxesTask:
    """Detection and grounding data alike.

    Args:
        replica: the network.
        model: its configuration.
        encode: texts to concepts.
        dictionary: decides which names may mean the same thing.
        vocabulary: names that negatives are drawn from.
        config: weights.
        seed: of the negatives.
        ranking: weighed by `config.rank`; None for none.

    Raises:
        ValueError: `config.rank` without a ranking loss.
    """

    def __init__(
        self,
        replica: Replica,
        model: ModelConfig,
        encode: Encode,
        dictionary: ConceptDictionary,
        vocabulary: Sequence[str],
        config: BoxesConfig,
        seed: int,
        ranking: RankingLoss | None = None,
    ) -> None:
        if config.rank and ranking is None:
            raise ValueError(f"rank={config.rank} needs a ranking loss, for example nano.rank_loss")
        self._ranking = ranking
        self._replica, self._model, self._encode = replica, model, encode
        self._dictionary, self._vocabulary = dictionary, vocabulary
        self._config, self._seed = config, seed

    def __call__(self, batch: Batch, backprop: Backprop) -> dict[str, Tensor]:
        """Weighted losses of the batch of all processes; their gradient has been handed over."""
        world, config = self._replica.world, self._config
        concepts = self._concepts(batch)
        targets = build_targets(batch.views, concepts, self._dictionary)
        assigned = assign(targets, batch.pixels.shape[1:3], self._model.anchor_scale, world.device)
        counts = world.sum(assigned.counts())
        share = own_share(concepts, world)
        pixels = normalise(batch.pixels.to(world.device), self._model.image)
        size = config.micro_batch or len(pixels)
        starts = range(0, len(pixels), size)
        sums: dict[str, Tensor] = {}
        for first in starts:
            with self._replica.last(first == starts[-1]):
                regions, words, bias = self._replica(
                    pixels[first : first + size], self._encode(share)
                )
                logits = regions.embeddings @ world.rows(words).T + bias
                of_these = assigned.part(first, first + size)
                losses = self._weigh(box_losses(regions, logits, of_these, counts[:3]))
                if self._ranking and config.rank:
                    ranks = self._ranking(regions, logits, of_these.targets)
                    losses["rank"] = config.rank * ranks / counts[3].clamp(min=1)
                # DDP averages over the processes what is to be summed.
                total = torch.stack(list(losses.values())).sum() * world.size
                backprop(total + untouched(regions))
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach()
        return {name: world.sum(value) for name, value in sums.items()}

    def _concepts(self, batch: Batch) -> tuple[str, ...]:
        """All concepts of the batch of all processes, each once, the same on every rank."""
        own: list[tuple[int, list[str]]] = []
        for slot, view in zip(batch.slots, batch.views, strict=True):
            rng = np.random.default_rng((self._seed, 3, batch.step, slot))
            extra = fill_concepts(view.concepts, self._config.concepts, self._vocabulary, rng)
            own.append((slot, [*view.concepts, *extra]))
        everyone = sorted(pair for part in self._replica.world.objects(own) for pair in part)
        return gather_concepts((), [name for _, names in everyone for name in names])

    def _weigh(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        config = self._config
        losses = {"align": config.align * parts["align"]}
        if config.localise:
            losses["giou"] = config.giou * parts["giou"]
            losses["centerness"] = config.centerness * parts["centerness"]
            if "iou" in parts and config.quality:
                losses["foreground"] = config.quality * parts["foreground"]
                losses["iou"] = config.quality * parts["iou"]
        return losses


@dataclass(frozen=True)
class Assigned:
    """Which anchors of B canvases answer for which of their boxes, and what is said of each.

    Attributes:
        targets: of the canvases.
        anchors: of every canvas, (N_i,) long, the positive ones.
        owners: of every canvas, (N_i,) long, their boxes.
        central: of every canvas, (N_i,) centerness targets.
    """

    targets: tuple[PhotoTarget, ...]
    anchors: tuple[Tensor, ...]
    owners: tuple[Tensor, ...]
    central: tuple[Tensor, ...]

    def counts(self) -> Tensor:
        """(4,) what the losses are divided by.

        Named positives, summed centerness, positives, concepts asked for in a photo.
        """
        device = self.central[0].device
        pairs = zip(self.targets, self.owners, strict=True)
        named = sum(int(target.positive[owner].sum()) for target, owner in pairs)
        central = sum(float(c.sum()) for c in self.central)
        concepts = sum(int(sought(target).sum()) for target in self.targets)
        return torch.tensor([named, central, sum(map(len, self.anchors)), concepts], device=device)

    def part(self, first: int, end: int) -> Assigned:
        """That of some of the canvases."""
        return Assigned(*(field[first:end] for field in vars(self).values()))


def assign(
    targets: Sequence[PhotoTarget], size: Sequence[int], anchor_scale: float, device: torch.device
) -> Assigned:
    """ATSS over a batch of canvases; it looks at anchors and boxes only, not at predictions.

    Args:
        targets: B of them.
        size: (H, W) of the canvases in pixels.
        anchor_scale: side of an anchor in strides.
        device: where to compute.
    """
    sizes = [(-(-size[0] // s), -(-size[1] // s)) for s in STRIDES]
    grid = grid_anchors(sizes, STRIDES, anchor_scale, device)
    counts = [h * w for h, w in sizes]
    moved, anchors, owners, central = [], [], [], []
    for target in targets:
        target = PhotoTarget(*(t.to(device) for t in vars(target).values()))
        owner = atss_assign(grid, counts, target.boxes)
        positive = (owner != BACKGROUND).nonzero().squeeze(1)
        moved.append(target)
        anchors.append(positive)
        owners.append(owner[positive])
        central.append(centerness_target(grid[positive], target.boxes[owner[positive]]))
    return Assigned(tuple(moved), tuple(anchors), tuple(owners), tuple(central))


def box_losses(
    regions: Regions, logits: Tensor, assigned: Assigned, counts: Tensor
) -> dict[str, Tensor]:
    """Alignment, GIoU, centerness of a batch, and where the head has them foreground and IoU.

    Args:
        regions: of B canvases.
        logits: (B, A, K).
        assigned: of the same canvases.
        counts: (3,) of the whole batch, the first of `Assigned.counts`.

    Returns:
        `align` a named positive, `giou` weighted by centerness, the others a positive anchor (BCE).
        All are finite, and carry a gradient of zero where a batch has no box.
    """
    right = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
    keep = torch.ones_like(right)
    boxed = torch.zeros(logits.shape[:2], dtype=torch.bool, device=logits.device)
    for index, (target, anchor, owner) in enumerate(
        zip(assigned.targets, assigned.anchors, assigned.owners, strict=True)
    ):
        keep[index] &= ~target.unsaid_outside
        right[index, anchor] = target.positive[owner]
        keep[index, anchor] = ~target.unsaid[owner]
        boxed[index, anchor] = True
    photo = torch.cat([torch.full_like(a, i) for i, a in enumerate(assigned.anchors)])
    at = (photo, torch.cat(assigned.anchors))
    wanted = torch.cat([t.boxes[o] for t, o in zip(assigned.targets, assigned.owners, strict=True)])
    central = torch.cat(assigned.central)
    named, weight, positives = counts.clamp(min=1).unbind()
    losses = {
        "align": focal_loss(logits, right, keep) / named,
        "giou": giou_loss(regions.boxes[at], wanted, central) / weight,
        "centerness": centerness_loss(regions.centerness[at].float(), central) / positives,
    }
    if regions.foreground is not None and regions.iou is not None:
        # What is unboxed in a photo that is not exhaustive may well be an object.
        sure = torch.stack([~t.unsaid_outside.all() for t in assigned.targets])[:, None] | boxed
        losses["foreground"] = focal_loss(regions.foreground, boxed, sure) / positives
        fit = iou_matrix(regions.boxes[at].detach(), wanted).diagonal()
        losses["iou"] = centerness_loss(regions.iou[at].float(), fit) / positives
    return losses


def untouched(regions: Regions) -> Tensor:
    """Zero that depends on every output.

    Data-parallel training wants all parameters to take part, and not every data type reaches all of
    them (pairs give no boxes).
    """
    outputs = (regions.boxes, regions.centerness, regions.foreground, regions.iou)
    return torch.stack([0 * x.sum() for x in outputs if x is not None]).sum()


def normalise(pixels: Tensor, image: ImageConfig) -> Tensor:
    """(B, H, W, 3) uint8 → (B, 3, H, W) float, channels last in memory."""
    mean = torch.tensor(image.mean, device=pixels.device) * 255
    std = torch.tensor(image.std, device=pixels.device) * 255
    return ((pixels - mean) / std).permute(0, 3, 1, 2)
