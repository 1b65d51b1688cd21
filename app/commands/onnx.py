"""`app.cli onnx`: the detector for one vocabulary, as a file for other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from app.commands.adapted_option import adapted_of
from app.commands.detect_arguments import MODEL, UsageError, add_prompts, vocabulary_of
from app.commands.detection_options import add_adapted, add_detection, detection_settings
from app.commands.vocabulary_notes import print_vocabulary
from app.runs.files import readable
from detclipv2.checkpoint import load_checkpoint

EXAMPLE = """\
example:
  detclipv2 onnx --prompts "cat, a red mug @0.4" --canvas 448x320 --out cats.onnx

A canvas shaped like the photos costs least, and gives the same boxes as `detect --size` with its
long side: the file looks once.
"""


def add_command(commands: Any) -> None:
    """Define `onnx` among the sub-commands."""
    parser = commands.add_parser(
        "onnx",
        help="write the detector for the classes you name as an ONNX file",
        description="Write the detector for the classes you name, with thresholds and suppression "
        "inside, as an ONNX file that needs neither Python nor this package.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_prompts(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="what to write")
    parser.add_argument(
        "--model",
        default=MODEL,
        metavar="NAME",
        help="a shipped model's name or a checkpoint folder (default: %(default)s)",
    )
    parser.add_argument(
        "--canvas",
        type=_canvas,
        metavar="WxH",
        help="width and height of the input in pixels, multiples of 32 (default: a square of the "
        "model's own size)",
    )
    add_adapted(parser)
    add_detection(parser, "threshold", "nms_iou", "max_boxes")
    parser.set_defaults(act=run_onnx)


def run_onnx(arguments: argparse.Namespace) -> int:
    """Write the file, and say how to feed it."""
    from detclipv2 import Predictor
    from detclipv2.checkpoint import CheckpointError
    from detclipv2.inference.onnx_export import ExportError, export_onnx

    vocabulary = vocabulary_of(arguments)
    if not arguments.out.parent.is_dir():
        raise UsageError(f"--out {arguments.out}: there is no folder {arguments.out.parent}")
    try:
        predictor = Predictor(load_checkpoint(arguments.model), device="cpu")
        predictor = predictor.adapted(adapted_of(arguments))
        vocabulary = predictor.vocabulary(vocabulary)
        print_vocabulary(vocabulary, lambda line: print(line, file=sys.stderr))
        width, height = export_onnx(
            predictor,
            vocabulary,
            arguments.out,
            detection_settings(arguments),
            canvas=arguments.canvas,
        )
    except CheckpointError as error:
        raise UsageError(f"{error}; name the checkpoint with --model") from error
    except ExportError as error:
        raise UsageError(str(error)) from error
    size = arguments.out.stat().st_size / 1e6
    print(f"{len(vocabulary.names)} classes → {readable(arguments.out)} ({size:.0f} MB)")
    print(
        f"image: uint8 ({height}, {width}, 3) RGB, the photo at its top left; content: int64 (2,), "
        "the photo's height and width there; gives boxes, scores, classes"
    )
    return 0


def _canvas(text: str) -> tuple[int, int]:
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) != 2 or not all(side.strip().isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write e.g. 448x320")
    return int(sides[0]), int(sides[1])
