"""DetCLIPv2: one detector, one text tower, no fusion; they meet in a similarity matrix."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detclipv2.config import STRIDES, ModelConfig, PartnerConfig
from detclipv2.geometry.anchors import decode, grid_anchors
from detclipv2.nano.imagenet_prior import ImageNetKnowledge
from detclipv2.nano.shortcut import Shortcut
from detclipv2.nn.backbone import Backbone
from detclipv2.nn.fold import folded
from detclipv2.nn.fpn import FeaturePyramid
from detclipv2.nn.head import ATSSHead
from detclipv2.nn.image_tower import ImageTower, look
from detclipv2.nn.text_encoder import TextEncoder


@dataclass(frozen=True)
class Regions:
    """What the image tower says of a batch.

    Attributes:
        boxes: (B, A, 4) xyxy in pixels of the network's input.
        embeddings: (B, A, D), unit vectors where the similarity is "cosine".
        centerness: (B, A) logits.
        localisation: (B, A) logits of how well the box fits whatever it holds, the factor beside
            the similarity in a score; see `ModelConfig.localisation`.
        anchors: (A, 4) xyxy in pixels of the network's input.
        level_counts: anchors of each pyramid level, finest first; they sum to A.
        foreground: (B, A) logits of holding any object, where the head has the branch.
        iou: (B, A) logits of the box's IoU with its object, where the head has the branch.
    """

    boxes: Tensor
    embeddings: Tensor
    centerness: Tensor
    localisation: Tensor
    anchors: Tensor
    level_counts: tuple[int, ...]
    foreground: Tensor | None = None
    iou: Tensor | None = None

    @property
    def objectness(self) -> Tensor:
        """(B, A) in 0..1: how surely a box holds one whole thing, whatever that is.

        The foreground's times the square of the IoU's, where the head has the branches: OLN (Kim et
        al. 2022) ranks proposals by how well they fit rather than by what they hold. The
        localisation elsewhere.
        """
        if self.foreground is None or self.iou is None:
            return self.localisation.float().sigmoid()
        return self.foreground.float().sigmoid() * self.iou.float().sigmoid().square()


class DetCLIPv2(nn.Module):
    """The network with random weights; `from_pretrained` gives a trained one."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # In this order, so that a seed gives the random weights that it gave before.
        self.backbone, self.fpn, self.head = _parts(config, config.backbone, config.width)
        self.text = TextEncoder(config.text, config.embed_dim)
        self.knowledge = (
            ImageNetKnowledge(
                self.backbone.channels[-1],
                config.embed_dim,
                late=copy.deepcopy(self.backbone.after_c4()) if config.knowledge_late else None,
            )
            if config.knowledge
            else None
        )
        self.shortcut = _shortcut(config, self.backbone)
        self.partner = _partner(config, config.partner) if config.partner else None
        # Of one element, not scalars: FSDP cannot shard those.
        self.log_scale = nn.Parameter(torch.tensor([math.log(config.initial_scale)]))
        self.bias = nn.Parameter(torch.tensor([-math.log((1 - config.prior) / config.prior)]))

    @classmethod
    def from_pretrained(cls, source: str | Path) -> DetCLIPv2:
        """A trained model in evaluation: an embedded one by name ("nano") or a checkpoint folder.

        Raises:
            detclipv2.checkpoint.CheckpointError: no such checkpoint, or a damaged one.
        """
        from detclipv2.checkpoint import load

        return load(source)

    def save_pretrained(self, folder: str | Path, card: dict[str, Any] | None = None) -> None:
        """Write a checkpoint folder that `from_pretrained` reads; `card` is its provenance."""
        from detclipv2.checkpoint import save

        save(self, folder, card)

    def encode_image(self, pixels: Tensor) -> Regions:
        """(B, 3, H, W) normalised pixels, H and W multiples of 32 → `Regions`.

        Raises:
            ValueError: another shape.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] % 32 or pixels.shape[3] % 32:
            raise ValueError(
                f"pixels must be (B, 3, H, W), H and W multiples of 32, got {tuple(pixels.shape)}"
            )
        seen = look(pixels, self.backbone, self.fpn, self.head, self.shortcut)
        if self.partner is not None and (shares := self.config.partner):
            seen = seen.mean_with(self.partner(pixels), shares.meaning, shares.place)
        embeddings = seen.embeddings
        if self.config.similarity == "cosine":
            embeddings = F.normalize(embeddings, dim=-1)
        anchors = grid_anchors(seen.sizes, STRIDES, self.config.anchor_scale, pixels.device)
        boxes = decode(anchors, seen.deltas.float())
        foreground, iou = (None, None) if seen.quality is None else seen.quality.unbind(-1)
        localisation = self._localisation(seen.centerness, iou)
        if self.knowledge is not None:
            c5 = self.knowledge.c5(seen.features)
            embeddings = embeddings + self.knowledge(c5, boxes, localisation)
        return Regions(
            boxes=boxes,
            embeddings=embeddings,
            centerness=seen.centerness,
            localisation=localisation,
            anchors=anchors,
            level_counts=tuple(h * w for h, w in seen.sizes),
            foreground=foreground,
            iou=iou,
        )

    def _localisation(self, centerness: Tensor, iou: Tensor | None) -> Tensor:
        if self.config.localisation == "centerness" or iou is None:
            return centerness
        if self.config.localisation == "iou":
            return iou
        # The logit of the product of two shares.
        product = F.logsigmoid(centerness.float()) + F.logsigmoid(iou.float())
        return product - torch.log(-torch.expm1(product.clamp(max=-1e-6)))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """K texts, each alone and as given (no template) → (K, D) unit vectors."""
        if not texts:
            return self.bias.new_zeros((0, self.config.embed_dim))
        return self.text(texts)

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
                self.text.project(concepts)
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
        view._modules = {**self._modules, "backbone": folded(self.backbone)}
        if self.partner is not None:
            view._modules["partner"] = self.partner.for_inference()
        return view

    def without_partner(self) -> DetCLIPv2:
        """This model with its own image tower alone: sooner done, finds less; parts are shared."""
        view = copy.copy(self)
        view.config = replace(self.config, partner=None)
        view._modules = {**self._modules, "partner": None}
        return view

    @property
    def backbones(self) -> list[Backbone]:
        """Its own, and the partner's where it has one."""
        return [self.backbone] if self.partner is None else [self.backbone, self.partner.backbone]

    @property
    def fingerprint(self) -> str:
        """Hex digest of what a checkpoint's scores come from, whatever its file is called.

        All weights, and the calibration, the softer suppression, the partner's shares and
        further looks where there are such.
        """
        calibration = (self.config.score_scale, self.config.score_bias)
        salt = b"" if calibration == (1.0, 0.0) else repr(calibration).encode()
        if self.config.soft_nms:
            salt += f"soft {self.config.soft_nms}".encode()
        if shares := self.config.partner:
            salt += f"partner {shares.meaning} {shares.place}".encode()
        if second := self.config.image.second:
            salt += f"second {second}".encode()
        if half := self.config.image.half:
            salt += f"half {half}".encode()
        return _digest(self.state_dict().items(), salt)

    @property
    def text_fingerprint(self) -> str:
        """Hex digest of all that `encode_text` depends on."""
        shape = repr((self.config.text.arch, self.config.text.heads, self.config.text.max_tokens))
        return _digest(self.text.state_dict().items(), shape.encode())


def _parts(config: ModelConfig, name: str, width: int) -> tuple[Backbone, FeaturePyramid, ATSSHead]:
    """Of an image tower with this backbone and so many channels."""
    backbone = Backbone(name, config.drop_path)
    fpn = FeaturePyramid(backbone.channels, width)
    head = ATSSHead(
        width,
        config.tower_depth,
        config.embed_dim,
        embed_kernel=config.embed_kernel,
        levels=len(STRIDES),
        deformable=config.deformable,
        deform_min_level=config.deform_min_level,
        quality=config.quality,
    )
    return backbone, fpn, head


def _shortcut(config: ModelConfig, backbone: Backbone) -> Shortcut | None:
    return Shortcut(backbone.channels[-2:], config.embed_dim) if config.shortcut else None


def _partner(config: ModelConfig, partner: PartnerConfig) -> ImageTower:
    backbone, fpn, head = _parts(config, partner.backbone, partner.width)
    return ImageTower(backbone, fpn, head, _shortcut(config, backbone))


def _digest(tensors: Iterable[tuple[str, Tensor]], salt: bytes = b"") -> str:
    digest = hashlib.sha256(salt)
    for name, tensor in tensors:
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
