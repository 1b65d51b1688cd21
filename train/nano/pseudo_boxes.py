"""Boxes for photos that have only a name: those in which a trained detector finds it.

    python -m train.nano.pseudo_boxes CHECKPOINT DATA runs/NAME/pseudo_boxes.json

The pairs' loss picks the region that is most like a word anew at each step and pulls the two
together, on small photos. What was picked can also be kept: then the photo is learned from like a
boxed one, at full size and in mosaics. It is in the manner of Detic (Zhou et al. 2022), but with
the region that is most like the name instead of the largest.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from detclipv2.checkpoint import load_checkpoint
from detclipv2.command import run_command
from detclipv2.geometry.boxes import clip, iou_matrix
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.predictor import Predictor
from detclipv2.nano.imagenet_prior import imagenet_names
from detclipv2.nano.tower import NanoTower
from train.data.dictionary.everyday import everyday_words
from train.data.readers.ov_mini import tag_samples
from train.data.sample import Sample

logger = logging.getLogger(__name__)

_AGREE = 0.6
"""Least IoU of the two boxes that are best by two ways to rank."""


def find_box(encoded: EncodedImage, similar: Tensor) -> Tensor | None:
    """The box that holds what a photo is named after, or None where it is not sure.

    Args:
        encoded: of the photo.
        similar: (A,) of its regions with the name, in 0..1.

    Returns:
        (4,) xyxy in pixels of the photo, clipped to it: that of the best region by similarity and
        objectness, if the best one by similarity and localisation shows about the same.
    """
    regions = encoded.regions
    best = torch.stack(
        [
            (similar * regions.objectness).argmax(),
            (similar * regions.localisation.sigmoid()).argmax(),
        ]
    )
    boxes = clip(encoded.letterbox.to_original(regions.boxes[best]), *encoded.size)
    return boxes[0] if float(iou_matrix(boxes[:1], boxes[1:])) >= _AGREE else None


@torch.inference_mode()
def named_boxes(predictor: Predictor, samples: Sequence[Sample], root: Path) -> dict[str, Any]:
    """Photos with a class and a box each, in COCO's format.

    Args:
        predictor: finds them.
        samples: photos with one concept each.
        root: what file names are relative to.

    Returns:
        The categories have a list of `names`: the photo's own and the everyday word for it.
    """
    everyday = _everyday()
    categories: dict[str, dict[str, Any]] = {}
    images: list[dict[str, Any]] = []
    annotations = []
    for sample in tqdm(samples, unit="photo", mininterval=10):
        (name,) = sample.concepts
        word = everyday.get(name.casefold()) or name
        encoded = predictor.encode_image(sample.image)
        # The word is less sure to be known than the name, and more often: either will do.
        concepts = predictor.encode_texts(list(dict.fromkeys([name, word])))
        similar = predictor.model.similarity(encoded.regions.embeddings, concepts).sigmoid()
        box = find_box(encoded, similar.amax(dim=1))
        if box is None:
            continue
        category = categories.setdefault(
            name, {"id": len(categories) + 1, "name": name, "names": [name, word]}
        )
        left, top, right, bottom = (round(float(v), 1) for v in box)
        number = len(images) + 1
        images.append(
            {
                "id": number,
                "file_name": str(Path(sample.image).relative_to(root)),
                "width": encoded.size[0],
                "height": encoded.size[1],
            }
        )
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": category["id"],
                "bbox": [left, top, right - left, bottom - top],
            }
        )
    return {
        "info": {"exhaustive": False},
        "images": images,
        "annotations": annotations,
        "categories": list(categories.values()),
    }


def _everyday() -> dict[str, str]:
    pairs = zip(imagenet_names(), everyday_words(), strict=True)
    return {name.casefold(): word for name, word in pairs}


def find_boxes(checkpoint: str | Path, root: Path) -> tuple[dict[str, Any], int]:
    """What a checkpoint finds in OV-mini's photos with one class name, and how many there are.

    The ImageNet prior has no say in it.
    """
    model = load_checkpoint(checkpoint)
    if isinstance(model.image_tower, NanoTower):
        model.image_tower.prior = None
    samples = [sample for sample in tag_samples(root) if len(sample.concepts) == 1]
    return named_boxes(Predictor(model, device="cpu"), samples, root), len(samples)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="an embedded one by name, or a folder")
    parser.add_argument("root", type=Path, metavar="DATA", help="OV-mini's folder")
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    found, photos = find_boxes(options.checkpoint, options.root)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found), encoding="utf-8")
    logger.info("%d of %d photos have a box", len(found["images"]), photos)


if __name__ == "__main__":
    run_command(main)
