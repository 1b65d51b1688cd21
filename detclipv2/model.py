"""DetCLIPv2: one detector, one text encoder, no fusion; they meet in a similarity matrix."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detclipv2.config import STRIDES, ModelConfig
from detclipv2.geometry.anchors import decode, grid_anchors
from detclipv2.nn.image_tower import ImageTower
from detclipv2.nn.text_encoder import TextEncoder
from detclipv2.regions import Regions
from detclipv2.serving import SERVING, ServingConfig


class DetCLIPv2(nn.Module):
    """The network with random weights; `detclipv2.checkpoint.load_checkpoint` gives a trained one.

    Args:
        config: what the network is.
        image_tower: pixels → `ImageOutputs`; None for the paper's.
        text_encoder: texts → (K, D) unit vectors; None for the paper's.
        serving: how it is meant to be used; the network does not read it, `Predictor` does. None
            for that of the preset of the same name.
    """

    def __init__(
        self,
        config: ModelConfig,
        image_tower: ImageTower | None = None,
        text_encoder: TextEncoder | None = None,
        serving: ServingConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.serving = serving or SERVING.get(config.name, ServingConfig())
        self.image_tower = image_tower or ImageTower(config)
        self.text_encoder = text_encoder or TextEncoder(config.text, config.embed_dim)
        # Of one element, not scalars: FSDP cannot shard those.
        self.log_scale = nn.Parameter(torch.tensor([math.log(config.initial_scale)]))
        self.bias = nn.Parameter(torch.tensor([-math.log((1 - config.prior) / config.prior)]))

    def encode_image(self, pixels: Tensor) -> Regions:
        """(B, 3, H, W) normalised pixels, H and W multiples of 32 → `Regions`.

        Raises:
            ValueError: another shape.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] % 32 or pixels.shape[3] % 32:
            raise ValueError(
                f"pixels must be (B, 3, H, W), H and W multiples of 32, got {tuple(pixels.shape)}"
            )
        outputs = self.image_tower(pixels)
        embeddings = outputs.embeddings
        if self.config.similarity == "cosine":
            embeddings = F.normalize(embeddings, dim=-1)
        anchors = grid_anchors(outputs.sizes, STRIDES, self.config.anchor_scale, pixels.device)
        foreground, iou = (None, None) if outputs.quality is None else outputs.quality.unbind(-1)
        return Regions(
            boxes=decode(anchors, outputs.deltas.float()),
            embeddings=embeddings,
            centerness=outputs.centerness,
            localisation=outputs.centerness,
            anchors=anchors,
            level_counts=tuple(h * w for h, w in outputs.sizes),
            foreground=foreground,
            iou=iou,
        )

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """K texts, each alone and as given (no template) → (K, D) unit vectors."""
        if not texts:
            return self.bias.new_zeros((0, self.config.embed_dim))
        return self.text_encoder(texts)

    def words(self, concepts: Tensor) -> Tensor:
        """(K, D) unit concepts → (K, D) at the learned scale, ready for the dot product."""
        # Scaling the K × D side is cheaper than the A × K product.
        return concepts * self.log_scale.exp()

    def similarity(self, embeddings: Tensor, concepts: Tensor) -> Tensor:
        """Eq. 1: (..., A, D) regions' embeddings, (K, D) concepts → (..., A, K) logits."""
        return embeddings @ self.words(concepts).T + self.bias

    def forward(
        self, pixels: Tensor | None, concepts: Sequence[str] | Tensor | None
    ) -> tuple[Regions | None, Tensor | None, Tensor]:
        """Both towers in one call, as data-parallel wrappers need it; None leaves a tower out.

        Args:
            pixels: as for `encode_image`.
            concepts: K texts, or what a frozen text tower's `pooled` gave for them (K, width).

        Returns:
            The regions, `words` of the concepts (K, D) and the bias (1,); the logits of Eq. 1 are
            `regions.embeddings @ words.T + bias`.
        """
        regions = None if pixels is None else self.encode_image(pixels)
        words = None
        if concepts is not None:
            encoded = (
                self.text_encoder.project(concepts)
                if isinstance(concepts, Tensor)
                else self.encode_text(concepts)
            )
            words = self.words(encoded)
        # A copy: parameters may be handed back to their shards when this call ends.
        return regions, words, self.bias + 0

    def for_inference(self) -> DetCLIPv2:
        """This model with faster backbones, see `nn.fold`; all other parts are the same objects.

        The backbones' weights are those of now: what is trained later does not change them.
        """
        view = copy.copy(self)
        view._modules = {**self._modules, "image_tower": self.image_tower.for_inference()}
        return view

    @classmethod
    def from_pretrained(cls, source: str) -> NoReturn:
        """Removed in version 0.2."""
        raise AttributeError(
            f"DetCLIPv2.from_pretrained is now detclipv2.checkpoint.load_checkpoint({source!r})"
        )
