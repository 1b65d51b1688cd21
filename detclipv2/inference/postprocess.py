"""From similarities to detections: scores, negatives, thresholds, suppression.

Two steps. `find_candidates` reads the (A, T) matrix once and keeps what can pass the lowest
threshold; `select` turns candidates into detections and is cheap enough to follow a slider.

Nothing here lets one class change another's score: anchors are chosen by centerness alone, boxes
are suppressed within their class, and the cap on candidates acts like a raised threshold. Only a
negative takes boxes away, which is its purpose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np
import torch
from torch import Tensor

from detclipv2.geometry.boxes import clip
from detclipv2.geometry.nms import nms, soften
from detclipv2.inference.calibration import Calibration
from detclipv2.inference.suppression import Suppression, suppress
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DEFAULTS, DetectChanges, DetectSettings

if TYPE_CHECKING:
    import supervision as sv

ANCHOR_SHARE = 0.5
"""Share of the anchors that is compared with the words, the most central ones. It keeps 1,203 words
below 1.15 times the time of 10, whatever the size of the picture."""
MAX_CANDIDATES = 1000
"""Boxes that reach the suppression, the best ones, where few are wanted of a picture."""
PROPOSAL_IOU = 0.7
"""Of two proposals that overlap by more than this the worse goes."""
# Where overlapping ones lose score, too. Only their ranking counts here, so they may lose less than
# boxes that have to fall below a threshold.
_SOFT_PROPOSAL_IOU, _SOFT_PROPOSAL_SIGMA = 0.8, 0.8
_AS_THEY_ARE = Calibration()


@dataclass(frozen=True, eq=False)
class Candidates:
    """Boxes of one picture before suppression, by falling score.

    Attributes:
        boxes: (N, 4) xyxy in pixels of the upright original, clipped to it.
        scores: (N,) in 0..1.
        classes: (N,) long, index among the vocabulary's returned classes.
        vocabulary: what was looked for.
        floor: the threshold below which boxes of classes without their own threshold are missing.
        soft_nms: see `ServingConfig.soft_nms`.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    vocabulary: Vocabulary
    floor: float
    soft_nms: float = 0.0


def choose_anchors(centerness: Tensor, floor: float, share: float = ANCHOR_SHARE) -> Tensor:
    """Indices of the anchors worth comparing with words: (A,) logits → (A',) long.

    A raw score is at most sqrt(sigmoid(centerness)), so dropping what lies below the raw `floor`
    loses nothing.
    Keeping only the most central `share` of the anchors can, but it looks at no word: a class meets
    the same anchors in any vocabulary.
    """
    strength, order = centerness.sigmoid().topk(math.ceil(share * len(centerness)))
    return order[strength >= floor**2 - 1e-6]


def find_candidates(
    boxes: Tensor,
    logits: Tensor,
    centerness: Tensor,
    vocabulary: Vocabulary,
    image_size: tuple[int, int],
    *,
    floor: float,
    most: int = MAX_CANDIDATES,
    calibration: Calibration = _AS_THEY_ARE,
    soft_nms: float = 0.0,
) -> Candidates:
    """The boxes that can pass a threshold of `floor` or their class's own.

    Args:
        boxes: (A, 4) xyxy in pixels of the upright original.
        logits: (A, T) similarities with `vocabulary.texts`.
        centerness: (A,) logits.
        vocabulary: the classes; T texts.
        image_size: width and height of the upright original.
        floor: lowest threshold `select` will be asked for, in 0..1.
        most: at most so many of them, the best ones.
        calibration: of the scores; `floor` and thresholds are calibrated ones.
        soft_nms: see `ServingConfig.soft_nms`.
    """
    logits = best_per_class(logits, vocabulary)
    count = len(vocabulary.returned)
    # Doubles: a vectorised float sigmoid differs in the last bit with the place in the array, and
    # so with the other classes.
    strength = centerness.double().sigmoid()
    floors = class_thresholds(vocabulary, floor).clamp(max=floor)
    # score >= floor  <=>  logit >= inverse sigmoid of floor² / sigmoid(centerness). Comparing
    # logits spares the sigmoid of the whole matrix; the slack leaves the last word to the scores.
    needed = (calibration.inverse(floors.min()) ** 2 / strength).clamp(max=1).logit().nan_to_num(
        posinf=1e4
    ) - 1e-3
    passing = logits[:, :count] >= needed.to(logits.dtype)[:, None]
    if logits.shape[1] > count:
        passing &= logits[:, :count] >= logits[:, count:].amax(dim=1, keepdim=True)
    anchors, classes = passing.nonzero(as_tuple=True)
    raw = (logits[anchors, classes].double().sigmoid() * strength[anchors]).sqrt()
    scores = calibration.apply(raw).float()
    found = _rank(clip(boxes, *image_size)[anchors], scores, classes, vocabulary, floor, most)
    return replace(found, soft_nms=soft_nms)


def candidates_for(max_boxes: int) -> int:
    """How many boxes must reach the suppression, where up to `max_boxes` of a picture are wanted.

    LVIS wants 300 and more of 1,203 classes, most of which fall to better ones of their class.
    """
    return max(MAX_CANDIDATES, 10 * max_boxes)


