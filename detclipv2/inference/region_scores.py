"""From an encoded picture and embeddings of texts to boxes with scores; no tower runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from detclipv2.geometry.boxes import clip
from detclipv2.inference.calibration import Calibration
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.postprocess import Candidates, choose_anchors, find_candidates, propose
from detclipv2.inference.score_table import ScoreTable
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DetectSettings

if TYPE_CHECKING:
    import supervision as sv

    from detclipv2.model import DetCLIPv2


@dataclass(frozen=True, eq=False)
class RegionScores:
    """Compares regions with texts.

    Attributes:
        model: for the learned scale and bias, and how it is used; on its device.
        calibration: of the scores.
        anchor_share: see `postprocess.choose_anchors`.
    """

    model: DetCLIPv2
    calibration: Calibration
    anchor_share: float

    def candidates(
        self,
        encoded: EncodedImage,
        vocabulary: Vocabulary,
        concepts: Tensor,
        *,
        floor: float,
        most: int,
    ) -> Candidates:
        """See `Predictor.candidates`; `concepts` are (T, D), of the vocabulary's texts."""
        with torch.inference_mode():
            return find_candidates(
                *self._compared(encoded, vocabulary, concepts, floor),
                vocabulary,
                encoded.size,
                floor=floor,
                most=most,
                calibration=self.calibration,
                soft_nms=self.model.serving.soft_nms,
            )

    def table(self, encoded: EncodedImage, vocabulary: Vocabulary, concepts: Tensor) -> ScoreTable:
        """See `Predictor.score_table`; `concepts` as for `candidates`."""
        with torch.inference_mode():
            return ScoreTable.of_logits(
                *self._compared(encoded, vocabulary, concepts, 0.0),
                vocabulary,
                encoded.size,
                self.calibration,
                self.model.serving.soft_nms,
            )

    def all(self, encoded: EncodedImage, concepts: Tensor) -> tuple[Tensor, Tensor]:
        """See `Predictor.score`; `concepts` are (T, D)."""
        similar = self.similarities(encoded, concepts)
        scores = similar * encoded.regions.localisation.sigmoid()[:, None]
        boxes = encoded.letterbox.to_original(encoded.regions.boxes)
        return clip(boxes, *encoded.size), self.calibration.apply(scores.sqrt())

    def similarities(self, encoded: EncodedImage, concepts: Tensor) -> Tensor:
        """(A, T) in 0..1, on the CPU; `concepts` are (T, D)."""
        with torch.inference_mode():
            return self._logits(encoded.regions.embeddings, concepts).sigmoid()

    def propose(self, encoded: EncodedImage, concepts: Tensor, max_boxes: int) -> sv.Detections:
        """See `Predictor.propose`; `concepts` are (T, D)."""
        DetectSettings(max_boxes=max_boxes)  # refuses one out of range
        best = self.similarities(encoded, concepts).amax(dim=1)
        boxes = encoded.letterbox.to_original(encoded.regions.boxes)
        scores = (best * encoded.regions.objectness).sqrt()
        return propose(boxes, scores, encoded.size, max_boxes, self.model.serving.soft_nms > 0)

    def words(self, concepts: Tensor) -> Tensor:
        """(T, D) embeddings of texts at the model's scale, on the CPU."""
        with torch.inference_mode():
            return self.model.words(concepts.to(self.model.bias.device)).float().cpu()

    def _compared(
        self, encoded: EncodedImage, vocabulary: Vocabulary, concepts: Tensor, floor: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The anchors that can reach `floor` or the threshold of a class.

        Boxes (A, 4) in pixels of the original, logits (A, T) and localisation (A,).
        """
        regions, own = encoded.regions, vocabulary.thresholds.values()
        raw = float(self.calibration.inverse(torch.tensor(min((floor, *own)))))
        anchors = choose_anchors(regions.localisation, raw, self.anchor_share)
        logits = self._logits(regions.embeddings[anchors], concepts)
        boxes = encoded.letterbox.to_original(regions.boxes[anchors])
        return boxes, logits, regions.localisation[anchors]

    def _logits(self, embeddings: Tensor, concepts: Tensor) -> Tensor:
        device = self.model.bias.device
        return self.model.similarity(embeddings.to(device), concepts.to(device)).float().cpu()
