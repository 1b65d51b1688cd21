"""Phrase grounding: is a right box among a phrase's best?"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from detclipv2.geometry.boxes import iou_matrix


def first_hit(ranked: Tensor, boxes: Tensor, iou: float = 0.5) -> int | None:
    """Rank, from 0, of the first box that overlaps any true box enough.

    Args:
        ranked: (N, 4) xyxy, best first.
        boxes: (M, 4) xyxy, the phrase's true boxes; one hit of any suffices, as the Flickr30k
            Entities literature counts.
        iou: least overlap of a hit.
    """
    if not len(ranked):
        return None
    hits = (iou_matrix(ranked, boxes) >= iou).any(dim=1).nonzero()
    return int(hits[0]) if len(hits) else None


def recall_at(hits: Iterable[int | None], ks: Iterable[int] = (1, 5, 10)) -> dict[int, float]:
    """Recall@k in percent over phrases, from the ranks of `first_hit`.

    Raises:
        ValueError: no phrase.
    """
    ranks = list(hits)
    if not ranks:
        raise ValueError("phrase recall needs at least one phrase")
    return {k: 100 * sum(r is not None and r < k for r in ranks) / len(ranks) for k in ks}
