"""What the image tower said of one picture, kept for any number of vocabularies."""

from __future__ import annotations

from dataclasses import dataclass

from detclipv2.inference.images import Letterbox
from detclipv2.regions import Regions, choose


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """What the image tower says of one picture; any number of vocabularies can follow.

    Attributes:
        regions: on the CPU and without the batch axis: boxes (A, 4) in the input's pixels,
            embeddings (A, D), the logits (A,). Those of closer looks, where there were any, follow
            those that `regions.level_counts` describes.
        letterbox: from the input's pixels to the original's and back.
        size: width and height of the upright original.
    """

    regions: Regions
    letterbox: Letterbox
    size: tuple[int, int]

    @property
    def first_look(self) -> Regions:
        """The regions without those of closer looks."""
        return choose(self.regions, slice(sum(self.regions.level_counts)))
