"""Photos whose regions are made of numbers: two kinds of things that words hardly tell apart."""

from __future__ import annotations

import numpy as np

from app.adaptation.region_table import PhotoRegions, RegionTable, Standard
from app.adaptation.reviewed_photo import ReviewedPhoto
from app.adaptation.words import Words
from app.index.regions import KeptRegions

WIDTH, REGIONS = 16, 60


def words(classes: int = 2, meaning: float = 0.0, seed: int = 0) -> Words:
    """Words that point along their class's own axis as far as they mean it."""
    random = np.random.default_rng(seed)
    embeddings = random.normal(size=(classes, WIDTH)) * 0.3
    embeddings[:, WIDTH - 1] = 0
    embeddings[np.arange(classes), np.arange(classes)] += meaning
    names = tuple(f"thing {k}" for k in range(classes))
    return Words(names, embeddings.astype(np.float32), (1,) * classes, -2.0)


def photos(
    count: int, classes: int = 2, seed: int = 0
) -> tuple[list[PhotoRegions], list[ReviewedPhoto]]:
    """Each photo has two things; their regions lie along the class's axis, others anywhere."""
    random = np.random.default_rng(seed)
    made, truth = [], []
    for _ in range(count):
        corner = random.integers(0, 8, (REGIONS, 2)) * 100.0
        size = random.integers(30, 90, (REGIONS, 2))
        boxes = np.hstack([corner, corner + size]).astype(np.float32)
        embeddings = random.normal(size=(REGIONS, WIDTH))
        of_class = random.integers(0, classes, 2)
        boxes[0, :2], boxes[1, :2] = (1000, 0), (1200, 0)
        boxes[:2, 2:] = boxes[:2, :2] + 80
        boxes[2:4] = boxes[:2] + 4
        for thing, k in enumerate(of_class.tolist()):
            embeddings[[thing, thing + 2], k] += 5
        scale = np.abs(embeddings).max(axis=1) / 127
        made.append(
            PhotoRegions(
                KeptRegions(
                    boxes,
                    random.normal(size=REGIONS).astype(np.float32),
                    random.random(REGIONS).astype(np.float32),
                    (embeddings / scale[:, None]).round().astype(np.int8),
                    scale.astype(np.float32),
                ),
                (1300, 900),
            )
        )
        truth.append(ReviewedPhoto(boxes[:2].astype(float), of_class, np.ones(classes, dtype=bool)))
    return made, truth


def table(count: int, classes: int = 2, seed: int = 0) -> tuple[RegionTable, list[ReviewedPhoto]]:
    """The same as a table, beside what people would leave in them."""
    made, truth = photos(count, classes, seed)
    return RegionTable.of(made, Standard.of(made), words(classes)), truth
