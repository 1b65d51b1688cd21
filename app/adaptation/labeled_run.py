"""A labelled set as an indexed run, for simulations: what reviews of its photos would say."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.adaptation.region_table import RegionTable, Standard
from app.adaptation.rescore import photo_regions
from app.adaptation.reviewed_photo import ReviewedPhoto
from app.adaptation.words import Words
from app.index.build import index_folder, indexing
from app.index.store import RegionIndex
from app.runs import sources
from app.runs.jobs import process
from app.runs.records import ImageRef, RunError
from app.runs.settings import settings_of
from app.runs.store import Run
from detclipv2.datasets.labeled_set import LabeledPhoto, LabeledSet, prompts_of
from detclipv2.inference.suppression import Suppression
from detclipv2.language.vocabulary import Vocabulary

if TYPE_CHECKING:
    from app.engine import Engine

_SEED = 0


@dataclass(frozen=True, eq=False)
class LabeledRun:
    """P indexed photos whose boxes are known.

    Attributes:
        names: K classes.
        table: regions of all photos.
        truth: P photos, reviewed for all classes.
        photos: (P, D) embeddings of whole photos.
        thresholds: (K,) of the words, by default.
        rules: of overlapping boxes, by default.
    """

    names: tuple[str, ...]
    table: RegionTable
    truth: tuple[ReviewedPhoto, ...]
    photos: NDArray[np.float32]
    thresholds: NDArray[np.float64]
    rules: Suppression


def index_set(
    folder: Path, one: LabeledSet, engine: Engine, most: int | None = None
) -> Iterator[tuple[int, int]]:
    """Index a set's photos in a run folder, or go on where that stopped.

    Args:
        folder: of the run.
        one: the set.
        engine: of the detector.
        most: photos, chosen at random; None for all.

    Yields:
        After each photo how many are done, and of how many.

    Raises:
        RunError: the folder holds another run.
        ValueError: the set has no boxes.
    """
    truth = one.read()
    photos = list(one.photos(truth))
    random.Random(_SEED).shuffle(photos)
    files = [photo.file for photo in photos[:most]]
    if not (folder / "run.json").exists():
        prompts = Vocabulary.of(prompts_of(truth)).serialise()
        images = [ImageRef(file.name, str(file.resolve())) for file in files]
        Run.create(folder, settings_of(engine, prompts, source=one.name), images).close()
    run = Run(folder)
    if {row.file_name for row in run.images()} != {file.name for file in files}:
        raise RunError(f"{folder} holds a run of other photos; name another --work folder")
    with indexing(run, engine.predictor) as keep:
        for _ in process(run, engine.predictor, sources.read, keep=keep):
            counts = run.counts()
            yield counts.processed, counts.total
    run.close()


def read_labeled_run(folder: Path, one: LabeledSet, engine: Engine, fewest: int = 1) -> LabeledRun:
    """What an indexed set says.

    Args:
        folder: of the run that `index_set` made.
        one: the set.
        engine: of the detector; its text tower runs.
        fewest: classes with fewer boxes in these photos are left out.

    Raises:
        RunIndexError: there is no index, or a damaged one.
        RunError: no class has that many boxes.
    """
    run = Run(folder)
    index = RegionIndex(index_folder(run))
    every = one.read()
    known = {photo.file.name: photo for photo in one.photos(every)}
    name_of = {row.id: row.file_name for row in run.images()}
    photos = [known[name_of[image]] for image in index.images.tolist()]
    prompts = prompts_of(every)
    counts = np.bincount(np.concatenate([p.classes for p in photos]), minlength=len(prompts))
    chosen = np.flatnonzero(counts >= fewest)
    if not len(chosen):
        raise RunError(f"no class of {one.name} has {fewest} boxes")
    names = tuple(prompts[k] for k in chosen)
    settings = run.settings.detection
    run.close()
    words = Words.of(engine.predictor, Vocabulary.of(names))
    regions = [photo_regions(index, place) for place in index.places.tolist()]
    table = RegionTable.of(regions, Standard.of(regions), words)
    rules = Suppression.of(settings, engine.predictor.model.serving.soft_nms)
    return LabeledRun(
        names,
        table,
        tuple(_reviewed(photo, chosen) for photo in photos),
        np.array(index.records["photo"][index.places]),
        np.full(len(names), settings.threshold),
        rules,
    )


def _reviewed(photo: LabeledPhoto, chosen: NDArray[Any]) -> ReviewedPhoto:
    own = np.isin(photo.classes, chosen)
    return ReviewedPhoto(
        photo.boxes[own], np.searchsorted(chosen, photo.classes[own]), np.ones(len(chosen), bool)
    )
