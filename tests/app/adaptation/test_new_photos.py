"""What a run has learned, on photos that it never saw: detection, resuming, ONNX."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from app import cli
from app.adaptation.export import adapted_classes, read_adapted
from app.adaptation.learn import scores
from app.adaptation.prior import one_after_the_other, prior_weights
from app.adaptation.region_table import RegionTable
from app.adaptation.rescore import photo_regions, rescore
from app.adaptation.state import FILE, LearnedClasses, LearnedError
from app.engine import Engine
from app.index.ask import ask
from app.index.build import index_folder
from app.index.store import RegionIndex
from app.runs.store import ADAPTED, Run
from detclipv2.inference.images import open_image
from detclipv2.inference.suppression import Suppression
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DetectSettings
from tests.app.adaptation.test_learned_run import Command, command, draw_photos, review, run

__all__ = ["command", "run"]


@pytest.fixture
def learned(run: Run, command: Command, checkpoint: Path) -> Path:
    """Of random weights there is little to learn, so the file gets weights that move scores far."""
    review(run, range(14))
    assert command("learn", run.folder, "--model", checkpoint) == 0
    file = run.folder / FILE
    assert (
        command("learn", run.folder, "--model", checkpoint, "--out", file.with_name("o.npz")) == 0
    )
    assert file.with_name("o.npz").read_bytes() == file.read_bytes()
    classes = LearnedClasses.load(file)
    assert classes is not None
    reports = tuple(replace(r, basis="reviewed boxes") for r in classes.adapted.reports)
    weights = np.random.default_rng(0).normal(0, 0.3, classes.adapted.weights.shape)
    adapted = replace(classes.adapted, reports=reports, weights=weights.astype(np.float32))
    replace(classes, adapted=adapted).save(file)
    return file


def test_fresh_detection_gives_what_the_index_gives(
    run: Run, learned: Path, shared_engine: Engine
) -> None:
    """Up to the rounding of the index, and to words whose regions it does not keep."""
    classes = LearnedClasses.load(learned)
    assert classes is not None
    predictor = shared_engine.predictor.adapted(adapted_classes(classes))
    rules = Suppression(run.settings.detection.nms_iou, predictor.model.serving.soft_nms)
    agree = total = 0
    rows = {row.id: row for row in run.images()}
    for found in rescore(RegionIndex(index_folder(run)), classes, 0.1, rules):
        image = open_image(Path(rows[found.image].place))
        fresh = predictor.predict(image, run.settings.vocabulary, threshold=0.1)
        for box, score, of_class in zip(found.boxes, found.scores, found.classes, strict=True):
            same = np.abs(fresh.xyxy - box).max(axis=1) < 0.01
            same &= fresh.class_id == of_class
            total += 1
            agree += bool((np.abs(fresh.confidence[same] - score) < 0.02).any())
    assert total > 50
    assert agree > 0.95 * total


def test_asking_for_a_learned_class_gives_learned_boxes(
    run: Run, learned: Path, shared_engine: Engine
) -> None:
    """Those of `rescore`; of other words what they gave before."""
    classes = LearnedClasses.load(learned)
    assert classes is not None
    predictor = shared_engine.predictor.adapted(adapted_classes(classes))
    index = RegionIndex(index_folder(run))
    words = Vocabulary.parse("cup, red thing, blue thing")
    plain = DetectSettings(threshold=0.2, max_boxes=1000)
    answers = list(ask(index, predictor, words, plain))
    before = list(ask(index, shared_engine.predictor, words, plain))
    rules = Suppression(plain.nms_iou, predictor.model.serving.soft_nms)
    total = 0
    for one, words_only, wanted in zip(
        answers, before, rescore(index, classes, plain.threshold, rules), strict=True
    ):
        own = one.classes > 0
        total += int(own.sum())
        order = np.lexsort((-one.scores[own], one.classes[own]))
        expected = np.lexsort((-wanted.scores, wanted.classes))
        np.testing.assert_array_equal(one.classes[own][order] - 1, wanted.classes[expected])
        np.testing.assert_allclose(one.scores[own][order], wanted.scores[expected], atol=1e-4)
        np.testing.assert_array_equal(one.scores[~own], words_only.scores[words_only.classes == 0])
    assert total > 50


def test_a_new_run_has_learned_boxes_and_goes_on_with_them(
    run: Run,
    learned: Path,
    command: Command,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw_photos(tmp_path / "more", range(50, 54))
    detect = ["detect", tmp_path / "more", "--model", checkpoint, "--prompts", "red thing, cup"]
    assert command(*detect, "--run", tmp_path / "words") == 0
    kept = tmp_path / "kept.npz"
    kept.write_bytes(learned.read_bytes())
    assert command(*detect, "--run", tmp_path / "new", "--adapted", kept) == 0
    plain, new = Run(tmp_path / "words"), Run(tmp_path / "new")
    (own,) = [one for one in read_adapted(kept).classes if one.name == "red thing"]
    assert new.view.vocabulary.thresholds == {0: own.threshold}
    assert new.model_version != plain.model_version
    assert new.settings.adapted == str(kept.resolve())
    differs = False
    for before, after in zip(plain.images(), new.images(), strict=True):
        boxes = plain.stored(before), new.stored(after)
        cups = [[box for box in every if box.name == "cup"] for every in boxes]
        assert cups[0] == cups[1], "nothing was learned of cups"
        differs |= boxes[0] != boxes[1]
    assert differs
    # The index is of the regions, which are the same: other words may be asked of both.
    capsys.readouterr()
    assert command("ask", tmp_path / "new", "--model", checkpoint, "--prompts", "dog") == 0
    resume = ["detect", "--resume", tmp_path / "new", "--model", checkpoint]
    kept.unlink()
    assert command(*resume) == 0, "the run has a copy"
    (tmp_path / "new" / ADAPTED).rename(tmp_path / "moved.npz")
    capsys.readouterr()
    assert command(*resume) == cli.USAGE
    assert "say with --adapted where it was read from" in capsys.readouterr().err
    assert command(*resume, "--adapted", tmp_path / "moved.npz") == 0
    # With what was learned since it would be another detector.
    review(run, range(14, 18))
    assert command("learn", run.folder, "--model", checkpoint) == 0
    capsys.readouterr()
    assert command(*resume, "--adapted", run.folder) == cli.USAGE
    assert "the run was begun with checkpoint" in capsys.readouterr().err


def test_a_run_learns_on_from_what_it_was_begun_with(
    run: Run,
    learned: Path,
    command: Command,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw_photos(tmp_path / "more", range(60, 72))
    words = ["--prompts", "red thing\nblue thing", "--model", checkpoint, "--floor", "0.02"]
    assert (
        command("detect", tmp_path / "more", *words, "--run", tmp_path / "n", "--adapted", learned)
        == 0
    )
    new = Run(tmp_path / "n")
    index = RegionIndex(index_folder(new))
    first = read_adapted(learned)
    before = {row.id: new.stored(row) for row in new.images()}
    review(new, range(4))
    assert command("learn", tmp_path / "n", "--model", checkpoint) == 0
    second = LearnedClasses.load(tmp_path / "n" / FILE)
    assert second is not None
    # Without anything more learned it is the first file's scores, by this run's standard.
    words_of = second.words
    prior = prior_weights(first, new.settings.vocabulary, words_of, second.standard)
    assert prior.any(axis=1).all()
    adapted = replace(second.adapted, weights=prior)
    rules = Suppression(new.settings.detection.nms_iou, 0.0)
    agree = total = 0
    for found in rescore(index, replace(second, adapted=adapted), 0.02, rules):
        for box in before[found.image][:10]:
            total += 1
            same = np.abs(found.boxes - box.xyxy).max(axis=1) < 0.01
            agree += bool((np.abs(found.scores[same] - box.score) < 0.02).any())
    assert total > 50
    assert agree > 0.95 * total
    # And what is learned comes on top: logits one after the other.
    table = RegionTable.of([photo_regions(index, 0)], second.standard, words_of)
    more = np.random.default_rng(1).normal(0, 0.1, prior.shape).astype(np.float32)
    step = replace(table, words=scores(table, prior))
    np.testing.assert_allclose(
        scores(table, one_after_the_other(prior, more)), scores(step, more), atol=1e-3
    )
    exported = read_adapted(tmp_path / "n")
    assert {one.name for one in exported.classes} == {"red thing", "blue thing"}
    assert all(one.weights is not None for one in exported.classes)
    (tmp_path / "n" / ADAPTED).write_bytes((run.folder / FILE).read_bytes()[:-30])
    capsys.readouterr()
    assert command("learn", tmp_path / "n", "--model", checkpoint) == cli.USAGE
    assert ADAPTED in capsys.readouterr().err


def test_files_that_cannot_be_used_are_refused(
    learned: Path,
    command: Command,
    checkpoint: Path,
    tmp_path: Path,
    photo_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    detect = ["detect", photo_file, "--out", tmp_path / "out", "--prompts", "red thing"]
    (tmp_path / "bad.npz").write_bytes(b"PK and then nothing")
    for path, why in (("none.npz", "there is no"), ("bad.npz", "learn again")):
        assert command(*detect, "--model", checkpoint, "--adapted", tmp_path / path) == cli.USAGE
        assert why in capsys.readouterr().err
    assert command(*detect, "--model", "nano", "--adapted", learned) == cli.USAGE
    assert "name the model that they were learned with" in capsys.readouterr().err
    with pytest.raises(LearnedError, match="detclipv2 learn RUN"):
        read_adapted(tmp_path)


def test_onnx_has_what_was_learned(
    learned: Path, command: Command, checkpoint: Path, tmp_path: Path
) -> None:
    write = ["onnx", "--prompts", "red thing, cup", "--canvas", "96x64", "--model", checkpoint]
    assert command(*write, "--out", tmp_path / "a.onnx", "--adapted", learned) == 0
    about = {p.key: p.value for p in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert json.loads(about["names"]) == ["red thing", "cup"]
    assert about["prompts"].startswith("red thing @0.")
