"""Looking at a picture: the looks a model takes at it, and what they say together.

The first look is at the whole picture, and where the model says so a second one at half the size
has a part in it. Closer looks add small things: the whole picture larger, or tiles of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.images import Letterbox, letterbox
from detclipv2.inference.multi_scale.average import blend
from detclipv2.inference.multi_scale.merge import join
from detclipv2.inference.multi_scale.tiles import lay_tiles
from detclipv2.regions import Regions, picture_of

if TYPE_CHECKING:
    from PIL import Image

    from detclipv2.config import ImageConfig
    from detclipv2.inference.fair_lock import FairLock
    from detclipv2.inference.runtimes.traceable import Encoder
    from detclipv2.serving import Looks, ServingConfig

LARGEST = 1.5
"""Side of the largest things that a second look adds, in sides of the first look's finest anchors.
From 0.7 to 3 nano's phrase Recall@1 moves by 0.4."""
_AT_ONCE = 8  # tiles in a batch: memory must not grow with their number


class MultiScaleEncoder:
    """An image tower on its device, and the looks it takes at a photo. Thread-safe.

    Attributes:
        passes: how often the tower has run.
    """

    def __init__(
        self,
        tower: Encoder,
        image: ImageConfig,
        serving: ServingConfig,
        device: torch.device,
        lock: FairLock,
    ) -> None:
        """Take a tower.

        Args:
            tower: see `choose_encoder`.
            image: how pixels are normalised.
            serving: which looks it takes when no size is asked for.
            device: the tower's.
            lock: held while it runs.
        """
        self.passes = 0
        self._tower = tower
        self._image = image
        self._serving = serving
        self._device = device
        self._lock = lock

    def first(
        self, picture: Image.Image, size: int | None = None, looks: Looks = "thorough"
    ) -> EncodedImage:
        """The whole picture, upright RGB.

        Args:
            picture: as `open_image` returns it.
            size: long side of the input, for one look; None for the checkpoint's own.
            looks: "fast" for one look.
        """
        side = self._side(picture, size)
        whole = EncodedImage(*self._look([picture], side)[0], picture.size)
        if size is not None or looks == "fast" or not self._serving.half:
            return whole
        half = EncodedImage(*self._look([picture], side // 2)[0], picture.size)
        return blend(whole, half, self._serving.half)

    def closely(
        self,
        picture: Image.Image,
        size: int | None = None,
        tiles: int = 1,
        looks: Looks = "thorough",
    ) -> EncodedImage:
        """The whole picture, and closer looks at it.

        Args:
            picture: as for `first`.
            size: as for `first`; it is that of every tile, too.
            tiles: along the long side; 1 for none. See `lay_tiles`.
            looks: "fast" for one look at the whole picture, beside the tiles.
        """
        layout = lay_tiles(picture.size, tiles)
        found = self.first(picture, size, looks)
        if size is None and looks == "thorough" and self._serving.second:
            again = self._look([picture], self._serving.second)
            found = join(found, [(0, 0, *picture.size)], again, largest=LARGEST)
        if layout:
            seen = []
            for first in range(0, len(layout), _AT_ONCE):
                some = [picture.crop(tile) for tile in layout[first : first + _AT_ONCE]]
                seen += self._look(some, self._side(some[0], size))
            found = join(found, layout, seen)
        return found

    def _side(self, picture: Image.Image, size: int | None) -> int:
        return self._serving.long_side(*picture.size) if size is None else size

    def _look(self, pictures: list[Image.Image], side: int) -> list[tuple[Regions, Letterbox]]:
        """What the tower says of pictures of one size, as one batch."""
        pixels, boxes = zip(*(letterbox(p, side, self._image) for p in pictures), strict=True)
        batch = torch.stack(pixels).to(self._device).contiguous(memory_format=torch.channels_last)
        with self._lock, torch.inference_mode():
            regions = self._tower(batch)
            self.passes += 1
        return [(picture_of(regions, index), box) for index, box in enumerate(boxes)]
