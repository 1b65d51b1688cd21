"""Speed as ratios within one run.

    python -m train.benchmark [--model nano] [--threads N] [--only P]

Absolute times are this machine's of this moment; the ratios are what to quote. Every pair is timed
in turn, and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import deform_conv2d, sigmoid_focal_loss

from detclipv2.assets import demo_photos
from detclipv2.checkpoint import load_checkpoint
from detclipv2.command import run_command
from detclipv2.inference.images import open_image
from detclipv2.inference.predictor import Predictor
from detclipv2.inference.runtimes.openvino import GraphError, OpenVINOTower
from detclipv2.language.concepts import load_concepts
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.learning.losses import focal_loss
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import Backbone
from detclipv2.nn.deform import deform_conv_bag
from detclipv2.nn.norm import GroupNorm
from train.profiling.metrics import metrics
from train.profiling.timing import Pair, compare


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


def all_looks(predictor: Predictor) -> list[Pair]:
    """A photo with all the model's looks, if it takes several, against one look."""
    serving = predictor.model.serving
    if len(serving.sides) == 1:
        return []
    photo, words = open_image(demo_photos()[0]), ["cat", "cup"]
    sizes = " + ".join(map(str, serving.sides))
    title = f"photo at {sizes} px : one look, {predictor.runtime}"
    return [
        compare(
            title,
            lambda: predictor.predict(photo, words),
            lambda: predictor.predict(photo, words, looks="fast"),
        )
    ]


def additions(model: DetCLIPv2, size: int) -> list[Pair]:
    """The image tower with each part that the paper does not have, against the tower without it."""
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    pixels = pixels.contiguous(memory_format=torch.channels_last)

    def run(name: str, part: nn.Module | None) -> None:
        setattr(model.image_tower, name, part)
        with torch.inference_mode():
            model.encode_image(pixels)

    pairs = []
    for name, part in additions_of(model).items():
        title = f"image of {size} px, with : without {name}"
        pairs.append(compare(title, partial(run, name, part), partial(run, name, None)))
        setattr(model.image_tower, name, part)
    return pairs


def additions_of(model: DetCLIPv2) -> dict[str, nn.Module]:
    """The parts of the image tower that the paper's does not have, by name."""
    own = {"backbone", "fpn", "head"}
    return {name: part for name, part in model.image_tower.named_children() if name not in own}


def folding(model: DetCLIPv2, size: int) -> Pair:
    """The image tower with batch norms folded into the convolutions, against the same without."""
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    pixels = pixels.contiguous(memory_format=torch.channels_last)

    def run(tower: DetCLIPv2) -> None:
        with torch.inference_mode():
            tower.encode_image(pixels)

    title = f"image of {size} px, batch norms folded : as trained"
    return compare(title, partial(run, model.for_inference()), partial(run, model))


def runtimes(model: DetCLIPv2, size: int) -> list[Pair]:
    """The image tower by OpenVINO and by PyTorch, and what its parts cost by OpenVINO."""
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))

    def run() -> None:
        with torch.inference_mode():
            model.encode_image(pixels.contiguous(memory_format=torch.channels_last))

    graph = OpenVINOTower(model)
    pairs = [compare(f"image of {size} px, OpenVINO : PyTorch", partial(graph, pixels), run)]
    with contextlib.suppress(GraphError):  # a CPU that cannot
        rounding = OpenVINOTower(model, bf16=True)
        title = f"image of {size} px, OpenVINO in bf16 : PyTorch"
        pairs.append(compare(title, partial(rounding, pixels), run))
    for name, part in additions_of(model).items():
        setattr(model.image_tower, name, None)
        plain = OpenVINOTower(model)
        setattr(model.image_tower, name, part)
        title = f"image of {size} px, with : without {name}, OpenVINO"
        pairs.append(compare(title, partial(graph, pixels), partial(plain, pixels)))
    return pairs


def norms() -> list[Pair]:
    """A head's group norm in bf16 with backward, against torch's in the same precision."""
    generator = torch.Generator().manual_seed(0)

    def learn(norm: nn.Module, maps: torch.Tensor, gradient: torch.Tensor) -> None:
        norm(maps).backward(gradient)

    pairs = []
    for size in ((40, 56), (20, 28)):
        maps, gradient = (
            torch.randn(16, 128, *size, generator=generator)
            .bfloat16()
            .contiguous(memory_format=torch.channels_last)
            for _ in range(2)
        )
        maps.requires_grad_()
        ours, theirs = (
            partial(learn, norm, maps, gradient)
            for norm in (GroupNorm(32, 128), nn.GroupNorm(32, 128))
        )
        title = f"group norm with backward, bf16, {size[0]} × {size[1]} : torch's"
        pairs.append(compare(title, ours, theirs))
    return pairs


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
        predictor = Predictor(load_checkpoint(options.model))
        own = predictor.model.serving.size
        tower = predictor.model.for_inference()
        quick = Predictor(predictor.model, runtime="openvino")
        for pair in (
            *words(predictor, options.size),
            *all_looks(predictor),
            *all_looks(quick),
            *additions(tower, own),
            *runtimes(tower, own),
        ):
            print(pair)
        print(folding(predictor.model, own))
        print(depthwise(predictor.model.config.backbone, own))
        for pair in (*norms(), *deformable(), focal()):
            print(pair)
    if options.only != "model":
        for pair in metrics():
            print(pair)
    print(f"\nimport detclipv2.model: {import_seconds():.2f} s")


if __name__ == "__main__":
    run_command(main)
