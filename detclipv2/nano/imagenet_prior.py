"""What the backbone learned on ImageNet, said in the words of the text tower.

Not in the paper: a switch (`NanoConfig.imagenet_prior`). A few thousand boxed photos name few
things, but the backbone came with a classifier of a thousand. Its opinion of a box, mixed from
vectors that stand for the class names among the region embeddings, is added to that box's region
embedding, so that everything after it (similarity, losses, post-processing) stays as it is. The
classifier knows only features as ImageNet left them, so the backbone must not be trained after C4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_STRIDE = 32
_EPS = 1e-3  # of the batch norms in EfficientNet-Lite
# The classifier looks at one of so many boxes, the best located: with a quarter, an eighth and a
# sixteenth of them coco_dev's AP50 was 13.9, 14.0 and 13.6.
_ONE_OF = 8
# Means over a box are less sure than the classifier was trained to be of whole photos. With 1.5, 2
# and 3 here coco_dev's AP50 was 16.2, 16.5 and 16.8.
_SHARPEN = 3.0
# A box is looked at in four points, the middles of its quarters.
_QUARTERS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))


class ImageNetPrior(nn.Module):
    """Class opinions of C5 cells, mixed from the embeddings of the class names.

    Args:
        channels: of C5.
        hidden: of the classifier's last convolution.
        classes: of the classifier.
        embed_dim: D.

    Attributes:
        names: (classes, D) vectors whose products with projected texts say how alike the texts and
            the class names are; they sum to zero.
        strength: weight of the opinion in the region embedding, learned.
    """

    names: Tensor

    def __init__(
        self, channels: int, embed_dim: int, hidden: int = 1280, classes: int = 1000
    ) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(channels, hidden, 1)
        self.classifier = nn.Conv2d(hidden, classes, 1)
        self.requires_grad_(False)
        self.register_buffer("names", torch.zeros(classes, embed_dim))
        self.strength = nn.Parameter(torch.tensor([0.8]))

    def load(self, weights: Mapping[str, Tensor], names: Tensor) -> None:
        """Take the classifier of timm's EfficientNet `weights` and (classes, D) `names`, centred.

        Raises:
            ValueError: the classifier has another number of classes than there are names.
        """
        if len(names) != len(weights["classifier.bias"]):
            raise ValueError(f"{len(names)} names for {len(weights['classifier.bias'])} classes")
        mean, variance = weights["bn2.running_mean"], weights["bn2.running_var"]
        scale, shift = weights["bn2.weight"], weights["bn2.bias"]
        folded = fuse_conv_bn_weights(
            weights["conv_head.weight"], None, mean, variance, _EPS, scale, shift
        )
        with torch.no_grad():
            self.hidden.weight.copy_(folded[0])
            self.hidden.bias.copy_(folded[1])  # type: ignore[union-attr]
            self.classifier.weight.copy_(weights["classifier.weight"][:, :, None, None])
            self.classifier.bias.copy_(weights["classifier.bias"])  # type: ignore[union-attr]
            self.names.copy_(names - names.mean(dim=0))

    def logits(self, c5: Tensor) -> Tensor:
        """(B, C, H, W) → (B, classes, H, W): the classifier without its pooling."""
        return self.classifier(self.last_features(c5))

    def last_features(self, c5: Tensor) -> Tensor:
        """(B, C, H, W) → (B, hidden, H, W): what the classifier's linear layer reads."""
        return F.relu6(self.hidden(c5))

    def forward(self, c5: Tensor, boxes: Tensor, localisation: Tensor) -> Tensor:
        """What to add to the region embeddings.

        Args:
            c5: (B, C, H, W).
            boxes: (B, A, 4) xyxy in pixels of the network's input.
            localisation: (B, A) logits; the classifier looks at the best of the boxes.

        Returns:
            (B, A, D). Zero where the classifier has no opinion: equal shares of all classes cancel.
            Only `strength` gets a gradient.
        """
        with torch.no_grad():
            # In whole numbers, which a traced graph computes anew for every size.
            some_of = (boxes.shape[1] + _ONE_OF - 1) // _ONE_OF
            looked_at = localisation.topk(some_of, dim=1).indices
            some = boxes.gather(1, looked_at[..., None].expand(-1, -1, 4))
            # The classifier is linear after its last convolution, so the mean of the cells' logits
            # is what it says of the box as a whole.
            means = average_over_boxes(self.logits(c5).permute(0, 2, 3, 1), some)
            share = (_SHARPEN * means).softmax(dim=-1)
            opinion = share @ self.names
            whole = opinion.new_zeros((*boxes.shape[:2], opinion.shape[-1]))
            whole.scatter_(1, looked_at[..., None].expand_as(opinion), opinion)
        return self.strength * whole


def average_over_boxes(cells: Tensor, boxes: Tensor) -> Tensor:
    """Mean of a map over boxes, by bilinear samples at the middles of their quarters.

    Args:
        cells: (B, H, W, D), cell (0, 0) has its middle at stride / 2.
        boxes: (B, A, 4) xyxy in pixels of the network's input; what lies outside counts as the
            border.

    Returns:
        (B, A, D).
    """
    batch, height, width, channels = cells.shape
    at = boxes.new_tensor(_QUARTERS)
    points = boxes[:, :, None, :2] + (boxes[:, :, None, 2:] - boxes[:, :, None, :2]) * at
    x = (points[..., 0] / _STRIDE - 0.5).clamp(0, width - 1)
    y = (points[..., 1] / _STRIDE - 0.5).clamp(0, height - 1)
    # Bilinear weights are hats of width one; C5 has few cells, so a dense product is fastest.
    columns = (1 - (x[..., None] - torch.arange(width, device=x.device)).abs()).clamp(min=0)
    rows = (1 - (y[..., None] - torch.arange(height, device=y.device)).abs()).clamp(min=0)
    weights = torch.einsum("baqh,baqw->bahw", rows, columns) / len(_QUARTERS)
    return weights.flatten(2) @ cells.reshape(batch, height * width, channels)


def imagenet_names() -> Sequence[str]:
    """English names of ImageNet's 1,000 classes in the classifier's order, first synonym each."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet1k")
    return [info.index_to_description(index).split(",")[0] for index in range(1000)]
