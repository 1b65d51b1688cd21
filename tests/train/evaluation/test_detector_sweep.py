"""Looking at many photos: killed, gone on with, and shared by processes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detclipv2.datasets.labeled_set import read_truth
from detclipv2.inference.images import ImageError
from detclipv2.inference.predictor import Predictor
from detclipv2.model import DetCLIPv2
from tests.train.conftest import draw_set
from train.evaluation.detector_sweep import Questions, Sweep, done_photos, read_rows
from train.evaluation.metrics.rows import ANYTHING, ROW, Rows
from train.loop.distributed import World

Photos = list[tuple[int, Path]]
QUESTIONS = Questions.of(["red box", "green_box", "Red  Box"], [7, 8, 9])


class Counted(Predictor):
    """Notes what it looks at, and gives up at a given photo."""

    def __init__(self, model: DetCLIPv2, cache: Path, fail_at: int = -1) -> None:
        super().__init__(model, device="cpu", cache_dir=cache)
        self.seen: list[str] = []
        self.fail_at = fail_at

    def encode_image(self, image: Any, size: int | None = None, tiles: int = 1) -> Any:
        if len(self.seen) == self.fail_at:
            raise KeyboardInterrupt
        self.seen.append(Path(image).name)
        return super().encode_image(image, size, tiles)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    file = draw_set(tmp_path_factory.mktemp("sweep"), count=7)
    images = read_truth(file)["images"]
    return [(i["id"], file.parent / "images" / i["file_name"]) for i in images][::-1]


@pytest.fixture
def whole(tiny_model: DetCLIPv2, photos: Photos, tmp_path: Path) -> Rows:
    rows = Sweep(size=64).run(Counted(tiny_model, tmp_path), photos, QUESTIONS)
    assert rows is not None
    return rows


def test_categories_of_one_name_are_asked_for_once(whole: Rows) -> None:
    assert QUESTIONS.prompts == ("red box", "green_box")
    assert QUESTIONS.categories == ((7, 9), (8,))
    assert set(whole["category"].tolist()) == {7, 8, 9, ANYTHING}
    seven, nine = (whole[whole["category"] == c] for c in (7, 9))
    assert (seven["box"] == nine["box"]).all() and (seven["score"] == nine["score"]).all()
    assert (np.diff(whole["image"]) >= 0).all()


def test_rows_are_what_the_detector_says(
    tiny_model: DetCLIPv2, photos: Photos, whole: Rows, tmp_path: Path
) -> None:
    predictor = Predictor(tiny_model, device="cpu", cache_dir=tmp_path)
    image, path = photos[2]
    encoded = predictor.encode_image(path, 64)
    found = predictor.detect(encoded, list(QUESTIONS.prompts), threshold=0.01)
    own = whole[(whole["image"] == image) & np.isin(whole["category"], (7, 8))]
    assert len(own) == len(found) > 5
    np.testing.assert_array_equal(own["box"], found.xyxy)
    np.testing.assert_array_equal(own["category"], np.array([7, 8])[found.class_id])
    proposals = whole[(whole["image"] == image) & (whole["category"] == ANYTHING)]
    np.testing.assert_array_equal(
        proposals["box"], predictor.propose(encoded, list(QUESTIONS.prompts)).xyxy
    )


@pytest.mark.parametrize("torn", ["", "rows", "index", "lost"])
def test_a_killed_sweep_goes_on(
    tiny_model: DetCLIPv2, photos: Photos, whole: Rows, tmp_path: Path, torn: str
) -> None:
    sweep = Sweep(size=64, folder=tmp_path / "rows")
    with pytest.raises(KeyboardInterrupt):
        sweep.run(Counted(tiny_model, tmp_path, fail_at=4), photos, QUESTIONS)
    (folder,) = (tmp_path / "rows").iterdir()
    again = 4
    if torn == "lost":  # the disk has fewer boxes than the index says
        with (folder / "rank000.rows").open("r+b") as file:
            file.truncate((folder / "rank000.rows").stat().st_size - 1)
        again = 3
    elif torn:
        with (folder / f"rank000.{torn}").open("ab") as file:
            file.write(b"\x07" * (ROW.itemsize * 3 + 5 if torn == "rows" else 9))
    assert len(done_photos(folder)) == again
    second = Counted(tiny_model, tmp_path)
    rows = sweep.run(second, photos, QUESTIONS)
    assert second.seen == [path.name for _, path in photos[again:]]
    assert rows is not None and rows.tobytes() == whole.tobytes()
    third = Counted(tiny_model, tmp_path)
    assert np.array_equal(sweep.run(third, photos, QUESTIONS), whole) and not third.seen


def test_other_settings_never_meet(tiny_model: DetCLIPv2, photos: Photos, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    Sweep(size=64, folder=folder).run(Counted(tiny_model, tmp_path), photos[:2], QUESTIONS)
    others: list[tuple[Sweep, Sequence[tuple[int, Path]], Questions]] = [
        (Sweep(size=96, folder=folder), photos[:2], QUESTIONS),
        (Sweep(size=64, folder=folder, boxes=3), photos[:2], QUESTIONS),
        (Sweep(size=64, folder=folder), photos[:2], Questions.of(["red box"], [7])),
    ]
    for sweep, some, questions in others:
        looker = Counted(tiny_model, tmp_path)
        sweep.run(looker, some, questions)
        assert len(looker.seen) == 2
    assert len(list(folder.iterdir())) == 4


def test_ranks_share_photos_and_go_on_as_another_number(
    tiny_model: DetCLIPv2,
    photos: Photos,
    whole: Rows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Barrier(2)
    monkeypatch.setattr(World, "barrier", lambda self: self.size > 1 and gate.wait(60))
    folder = tmp_path / "rows"
    with pytest.raises(KeyboardInterrupt):
        Sweep(size=64, folder=folder).run(Counted(tiny_model, tmp_path, 1), photos, QUESTIONS)
    lookers = [Counted(tiny_model, tmp_path) for _ in range(2)]
    results: dict[int, Rows | None] = {}

    def look(rank: int) -> None:
        sweep = Sweep(size=64, folder=folder, world=World(rank, 2))
        results[rank] = sweep.run(lookers[rank], photos, QUESTIONS)

    threads = [threading.Thread(target=look, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [path.name for _, path in photos]
    assert lookers[0].seen == names[2::2] and lookers[1].seen == names[1::2]
    assert results[1] is None and np.array_equal(results[0], whole)


def test_what_cannot_be_right_is_refused(
    tiny_model: DetCLIPv2, photos: Photos, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="--out"):
        Sweep(world=World(0, 2))
    with pytest.raises(ImageError, match=r"gone\.png"):
        Sweep(size=64).run(Counted(tiny_model, tmp_path), [(1, tmp_path / "gone.png")], QUESTIONS)
    sweep = Sweep(size=64, folder=tmp_path / "rows")
    sweep.run(Counted(tiny_model, tmp_path), photos[:1], QUESTIONS)
    (folder,) = (tmp_path / "rows").iterdir()
    for kind in ("rows", "index"):
        (folder / f"rank001.{kind}").write_bytes((folder / f"rank000.{kind}").read_bytes())
    with pytest.raises(ValueError, match="at once"):
        read_rows(folder)
