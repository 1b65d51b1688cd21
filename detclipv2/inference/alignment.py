"""Which words found which regions: the word-region alignment of one photo and one caption.

The numbers are training's own (Eq. 2-4): the same regions, similarities and matching. What training
never asks is whether a phrase is there at all; here distractor phrases, which name nothing in most
photos, say what a phrase that is absent would score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from detclipv2.config import STRIDES
from detclipv2.geometry.boxes import clip
from detclipv2.language.phrases import Phrase, noun_phrases
from detclipv2.learning.alignment import Matching, match_words, word_region_scores
from detclipv2.learning.proposals import OBJECTNESS, Objectness, objectness, select_regions

if TYPE_CHECKING:
    from detclipv2.inference.encoded_image import EncodedImage
    from detclipv2.model import DetCLIPv2

EVIDENCE = 0.25
"""Least evidence (`Alignment.evidence`) of a phrase that counts as being in the photo, where none
was measured. `train.evaluation.calibrate_absence` measures a checkpoint's own and keeps it in its
card."""


@dataclass(frozen=True)
class AlignSettings:
    """How words and regions are compared; the defaults are the paper's and training's.

    Attributes:
        matching: one region a phrase (Eq. 3), or all of them softly (Eq. 4).
        temperature: τ_t of Eq. 4.
        objectness: how regions are ranked before the best are kept (Table 2a).
        regions: how many are kept at most.
        nms_iou: of two regions that overlap by more than this the worse goes.
    """

    matching: Matching = "max"
    temperature: float = 0.1
    objectness: Objectness = "text_batch"
    regions: int = 100
    nms_iou: float = 0.6

    def __post_init__(self) -> None:
        if self.matching not in ("max", "softmax"):
            raise ValueError(f"matching must be 'max' or 'softmax', got {self.matching!r}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}; try 0.1")
        if self.objectness not in OBJECTNESS:
            raise ValueError(
                f"objectness must be one of {', '.join(OBJECTNESS)}, got {self.objectness!r}"
            )
        if self.regions < 1:
            raise ValueError(f"regions must be at least 1, got {self.regions}")
        if not 0 <= self.nms_iou <= 1:
            raise ValueError(f"nms_iou must lie in 0..1, got {self.nms_iou}")


@dataclass(frozen=True, eq=False)
class Alignment:
    """Phrases of a caption against regions of a photo; all tensors are on the CPU.

    Attributes:
        caption: as it was given; empty if phrases were.
        phrases: P texts, in the user's words.
        spans: where each stands in the caption, in characters; None for one that does not.
        boxes: (R, 4) xyxy in pixels of the upright original, clipped to it.
        levels: (R,) long, the pyramid level of each region, 3 for P3 to 7 for P7.
        scores: (R, P) similarities as the contrastive loss sees them.
        null: (N,) how well distractor phrases match this photo, in the same unit.
        bias: of Eq. 1; sigmoid(scores + bias) is the probability that training gives a box.
        settings: how it came about.
        size: width and height of the upright original.
    """

    caption: str
    phrases: tuple[str, ...]
    spans: tuple[tuple[int, int] | None, ...]
    boxes: Tensor
    levels: Tensor
    scores: Tensor
    null: Tensor
    bias: float
    settings: AlignSettings
    size: tuple[int, int]

    @property
    def matches(self) -> Tensor:
        """(P,) how well each phrase is matched, Eq. 3 or 4."""
        return match_words(self.scores, self.settings.matching, self.settings.temperature)

    @property
    def similarity(self) -> float:
        """s_T: the mean of the matches, what the loss compares between photos."""
        return float(self.matches.mean())

    @property
    def best(self) -> Tensor:
        """(P,) the region of each phrase, Eq. 2."""
        return self.scores.argmax(dim=0)

    @property
    def weights(self) -> Tensor:
        """(R, P) how much each region takes part in its phrase's match; columns sum to 1."""
        if self.settings.matching == "max":
            return torch.zeros_like(self.scores).scatter_(0, self.best[None], 1.0)
        return (self.scores / self.settings.temperature).softmax(dim=0)

    @property
    def probabilities(self) -> Tensor:
        """(R, P) sigmoid of the similarities with the bias of Eq. 1."""
        return (self.scores + self.bias).sigmoid()

    @property
    def evidence(self) -> Tensor:
        """(P,) by how much the match of each phrase beats the median distractor's."""
        return self.matches - self.null.median()

    def present(self, least: float = EVIDENCE) -> Tensor:
        """(P,) bool: the phrase has a region; False says "not in this photo"."""
        return self.evidence >= least

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values; floats in full, so that no later figure differs."""
        return {
            "caption": self.caption,
            "phrases": [
                {
                    "text": text,
                    "span": None if span is None else list(span),
                    "match": match,
                    "evidence": evidence,
                    "region": region,
                }
                for text, span, match, evidence, region in zip(
                    self.phrases,
                    self.spans,
                    self.matches.tolist(),
                    self.evidence.tolist(),
                    self.best.tolist(),
                    strict=True,
                )
            ],
            "boxes": self.boxes.tolist(),
            "levels": self.levels.tolist(),
            "scores": self.scores.tolist(),
            "null": self.null.tolist(),
            "bias": self.bias,
            "similarity": self.similarity,
            "size": list(self.size),
            "settings": vars(self.settings),
        }


def phrases_of(words: str | Sequence[str | Phrase], caption: str = "") -> list[Phrase]:
    """The noun phrases of a caption, or the phrases given; last the whole `caption`, if any.

    Raises:
        ValueError: a blank phrase.
        PhraseModelError: a caption, but no spaCy pipeline.
    """
    given = noun_phrases(words) if isinstance(words, str) else words
    phrases = [p if isinstance(p, Phrase) else Phrase(p) for p in given]
    if caption.strip() and caption not in (p.text for p in phrases):
        phrases.append(Phrase(caption, (0, len(caption))))
    if any(not phrase.text.strip() for phrase in phrases):
        raise ValueError("a phrase is empty; remove it or write a word")
    return phrases


def align(
    model: DetCLIPv2,
    encoded: EncodedImage,
    phrases: Sequence[Phrase],
    concepts: Tensor,
    settings: AlignSettings,
    caption: str = "",
) -> Alignment:
    """Compare the regions of one photo with phrases.

    Args:
        model: for the learned scale and bias; its towers do not run.
        encoded: the photo. Regions of closer looks are left out: training sees photos whole.
        phrases: P of them.
        concepts: (P + N, D) embeddings of the phrases and of N distractors. These also stand for
            the other captions of a batch where regions are ranked by a whole batch's texts.
        settings: see there.
        caption: the whole text.

    Raises:
        ValueError: no phrase, or an objectness whose branch the model does not have.
    """
    if not phrases:
        raise ValueError("no phrases to align; type a caption that names things")
    regions, count = encoded.first_look, len(phrases)
    with torch.inference_mode():
        words = model.words(concepts.to(model.bias.device)).float().cpu()
        bias = float(model.bias)
        every = word_region_scores(regions.embeddings, words)
        own = torch.arange(len(words))[None] < count
        ranking = objectness(
            settings.objectness,
            centerness=regions.centerness[None],
            scores=every[None] + bias,
            own=own,
            foreground=_row(regions.foreground),
            iou=_row(regions.iou),
        )
        chosen, there = select_regions(
            regions.boxes[None], ranking, settings.regions, nms_iou=settings.nms_iou
        )
        kept = chosen[0][there[0]]
        scores = every[kept]
        boxes = clip(encoded.letterbox.to_original(regions.boxes[kept]), *encoded.size)
        null = match_words(scores[:, count:], settings.matching, settings.temperature)
        levels = torch.arange(len(STRIDES)).repeat_interleave(torch.tensor(regions.level_counts))
    return Alignment(
        caption=caption,
        phrases=tuple(phrase.text for phrase in phrases),
        spans=tuple(phrase.span for phrase in phrases),
        boxes=boxes.clone(),
        levels=levels[kept] + 3,
        scores=scores[:, :count].clone(),
        null=null.clone(),
        bias=bias,
        settings=settings,
        size=encoded.size,
    )


def similarity_maps(model: DetCLIPv2, encoded: EncodedImage, concepts: Tensor) -> list[Tensor]:
    """The similarities of every place of the pyramid with P phrases, finest level first.

    Args:
        model: for the learned scale.
        encoded: the photo, of which the first look counts.
        concepts: (P, D).

    Returns:
        One (P, h, w) tensor a level, over the network's input with its padding: the photo takes the
        first `letterbox.scaled` of its `letterbox.padded` pixels.
    """
    regions = encoded.first_look
    width, height = encoded.letterbox.padded
    with torch.inference_mode():
        words = model.words(concepts.to(model.bias.device)).float().cpu()
        scores = word_region_scores(regions.embeddings, words).T
    maps = []
    for stride, part in zip(
        STRIDES, torch.split(scores, list(regions.level_counts), dim=1), strict=True
    ):
        rows, columns = -(-height // stride), -(-width // stride)
        maps.append(part.reshape(len(words), rows, columns).clone())
    return maps


def _row(branch: Tensor | None) -> Tensor | None:
    return None if branch is None else branch[None]
