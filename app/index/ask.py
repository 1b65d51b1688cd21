"""Boxes of any words over an indexed run, without the image tower."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.index.store import RegionIndex, RunIndexError
from detclipv2.inference.adapted_classes import learned_columns, moved_scores
from detclipv2.inference.calibration import Calibration
from detclipv2.inference.postprocess import best_per_class, candidates_for, class_thresholds
from detclipv2.inference.region_numbers import region_numbers
from detclipv2.inference.suppression import Suppression, suppress
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DetectSettings

if TYPE_CHECKING:
    from detclipv2.inference.predictor import Predictor

_PHOTOS = 64
"""Read at once."""
_THREADS = 4
"""Chunks that are worked on at the same time: most of the work is in steps too short to share."""
_ROWS = 1024
"""Embeddings that are floats at the same time: they fit a core's cache."""


@dataclass(frozen=True, eq=False)
class Found:
    """Boxes of one photo by falling score.

    Attributes:
        image: the photo's id in the ledger.
        boxes: (N, 4) xyxy in pixels of the upright original.
        scores: (N,) in 0..1.
        classes: (N,) index among the vocabulary's returned classes.
    """

    image: int
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]


def ask(
    index: RegionIndex, predictor: Predictor, vocabulary: Vocabulary, settings: DetectSettings
) -> Iterator[Found]:
    """What detection of these words would find, as far as the index goes; photos in its order.

    Args:
        index: of the run.
        predictor: of the checkpoint that the index is of; its image tower does not run.
        vocabulary: any words.
        settings: of which threshold, suppression and number of boxes count.

    Raises:
        RunIndexError: the index is of another checkpoint, or damaged.
    """
    if index.header.checkpoint not in predictor.region_fingerprints:
        raise RunIndexError(
            f"the index is of checkpoint {index.header.checkpoint[:8]} and this model is "
            f"{predictor.region_fingerprints[0][:8]}: index the run again with this model"
        )
    with torch.inference_mode():
        question = _Question.of(predictor, vocabulary, settings)

    def answer(places: slice | NDArray[np.int64]) -> list[Found]:
        with torch.inference_mode():
            return list(question.answer(index, places))

    threads = min(_THREADS, torch.get_num_threads())
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[list[Found]]] = deque()
        for places in index.chunks(_PHOTOS):
            running.append(pool.submit(answer, places))
            if len(running) > 2 * threads:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()


