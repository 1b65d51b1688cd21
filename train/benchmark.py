"""Speed as ratios within one run: python -m train.benchmark [--model nano] [--threads N] [--only P]

Absolute times are this machine's of this moment; the ratios are what to quote. Every pair is timed
in turn, and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import deform_conv2d, sigmoid_focal_loss

from detclipv2.assets import demo_photos
from detclipv2.inference.predictor import Predictor
from detclipv2.language.concepts import load_concepts
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.learning.losses import focal_loss
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import Backbone
from detclipv2.nn.deform import deform_conv_bag
from train.metrics import detection, lvis
from train.metrics.rows import Rows, coco_results, join, make_rows

_ROUNDS = 15


@dataclass(frozen=True)
class Pair:
    """Median seconds of two ways to do something."""

    name: str
    seconds: float
    reference: float

    def __str__(self) -> str:
        return (
            f"| {self.name} | {1e3 * self.seconds:.1f} | {1e3 * self.reference:.1f} "
            f"| {self.seconds / self.reference:.2f} |"
        )


def compare(
    name: str, one: Callable[[], object], reference: Callable[[], object], *,
    rounds: int = _ROUNDS, warm: int = 2,
) -> Pair:  # fmt: skip
    """Time two calls in turn, after `warm` warm-ups of each."""
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(rounds + warm):
        for call, kept in zip((one, reference), times, strict=True):
            started = time.perf_counter()
            call()
            if index >= warm:
                kept.append(time.perf_counter() - started)
    return Pair(name, median(times[0]), median(times[1]))


def deformable() -> list[Pair]:
    """Our deformable convolution against torchvision's, forward and with backward."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 96, 32, 32), (4, 18, 32, 32), (4, 9, 32, 32), (96, 96, 3, 3))
    x, offset, mask, weight = (torch.randn(s, generator=generator).requires_grad_() for s in shapes)

    def ours() -> torch.Tensor:
        return deform_conv_bag(x, offset, mask, weight)

    def theirs() -> torch.Tensor:
        return deform_conv2d(x, offset, weight, padding=1, mask=mask)

    return [
        compare("deformable convolution : torchvision's", ours, theirs),
        compare(
            "the same with backward",
            lambda: ours().sum().backward(),  # type: ignore[no-untyped-call]
            lambda: theirs().sum().backward(),  # type: ignore[no-untyped-call]
        ),
        compare(
            "deformable : plain convolution, forward", ours, lambda: F.conv2d(x, weight, padding=1)
        ),
    ]


