"""How image-text pairs are learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from detclipv2.learning.alignment import Matching
from detclipv2.learning.contrastive import Side
from detclipv2.learning.proposals import Objectness
from train.data.transforms import View


@dataclass(frozen=True)
class PairsConfig:
    """Learning from image-text pairs; the paper's choices are the defaults.

    Attributes:
        weight: λ.
        temperature: τ of Eq. 5.
        smoothing: of the labels.
        side: which of the two is told apart.
        matching: one region a phrase (Eq. 3) or all of them, softly (Eq. 4).
        match_temperature: τ_t of Eq. 4.
        caption: does the whole caption count as a concept, beside its phrases?
        concepts: phrases of a caption at most.
        objectness: how proposals are ranked (Table 2a).
        k: proposals of a photo.
        nms_iou: of the proposals' suppression.
        region: all k of them, or only the largest, against the whole caption (Table 2b, Detic).
        support: phrases whose best region in their own photo scores less are noise; 0 keeps all.
        noise: what happens to those: "drop" leaves them out, "weigh" counts every phrase by its
            score instead.
        micro_batch: photos that go through the network at once; 0 for all, without caching.
        chunk: photos compared with all words at once, see `text_image_similarity`.
    """

    weight: float = 0.1
    temperature: float = 0.5
    smoothing: float = 0.1
    side: Side = "text_to_image"
    matching: Matching = "max"
    match_temperature: float = 0.1
    caption: bool = True
    concepts: int = 16
    objectness: Objectness = "text_batch"
    k: int = 100
    nms_iou: float = 0.6
    region: Literal["all", "largest"] = "all"
    support: float = 0.0
    noise: Literal["drop", "weigh"] = "drop"
    micro_batch: int = 0
    chunk: int = 16

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.match_temperature <= 0:
            raise ValueError(f"temperatures must be positive, got {self}")
        if self.side not in get_args(Side):
            raise ValueError(f"side must be one of {get_args(Side)}, got {self.side!r}")
        if self.region not in ("all", "largest") or self.noise not in ("drop", "weigh"):
            raise ValueError(f"region {self.region!r} or noise {self.noise!r} is unknown")
        if not 0 <= self.support < 1:
            raise ValueError(f"support is a score from 0 to below 1, got {self.support}")

    def texts(self, view: View) -> list[str]:
        """What counts as a photo's words; the largest box stands for the whole caption."""
        if self.region == "largest" and view.caption:
            return [view.caption]
        caption = [view.caption] if self.caption and view.caption else []
        return [*caption, *view.concepts[: self.concepts]]


TAGS = PairsConfig(side="image_to_text", k=1, smoothing=0.0, temperature=1.0, caption=False)
"""The appendix's way with ImageNet: plain cross-entropy over class names, one region a photo."""