@dataclass(frozen=True, eq=False)
class _Question:
    """Words as numbers.

    Attributes:
        vocabulary: K returned classes, T texts.
        words: (T, D) at the model's scale.
        bias: of the similarity.
        thresholds: (K,) lowest scores.
        product: (K,) what the product of similarity and localisation, each in 0..1, has to reach.
        calibration: from the product's root to scores.
        learned: (L,) classes with learned weights and those (L, F + 2); None for none.
        standard: (2, F) mean and deviation of their numbers.
        rules: of overlapping boxes.
        most: boxes a photo.
    """

    vocabulary: Vocabulary
    words: Tensor
    bias: float
    thresholds: Tensor
    product: Tensor
    calibration: Calibration
    learned: tuple[Tensor, Tensor] | None
    standard: Tensor
    rules: Suppression
    most: int

    @classmethod
    def of(
        cls, predictor: Predictor, vocabulary: Vocabulary, settings: DetectSettings
    ) -> _Question:
        model = predictor.model
        concepts = predictor.encode_texts(vocabulary.texts).to(predictor.device)
        thresholds = class_thresholds(vocabulary, settings.threshold)
        words = model.words(concepts).float().cpu()
        learned, standard = None, torch.zeros(2, 0)
        if predictor.adapted_scores is not None:
            adapted = predictor.adapted_scores.adapted
            learned = learned_columns(adapted.of(vocabulary.returned, words))
            standard = torch.stack((adapted.mean, adapted.deviation))
        return cls(
            vocabulary,
            words,
            float(model.bias),
            thresholds,
            # A little less: the exact scores decide.
            predictor.calibration.inverse(thresholds).square() - 1e-4,
            predictor.calibration,
            learned,
            standard,
            Suppression.of(settings, model.serving.soft_nms),
            settings.max_boxes,
        )

    def answer(self, index: RegionIndex, places: slice | NDArray[np.int64]) -> Iterator[Found]:
        """The boxes of the photos at these places."""
        records, embeddings = index.records[places], index.embeddings[places]
        localisation = torch.from_numpy(np.ascontiguousarray(records["localisation"])).flatten()
        strength = localisation.sigmoid()
        scale = torch.from_numpy(np.ascontiguousarray(records["scale"])).flatten()
        logits = self._products(embeddings.reshape(len(scale), -1))
        logits = logits.mul_(scale[:, None]).add_(self.bias)
        logits = best_per_class(logits, self.vocabulary)
        region, of_class = self._passing(logits, strength)
        raw = logits[region, of_class].double().sigmoid()
        raw = (raw * localisation[region].double().sigmoid()).sqrt()
        scores = self.calibration.apply(raw).float()
        boxes = torch.from_numpy(np.ascontiguousarray(records["boxes"])).flatten(0, 1)
        if self.learned is not None:
            by_words = ~torch.isin(of_class, self.learned[0])
            passing = self._learned_scores(records, embeddings, logits, boxes)
            region = torch.cat((region[by_words], passing[0]))
            of_class = torch.cat((of_class[by_words], passing[1]))
            scores = torch.cat((scores[by_words], passing[2]))
        boxes = boxes[region]
        good = (scores >= self.thresholds[of_class]) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        order = good.nonzero()[:, 0]
        order = order[scores[order].argsort(descending=True, stable=True)]
        boxes, scores, of_class = boxes[order], scores[order], of_class[order]
        photo = region[order] // index.header.regions
        order = _best_of_each(photo, candidates_for(self.most))
        boxes, scores, of_class, photo = boxes[order], scores[order], of_class[order], photo[order]
        thresholds = self.thresholds[of_class]
        kept, scores = suppress(boxes, scores, of_class, thresholds, self.rules, photo)
        by_photo = photo[kept].argsort(stable=True)
        kept, scores = kept[by_photo], scores[by_photo]
        columns = boxes[kept].numpy(), scores.numpy(), of_class[kept].numpy()
        ends = np.searchsorted(photo[kept].numpy(), np.arange(len(records) + 1))
        for number, image in enumerate(records["image"].tolist()):
            own = slice(ends[number], min(ends[number + 1], ends[number] + self.most))
            yield Found(image, *(column[own] for column in columns))

    def _learned_scores(
        self, records: NDArray[Any], embeddings: NDArray[np.int8], logits: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Row, class and score of what reaches the threshold of a learned class."""
        assert self.learned is not None
        columns, weights = self.learned

        def column(name: str) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(records[name])).flatten()

        count = len(self.thresholds)
        localisation, scale = column("localisation"), column("scale")
        raw = logits[:, columns].sigmoid() * localisation.sigmoid()[:, None]
        scores = self.calibration.apply(raw.sqrt())
        if logits.shape[1] > count:
            beaten = logits[:, columns] < logits[:, count:].amax(dim=1, keepdim=True)
            scores[beaten] = -1
        floats = torch.from_numpy(embeddings.reshape(len(scale), -1).astype(np.float32))
        width, height = torch.from_numpy(records["size"].astype(np.float32)).T
        area = (width * height).clamp(min=1).repeat_interleave(records["boxes"].shape[1])
        numbers = region_numbers(
            floats * scale[:, None], localisation, column("objectness"), boxes, area
        )
        numbers = (numbers - self.standard[0]) / self.standard[1]
        every = torch.arange(len(scores))
        scores = moved_scores(scores, every, numbers, torch.arange(len(columns)), weights)
        row, which = (scores >= self.thresholds[columns]).nonzero(as_tuple=True)
        return row, columns[which], scores[row, which]

    def _products(self, embeddings: NDArray[np.int8]) -> Tensor:
        """(A, D) → (A, T) with the words."""
        products = torch.empty(len(embeddings), len(self.words))
        words = self.words.T
        for start in range(0, len(embeddings), _ROWS):
            block = slice(start, start + _ROWS)
            floats = torch.from_numpy(embeddings[block].astype(np.float32))
            torch.mm(floats, words, out=products[block])
        return products

    def _passing(self, logits: Tensor, strength: Tensor) -> tuple[Tensor, ...]:
        """Row and class of what may reach its threshold: (N, K + negatives) logits, (N,) in 0..1.

        With one threshold for all classes a number a row decides.
        """
        count = len(self.thresholds)
        product = self.product[:1] if (self.product == self.product[0]).all() else self.product
        least = torch.logit((product / strength[:, None]).clamp(1e-9, 1))
        passing = logits[:, :count] >= least
        if logits.shape[1] > count:
            passing &= logits[:, :count] >= logits[:, count:].amax(dim=1, keepdim=True)
        return passing.nonzero(as_tuple=True)


def _best_of_each(photo: Tensor, most: int) -> Tensor:
    """Places of the first `most` entries of each photo, in their order: (N,) → (N',) long."""
    by_photo = photo.argsort(stable=True)
    ordered = photo[by_photo]
    rank = torch.arange(len(ordered)) - torch.searchsorted(ordered, ordered)
    return by_photo[rank < most].sort().values