def score_candidates(
    boxes: Tensor,
    scores: Tensor,
    vocabulary: Vocabulary,
    *,
    floor: float,
    most: int = MAX_CANDIDATES,
) -> Candidates:
    """`find_candidates` for detectors that give scores: (A, T) in 0..1, and boxes cut already."""
    scores = best_per_class(scores, vocabulary)
    count = len(vocabulary.returned)
    floors = class_thresholds(vocabulary, floor).clamp(max=floor)
    passing = scores[:, :count] >= floors.to(scores.dtype)
    if scores.shape[1] > count:
        passing &= scores[:, :count] >= scores[:, count:].amax(dim=1, keepdim=True)
    anchors, classes = passing.nonzero(as_tuple=True)
    found = scores[anchors, classes].float()
    return _rank(boxes[anchors], found, classes, vocabulary, floor, most)


def propose(
    boxes: Tensor,
    scores: Tensor,
    image_size: tuple[int, int],
    max_boxes: int = DEFAULTS.max_boxes,
    soft: bool = False,
) -> sv.Detections:
    """Boxes of anything: no classes, and one box a thing.

    Args:
        boxes: (A, 4) xyxy in pixels of the upright original.
        scores: (A,) in 0..1.
        image_size: width and height of the upright original.
        max_boxes: at most this many boxes, the best ones.
        soft: boxes that overlap better ones come later, too.
    """
    import supervision as sv

    # Of thousands hardly any beyond so many can be among the best, whatever the others lose.
    kept = nms(boxes, scores, _SOFT_PROPOSAL_IOU if soft else PROPOSAL_IOU)[: 10 * max_boxes]
    boxes, scores = boxes[kept], scores[kept]
    sigma = _SOFT_PROPOSAL_SIGMA if soft else 0.0
    scores = soften(boxes, scores, torch.zeros(len(boxes), dtype=torch.long), sigma)
    best = scores.argsort(descending=True, stable=True)[:max_boxes]
    found = clip(boxes[best], *image_size)
    return sv.Detections(xyxy=found.numpy(), confidence=scores[best].numpy())


def _rank(
    boxes: Tensor, scores: Tensor, classes: Tensor, vocabulary: Vocabulary, floor: float, most: int
) -> Candidates:
    """The best boxes that pass their class's floor, (N, 4) clipped, with (N,) scores, classes."""
    floors = class_thresholds(vocabulary, floor).clamp(max=floor)
    # Anchors in the padding give boxes without area once clipped.
    valid = (scores >= floors[classes]) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    boxes, scores, classes = boxes[valid], scores[valid], classes[valid]
    if len(scores) > most:
        best = scores.topk(most).indices
        boxes, scores, classes = boxes[best], scores[best], classes[best]
    order = scores.argsort(descending=True, stable=True)
    return Candidates(boxes[order], scores[order], classes[order], vocabulary, floor)


def select(
    candidates: Candidates, settings: DetectSettings = DEFAULTS, **changes: Unpack[DetectChanges]
) -> sv.Detections:
    """Detections of one picture by falling score; raising a threshold only ever removes boxes.

    Args:
        candidates: what `find_candidates` kept.
        settings: threshold and suppression.
        changes: fields of `settings` by name.

    Returns:
        Boxes in pixels of the upright original; `class_id` indexes `vocabulary.names`, and
        `data["class_name"]` holds those names, also (empty) when nothing was found.

    Raises:
        ValueError: a setting out of range, or a threshold below the candidates' floor.
    """
    settings = replace(settings, **changes)
    thresholds = class_thresholds(candidates.vocabulary, settings.threshold)
    lowest = class_thresholds(candidates.vocabulary, candidates.floor).clamp(max=candidates.floor)
    if (thresholds < lowest).any():
        raise ValueError(
            f"threshold {float(thresholds.min()):g} is below the floor {candidates.floor:g} of "
            "these candidates; find them again with a lower floor"
        )
    return select_above(candidates, thresholds, settings)


def select_above(
    candidates: Candidates, thresholds: Tensor, settings: DetectSettings
) -> sv.Detections:
    """`select` with the threshold of every returned class, (K,), none below the floor."""
    import supervision as sv

    passing = (candidates.scores >= thresholds[candidates.classes]).nonzero()[:, 0]
    boxes, scores = candidates.boxes[passing], candidates.scores[passing]
    classes = candidates.classes[passing]
    rules = Suppression.of(settings, candidates.soft_nms)
    kept, found = suppress(boxes, scores, classes, thresholds[classes], rules)
    kept, found = kept[: settings.max_boxes], found[: settings.max_boxes]
    class_id = classes[kept].numpy()
    return sv.Detections(
        xyxy=boxes[kept].numpy(),
        confidence=found.numpy(),
        class_id=class_id,
        data={"class_name": np.array(candidates.vocabulary.names)[class_id]},
    )


def class_thresholds(vocabulary: Vocabulary, threshold: float) -> Tensor:
    """(K,) the threshold of every returned class: its own, else `threshold`."""
    thresholds = torch.full((len(vocabulary.returned),), float(threshold))
    thresholds[list(vocabulary.thresholds)] = torch.tensor(list(vocabulary.thresholds.values()))
    return thresholds


def best_per_class(logits: Tensor, vocabulary: Vocabulary) -> Tensor:
    """(A, T) → (A, K + negatives): the best of a class's name and aliases."""
    if len(vocabulary.text_counts) == logits.shape[1]:
        return logits
    starts = np.cumsum([0, *vocabulary.text_counts[:-1]])
    return torch.from_numpy(np.maximum.reduceat(logits.numpy(), starts, axis=1))
