"""Long work over many photos lets others at the model between two of them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest

from app.browse.job import BrowseJob, run_of
from app.comparison import Side, compare
from app.engine import Engine
from detclipv2.detectors.open import open_detector
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DetectSettings
from tests.places import DEMO

WORDS = Vocabulary.parse("cup, cat")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of photos with captions; far more than the test waits for."""
    for number in range(400):
        shutil.copy(DEMO / "coffee.jpg", tmp_path / f"{number}.jpg")
        (tmp_path / f"{number}.txt").write_text("a red cup on a table")
    return tmp_path


@contextmanager
def browsing(engine: Engine, folder: Path) -> Iterator[None]:
    run = run_of(folder, engine.fingerprint, folder / "run")
    job = BrowseJob(run, folder, engine.predictor, engine.name)
    job.start()
    yield
    assert job.running, "it ended before the test did"
    job.cancel()
    job.join(60)
    assert job.error == ""


@contextmanager
def comparing(engine: Engine, folder: Path) -> Iterator[None]:
    over, ended = threading.Event(), threading.Event()

    def work() -> None:
        side = Side(engine.predictor, WORDS)
        for _ in compare(sorted(folder.glob("*.jpg")), side, side):
            if over.is_set():
                return
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join(60)
    assert not ended.is_set(), "it ended before the test did"


@pytest.mark.parametrize("working", [browsing, comparing])
def test_a_single_photo_waits_for_two_others_at_most(
    working: Callable[..., object], engine: Engine, many: Path, make_image: Callable[..., Path]
) -> None:
    mine = [make_image(f"mine/{i}.png", colour=(10 * i, 0, 0)) for i in range(9)]
    begun = engine.image_passes
    with working(engine, many):  # type: ignore[attr-defined]
        while engine.image_passes < begun + 2:
            threading.Event().wait(0.01)
        passes = []
        for photo in mine:
            before = engine.image_passes
            assert engine.detect(photo, WORDS, DetectSettings()).image_ran
            passes.append(engine.image_passes - before)
    assert median(passes) <= 3, passes  # its own, the one at work, one that came before


def test_another_checkpoint_takes_turns_too(engine: Engine, checkpoint: Path) -> None:
    other = open_detector(str(checkpoint), lock=engine.predictor.lock)
    ran = threading.Event()

    def look() -> None:
        other.encode_image(DEMO / "coffee.jpg")
        ran.set()

    with engine.predictor.lock:
        thread = threading.Thread(target=look)
        thread.start()
        assert not ran.wait(1)
    assert ran.wait(30)
    thread.join()
