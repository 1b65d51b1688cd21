"""What a detector has beyond the paper, as frozen values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, get_args

from detclipv2.config import ModelConfig, Ranking


@dataclass(frozen=True)
class SecondTowerConfig:
    """The ensemble's second image tower; what it does not say is as in the `ModelConfig`.

    Attributes:
        backbone: timm's name.
        width: channels of its FPN and head.
        embeddings: its share in the region embeddings.
        boxes: its share in box deltas, centerness, foreground and IoU; the rest is the first's.
    """

    backbone: str
    width: int
    embeddings: float = 0.5
    boxes: float = 0.5

    def __post_init__(self) -> None:
        for name, share in (("embeddings", self.embeddings), ("boxes", self.boxes)):
            if not 0 < share < 1:
                raise ValueError(f"second.{name} is a share between 0 and 1, got {share}")
        if self.width % 8:
            raise ValueError(f"second.width must be a multiple of 8 (GroupNorm), got {self.width}")


@dataclass(frozen=True)
class NanoConfig:
    """Switches of `nano.tower.NanoTower`; the paper has none of these.

    Attributes:
        shortcut: adds a linear map of C4 and C5 to the region embeddings, for pyramids narrower
            than these.
        imagenet_prior: adds what the backbone's ImageNet classifier says of a region.
        prior_ranking: which boxes the classifier looks at, the best ones by this.
        second: a smaller tower that was trained apart; the mean of both counts for each anchor.
        int8: backbones and the classifier are stored in eight bits, see `nano.int8_weights`.
    """

    shortcut: bool = False
    imagenet_prior: bool = False
    prior_ranking: Ranking = "centerness"
    second: SecondTowerConfig | None = None
    int8: bool = False

    def __post_init__(self) -> None:
        if self.prior_ranking not in get_args(Ranking):
            raise ValueError(
                f"nano.prior_ranking must be one of {get_args(Ranking)}, got {self.prior_ranking!r}"
            )

    def check(self, config: ModelConfig) -> None:
        """Refuse what does not go with the network.

        Raises:
            ValueError: names both fields.
        """
        if self.imagenet_prior and not (config.similarity == "dot" and config.text.frozen):
            raise ValueError(
                "nano.imagenet_prior needs similarity 'dot' and text.frozen: it adds embeddings"
            )
        if self.shortcut and config.similarity != "dot":
            raise ValueError("nano.shortcut needs similarity 'dot': it adds to embeddings")
        if self.prior_ranking != "centerness" and not config.quality:
            raise ValueError(f"nano.prior_ranking {self.prior_ranking!r} needs model.quality=True")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NanoConfig:
        """Inverse of `to_dict`; unknown keys raise TypeError with their name."""
        second = values.get("second")
        return cls(**{**values, "second": second and SecondTowerConfig(**second)})


NANO = NanoConfig(
    shortcut=True,
    imagenet_prior=True,
    prior_ranking="both",
    second=SecondTowerConfig("tf_efficientnet_lite0", width=96, embeddings=0.4, boxes=0.5),
    int8=True,
)
"""Of the embedded checkpoint, beside `PRESETS["nano"]`."""
