"""The whole way from a folder of data to a shipped checkpoint, on drawn photos."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.checkpoint import inspect, load_checkpoint, save_checkpoint
from detclipv2.datasets.labeled_set import read_truth
from detclipv2.inference.predictor import Predictor
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import imagenet_weights, load_imagenet
from train import evaluate, pretrain
from train.data.readers.grounding import read_phrases
from train.data.readers.ov_mini import (
    BOXED,
    DEVELOPMENT,
    SPARSE,
    ZERO_SHOT,
    boxed_samples,
    photos_by_text,
    training_texts,
)
from train.data.readers.tags import read_tags
from train.evaluation.class_groups import group_classes, read_texts
from train.evaluation.zero_shot import phrase_recall, zero_shot_boxes
from train.nano import release
from train.nano.prior import prior_of, with_prior


def test_no_evaluation_set_is_trained_on() -> None:
    assert not {*BOXED} & {DEVELOPMENT, *ZERO_SHOT}


def test_a_checkpoints_figures_are_written_and_shipped(
    ov_mini: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    evaluate.main([str(tiny_checkpoint), str(ov_mini), "--size", "64", "--out", str(out)])
    figures = json.loads(out.read_text())
    assert set(figures["zero_shot_ap50"]) == {"mean", *ZERO_SHOT}
    assert set(figures["phrase_recall"]) == {"@1", "@5", "@10"}
    assert sum(len(g["classes"]) for g in figures[DEVELOPMENT]["groups"].values()) == len(
        figures[DEVELOPMENT]["ap50_by_class"]
    )
    assert "coco_dev class-agnostic AR@100" in capsys.readouterr().out

    run = tmp_path / "run"
    run.mkdir()
    save_checkpoint(load_checkpoint(tiny_checkpoint), run / "checkpoint")
    (run / "experiment.json").write_text("{}")
    line = {"kind": "train", "step": 5, "seconds": 90.0, "images_per_second": 3.0}
    (run / "log.jsonl").write_text(json.dumps(line) + "\n")
    asset = tmp_path / "asset"
    told = ["--run", str(run), "--figures", str(out), "--size", "96", "--second", "160"]
    release.main([str(run / "checkpoint"), str(asset), *told])
    card = inspect(asset)["card"]
    assert card["steps"] == 5 and card["zero_shot_percent"] == {"figures": figures}
    serving = load_checkpoint(asset).serving
    assert (serving.size, serving.second) == (96, 160)
    with pytest.raises(SystemExit, match=r"'iou' needs model\.quality"):
        release.main([str(run / "checkpoint"), str(asset), *told, "--ranking", "iou"])
    for words in (["--strength", "1.5"], ["--less-of-boxed", str(ov_mini)]):
        with pytest.raises(SystemExit, match="has no ImageNet prior"):
            release.main([str(run / "checkpoint"), str(asset), *told, *words])

    entries = [{"name": "boxes", "kind": "train", "inputs": []}]
    (tmp_path / "provenance.json").write_text(json.dumps(entries))
    release.main(
        [str(asset), str(tmp_path / "next"), "--provenance", str(tmp_path / "provenance.json")]
    )
    assert json.loads((tmp_path / "next" / "provenance.json").read_text()) == entries
    assert inspect(tmp_path / "next")["card"]["zero_shot_percent"] == {"figures": figures}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained nano on ImageNet's backbone."""
    torch.manual_seed(0)
    narrow = replace(PRESETS["nano"], backbone="tf_efficientnet_lite0", width=96)
    model = DetCLIPv2(narrow)
    model.text_encoder.load_pretrained()
    load_imagenet(model.image_tower.backbone, imagenet_weights(model.config.backbone, "package"))
    folder = tmp_path_factory.mktemp("plain")
    save_checkpoint(model, folder)
    return folder


def test_the_imagenet_prior_is_attached_to_imagenets_backbone(
    plain: Path, ov_mini: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    release.main([str(plain), str(out), "--imagenet-prior", "--strength", "1.5"])
    grown = load_checkpoint(out)
    assert float(prior_of(grown).strength) == 1.5
    before, after = load_checkpoint(plain), grown.state_dict()
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after[name]), name
    # The nearest name to "a photo of a zebra" is the zebra's.
    names = prior_of(grown).names
    assert int((grown.encode_text(["a photo of a zebra"]) @ names.T).argmax()) == 340
    assert max(photos_by_text(ov_mini).values()) >= 5
    release.main([str(out), str(tmp_path / "quiet"), "--less-of-boxed", str(ov_mini)])
    quiet = prior_of(load_checkpoint(tmp_path / "quiet"))
    assert not torch.equal(quiet.names, names)
    with torch.no_grad():
        before.image_tower.backbone.net.blocks[5][0].conv_pw.weight.mul_(1.2)
    with pytest.raises(ValueError, match=r"changed the backbone .*blocks\.5\.0\.conv_pw"):
        with_prior(before)


def test_tag_files_give_names_without_boxes(ov_mini: Path) -> None:
    (first, *_) = read_tags(ov_mini / "imagenet1k" / "tags.json")
    assert first.concepts == ("red box",) and len(first.boxes) == 0 and not first.exhaustive
    with pytest.raises(ValueError, match="not a tag file"):
        read_tags(ov_mini / "flickr8k" / "captions.json")


def test_sparse_sets_teach_by_their_boxes_only(ov_mini: Path) -> None:
    samples, repeats = boxed_samples(ov_mini)
    assert len(samples) == len(repeats)
    sparse = {s.image.parent.parent.name for s in samples if not s.exhaustive}
    assert sparse == set(SPARSE)


def test_unknown_configs_and_keys_are_refused() -> None:
    with pytest.raises(SystemExit, match=r"known: finetune, nano, paper"):
        pretrain.main(["no_such_config"])
    with pytest.raises(SystemExit, match="unknown key"):
        pretrain.main(["nano:boxes", "speed=9"])


def test_proposals_and_recalls_agree_with_what_the_app_shows(
    ov_mini: Path, tiny_model: DetCLIPv2, tmp_path: Path
) -> None:
    predictor = Predictor(tiny_model, device="cpu", cache_dir=tmp_path)
    folder = ov_mini / DEVELOPMENT
    truth = read_truth(folder / "instances.json")
    figures, recall = zero_shot_boxes(predictor, truth, folder / "images", 64)
    assert 0 <= figures.ap <= figures.ap50 <= 100 and 0 <= recall <= 100
    encoded = predictor.encode_image(folder / "images" / truth["images"][0]["file_name"], 64)
    proposals = predictor.propose(encoded, ["red box", "cat"])
    assert len(proposals) <= 100 and (np.diff(proposals.confidence) <= 0).all()
    phrases = read_phrases(ov_mini / "flickr8k" / "grounding.json", split="val")
    found = phrase_recall(predictor, phrases, 64)
    assert 0 <= found[1] <= found[5] <= found[10] <= 100


def test_classes_fall_into_their_groups(ov_mini: Path) -> None:
    samples, _ = boxed_samples(ov_mini)
    texts = read_texts(training_texts(ov_mini))
    groups = group_classes(["red box", "zebra", "giraffe"], samples, texts, load_concepts())
    assert groups == {"red box": "boxed", "zebra": "named", "giraffe": "unseen"}
