"""The detector with one vocabulary built in, as an ONNX file that needs neither Python nor us.

The text tower has spoken by then: its embeddings are constants of the graph, as are thresholds,
aliases and negatives, and suppression happens inside. So the file gives what `Predictor.predict`
gives, on any runtime that reads ONNX.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import torch
from torch import Tensor, nn

from detclipv2.geometry.nms import soften
from detclipv2.inference.adapted_classes import AdaptedScores, learned_columns, moved_scores
from detclipv2.inference.images import PAD_MULTIPLE
from detclipv2.inference.postprocess import ANCHOR_SHARE, candidates_for, class_thresholds
from detclipv2.inference.region_numbers import kept_regions, region_numbers
from detclipv2.inference.runtimes.traceable import TraceableTower
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.regions import PER_PICTURE, Regions, map_fields
from detclipv2.serving import DEFAULTS, DetectChanges, DetectSettings

if TYPE_CHECKING:
    from detclipv2.inference.predictor import Predictor
    from detclipv2.language.prompt_reader import Prompts

OUTPUTS = ("boxes", "scores", "classes")
_NOTHING = 1e-9  # scores below their class's threshold are zero before suppression
_OPSET = 20  # the first whose GridSample is called as torch calls it


class ExportError(RuntimeError):
    """No ONNX file could be made; the message says why."""


def export_onnx(
    predictor: Predictor,
    prompts: Prompts,
    file: str | Path,
    settings: DetectSettings = DEFAULTS,
    *,
    canvas: tuple[int, int] | None = None,
    **changes: Unpack[DetectChanges],
) -> tuple[int, int]:
    """Write the graph that finds `prompts`; returns the canvas.

    Its inputs are `image`, (H, W, 3) uint8 RGB with the photo scaled to fit at the top left, and
    `content`, (2,) int64, the photo's height and width there. It gives `boxes`, (N, 4) xyxy in
    pixels of the canvas, `scores`, (N,) in 0..1, falling, and `classes`, (N,) int64. The names of
    the classes and what else made it stand in the file's metadata.

    Args:
        predictor: the model, and the cache of its text embeddings.
        prompts: as for `Predictor.predict`.
        file: where to write.
        settings: threshold and suppression.
        canvas: width and height, multiples of 32; None for a square of the model's own size. The
            head's norms see all of it, so only a canvas as `letterbox` makes it, without room to
            spare, gives the boxes of `Predictor.predict` with its long side as `size`; the file
            looks once.
        changes: fields of `settings` by name.

    Raises:
        VocabularyError: prompts that cannot be used.
        ValueError: a setting out of range.
        ExportError: the packages that write ONNX are missing or refuse.
        OSError: the file cannot be written.
    """
    vocabulary, settings = Vocabulary.coerce(prompts), replace(settings, **changes)
    side = predictor.model.serving.size
    width, height = canvas or (side, side)
    if min(width, height) < PAD_MULTIPLE or width % PAD_MULTIPLE or height % PAD_MULTIPLE:
        raise ValueError(
            f"canvas must be multiples of {PAD_MULTIPLE} pixels, got {width} × {height}"
        )
    detector = _Detector(predictor, vocabulary, settings)
    example = (torch.zeros(height, width, 3, dtype=torch.uint8), torch.tensor([height, width]))
    with _quietly():
        try:
            program = torch.onnx.export(
                detector,
                example,
                dynamo=True,
                opset_version=_OPSET,
                verbose=False,
                input_names=("image", "content"),
                output_names=OUTPUTS,
            )
        except ImportError as error:
            raise ExportError(f"{error}; pip install onnx onnxscript") from error
        except Exception as error:  # of its own kinds, and torch's
            cause = str(error.__cause__ or error).strip().partition("\n")[0]
            raise ExportError(f"torch cannot write this network as ONNX: {cause}") from error
    assert program is not None
    program.model.metadata_props.update(
        names=json.dumps(list(vocabulary.names)),
        checkpoint=predictor.fingerprint,
        model=predictor.name,
        prompts=vocabulary.serialise(),
        threshold=f"{settings.threshold:g}",
        nms_iou=f"{settings.nms_iou:g}",
        max_boxes=str(settings.max_boxes),
    )
    target = Path(file)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".onnx-") as folder:
        whole = Path(folder, "whole.onnx")
        program.save(whole)
        os.replace(whole, target)
    return width, height


class _Detector(nn.Module):
    """What `Predictor.predict` does between the canvas and its boxes, without a branch on data."""

    _words: Tensor
    _bias: Tensor
    _texts: Tensor
    _thresholds: Tensor
    _mean: Tensor
    _std: Tensor
    _columns: Tensor
    _weights: Tensor
    _middle: Tensor
    _deviation: Tensor

    def __init__(
        self, predictor: Predictor, vocabulary: Vocabulary, settings: DetectSettings
    ) -> None:
        super().__init__()
        model = predictor.model
        # A copy: the predictor's own parts stay on its device.
        self._tower = copy.deepcopy(TraceableTower(model.for_inference())).cpu()
        config = model.config
        self._calibration, self._soft_nms = predictor.calibration, model.serving.soft_nms
        self._nms_iou, self._max_boxes = settings.nms_iou, settings.max_boxes
        self._count = len(vocabulary.returned)
        with torch.no_grad():
            words = model.words(predictor.encode_texts(vocabulary.texts).to(model.bias.device))
        constants = {
            "_words": words.T.cpu(),
            "_bias": model.bias.detach().cpu(),
            "_texts": _texts_of_classes(vocabulary),
            "_thresholds": class_thresholds(vocabulary, settings.threshold),
            "_mean": torch.tensor(config.image.mean).reshape(3, 1, 1),
            "_std": torch.tensor(config.image.std).reshape(3, 1, 1),
        }
        constants |= self._learned(predictor.adapted_scores, vocabulary, words.cpu())
        for name, tensor in constants.items():
            self.register_buffer(name, tensor.clone())

    def _learned(
        self, scores: AdaptedScores | None, vocabulary: Vocabulary, words: Tensor
    ) -> dict[str, Tensor]:
        """Classes that were learned, and what moves their scores; nothing where there are none."""
        found = None
        if scores is not None:
            found = learned_columns(scores.adapted.of(vocabulary.returned, words))
        self._adapts = found is not None
        if scores is None or found is None:
            return {}
        standard = {"_middle": scores.adapted.mean, "_deviation": scores.adapted.deviation}
        return {"_columns": found[0], "_weights": found[1], **standard}

    def forward(self, image: Tensor, content: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from torchvision.ops import nms

        height, width = image.shape[:2]
        pixels = (image.permute(2, 0, 1).float() / 255 - self._mean) / self._std
        inside = (torch.arange(height)[:, None] < content[0]) & (torch.arange(width) < content[1])
        found = dict(zip(PER_PICTURE, self._tower((pixels * inside)[None]), strict=False))
        regions = Regions(
            **{name: values[0] for name, values in found.items()},
            anchors=found["boxes"][0],
            level_counts=(),
        )
        scores, boxes = self._scores(regions, content)
        most = min(candidates_for(self._max_boxes), scores.numel())
        scores, flat = scores.flatten().topk(most)
        classes = flat % self._count
        boxes = boxes[flat // self._count]
        # Anchors in the padding give boxes without area.
        scores = scores * (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        # Moved apart, boxes of different classes never suppress one another.
        apart = boxes + (classes * 2 * max(height, width))[:, None].float()
        kept = nms(apart, scores, self._nms_iou)
        boxes, scores, classes = boxes[kept], scores[kept], classes[kept]
        scores = soften(boxes, scores, classes, self._soft_nms)
        order = scores.topk(scores.shape[0]).indices
        order = order[scores[order] >= self._lowest(classes[order])][: self._max_boxes]
        return boxes[order], scores[order], classes[order]

    def _lowest(self, classes: Tensor) -> Tensor:
        """The threshold of each box, but never so low that nothing passes it."""
        return self._thresholds[classes].clamp(min=_NOTHING)

    def _scores(self, regions: Regions, content: Tensor) -> tuple[Tensor, Tensor]:
        """(A', K) scores, zero below their class's threshold, and boxes (A', 4) cut to the photo.

        Of the anchors that are looked at; `content` is the photo's height and width.
        """
        some = math.ceil(ANCHOR_SHARE * regions.localisation.shape[0])
        strength, anchors = regions.localisation.sigmoid().topk(some)
        regions = map_fields(regions, lambda _, value: value[anchors])
        limit = torch.stack([content[1], content[0]]).repeat(2).float()
        boxes = torch.minimum(regions.boxes.clamp(min=0), limit)
        logits = regions.embeddings @ self._words + self._bias
        logits = logits[:, self._texts].amax(dim=-1)
        own = logits[:, : self._count]
        scores = self._calibration.apply((own.sigmoid() * strength[:, None]).sqrt())
        if logits.shape[1] > self._count:
            beaten = own < logits[:, self._count :].amax(dim=1, keepdim=True)
            scores = torch.where(beaten, -1, scores)
        if self._adapts:
            rows = kept_regions(regions, boxes, self._words.T)
            numbers = region_numbers(
                regions.embeddings[rows],
                regions.localisation[rows],
                regions.objectness[rows],
                boxes[rows],
                content.prod(),
            )
            numbers = (numbers - self._middle) / self._deviation
            scores = moved_scores(scores, rows, numbers, self._columns, self._weights)
        return scores * (scores >= self._thresholds), boxes


def _texts_of_classes(vocabulary: Vocabulary) -> Tensor:
    """(classes and negatives, most texts of one) indices of each one's texts, the last repeated."""
    counts = vocabulary.text_counts
    rows, first = [], 0
    for count in counts:
        row = list(range(first, first + count))
        rows.append(row + row[-1:] * (max(counts) - count))
        first += count
    return torch.tensor(rows)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """What the exporter says of itself helps nobody."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