def focal() -> Pair:
    """Our focal loss against torchvision's, with backward."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 1000, 300, generator=generator).requires_grad_()
    targets = torch.rand(logits.shape, generator=generator) < 0.01
    return compare(
        "focal loss with backward : torchvision's",
        lambda: focal_loss(logits, targets).backward(),  # type: ignore[no-untyped-call]
        lambda: sigmoid_focal_loss(logits, targets.float(), reduction="sum").backward(),
    )


def words(predictor: Predictor, size: int) -> list[Pair]:
    """A photo with many cached prompts against one with few."""
    photo = demo_photos()[0]
    names = load_concepts().names
    few, some, many = (Vocabulary.of(names[:: len(names) // n][:n]) for n in (10, 80, 1203))

    def predict(vocabulary: Vocabulary) -> Callable[[], object]:
        return lambda: predictor.predict(photo, vocabulary, size=size)

    encoded = predictor.encode_image(photo, size)
    return [
        compare(f"photo at {size} px, 80 : 10 cached prompts", predict(some), predict(few)),
        compare(f"photo at {size} px, 1,203 : 10 cached prompts", predict(many), predict(few)),
        compare(
            "second vocabulary (80) : whole photo",
            lambda: predictor.detect(encoded, some),
            predict(some),
        ),
        compare(
            f"photo at {size} px, 2 tiles along it as well : whole",
            lambda: predictor.predict(photo, few, size=size, tiles=2),
            predict(few),
        ),
    ]


def additions(model: DetCLIPv2, size: int) -> list[Pair]:
    """The image tower with each part that the paper does not have, against the tower without it."""
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    pixels = pixels.contiguous(memory_format=torch.channels_last)

    def look(name: str, part: nn.Module | None) -> None:
        setattr(model, name, part)
        with torch.inference_mode():
            model.encode_image(pixels)

    pairs = []
    for name in ("shortcut", "knowledge"):
        if (part := getattr(model, name)) is not None:
            title = f"image of {size} px, with : without {name}"
            pairs.append(compare(title, partial(look, name, part), partial(look, name, None)))
            setattr(model, name, part)
    return pairs


def folding(model: DetCLIPv2, size: int) -> Pair:
    """The image tower with batch norms folded into the convolutions, against the same without."""
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    pixels = pixels.contiguous(memory_format=torch.channels_last)

    def look(tower: DetCLIPv2) -> None:
        with torch.inference_mode():
            tower.encode_image(pixels)

    title = f"image of {size} px, batch norms folded : as trained"
    return compare(title, partial(look, model.for_inference()), partial(look, model))


def depthwise(name: str, size: int) -> Pair:
    """A backbone forward and backward in bf16, with its depthwise kernels left as they are."""
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    held, free = (Backbone(name).to(memory_format=torch.channels_last) for _ in range(2))
    held.freeze(0, depthwise=True)

    def learn(backbone: Backbone) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            total = torch.stack([m.float().sum() for m in backbone(pixels)]).sum()
        total.backward()  # type: ignore[no-untyped-call]

    title = f"backbone with backward, bf16, {size} px, depthwise kernels frozen : all learn"
    return compare(title, partial(learn, held), partial(learn, free), rounds=5, warm=1)


def metrics(photos: int = 300, classes: int = 1203, boxes: int = 300) -> list[Pair]:
    """Our figures against the reference APIs, from rows and loaded annotations to arrays.

    Made-up photos with LVIS's number of classes; the figures' equality is a matter of tests.
    """
    import contextlib
    import io
    import tempfile

    from lvis import LVIS, LVISEval, LVISResults
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, rows = _made_up_set(photos, classes, boxes)
    results = coco_results(rows)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(truth, file)
        file.flush()
        lvis_truth = LVIS(file.name)
    coco_truth = COCO()
    coco_truth.dataset = copy.deepcopy(truth)
    with contextlib.redirect_stdout(io.StringIO()):
        coco_truth.createIndex()

    def by_lvis() -> None:
        with lvis.lent_numpy_float():
            LVISEval(lvis_truth, LVISResults(lvis_truth, results), "bbox").run()

    def by_coco(classes: bool, cap: int) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(coco_truth, coco_truth.loadRes(results), "bbox")
            evaluation.params.useCats, evaluation.params.maxDets = int(classes), [cap]
            evaluation.evaluate()
            evaluation.accumulate()

    brief = {"rounds": 3, "warm": 0}  # a round of the references takes half a minute
    return [
        compare(f"LVIS AP, {photos} photos × {boxes} boxes : lvis",
                lambda: lvis.average_precision(truth, rows), by_lvis, **brief),
        compare("COCO AP, the same boxes : pycocotools",
                lambda: detection.average_precision(truth, rows),
                lambda: by_coco(True, 100), **brief),
        compare(f"class-agnostic AR@{boxes} : pycocotools",
                lambda: detection.average_recall(truth, rows, boxes),
                lambda: by_coco(False, boxes), **brief),
    ]  # fmt: skip


def _made_up_set(photos: int, classes: int, boxes: int) -> tuple[dict[str, Any], Rows]:
    """LVIS's fields, 12 true boxes a photo, and `boxes` found ones around them."""
    rng = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    parts: list[Rows] = []
    for number in range(1, photos + 1):
        corner, side = rng.uniform(0, 400, (12, 2)), np.exp(rng.uniform(2.5, 5, (12, 2)))
        kinds = rng.integers(1, classes + 1, 12)
        annotations += [
            {"id": len(annotations) + i, "image_id": number, "category_id": int(kinds[i - 1]),
             "bbox": [*c.tolist(), *s.tolist()], "area": float(s.prod()), "iscrowd": 0}
            for i, (c, s) in enumerate(zip(corner, side, strict=True), 1)
        ]  # fmt: skip
        images.append({
            "id": number, "width": 640, "height": 640, "not_exhaustive_category_ids": [],
            "neg_category_ids": rng.choice(classes, 20, replace=False).tolist(),
        })  # fmt: skip
        chosen = rng.integers(0, 12, boxes)
        found = np.concatenate((corner, corner + side), axis=1)[chosen]
        found = found + rng.normal(0, 4, found.shape)
        names = np.where(rng.random(boxes) < 0.3, kinds[chosen], rng.integers(1, classes, boxes))
        parts.append(make_rows(number, names, found, rng.random(boxes)))
    categories = [
        {"id": i, "name": f"class {i}", "frequency": "rcf"[i % 3]} for i in range(1, classes + 1)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}, join(parts)


def import_seconds() -> float:
    """Median time of `import detclipv2` in a fresh process, less an empty process's."""
    times = []
    for code in ("import detclipv2, detclipv2.model", "") * 3:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - started)
    return median(times[::2]) - median(times[1::2])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="nano", help="embedded name or checkpoint folder")
    parser.add_argument("--size", type=int, default=320, help="long side of the network's input")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--only", choices=("model", "metrics"), help="one part alone")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, model {options.model}\n")
    print("| what | ms | reference ms | ratio |\n|---|---|---|---|")
    if options.only != "metrics":
        predictor = Predictor(DetCLIPv2.from_pretrained(options.model))
        own = predictor.model.config.image.size
        tower = predictor.model.for_inference()
        for pair in (*words(predictor, options.size), *additions(tower, own)):
            print(pair)
        print(folding(predictor.model, own))
        print(depthwise(predictor.model.config.backbone, own))
        for pair in (*deformable(), focal()):
            print(pair)
    if options.only != "model":
        for pair in metrics():
            print(pair)
    print(f"\nimport detclipv2.model: {import_seconds():.2f} s")


if __name__ == "__main__":
    main()
