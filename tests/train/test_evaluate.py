"""The whole way from a folder of data to a shipped checkpoint, on drawn photos."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detclipv2 import PRESETS
from detclipv2.checkpoint import inspect, load_checkpoint, save_checkpoint
from detclipv2.inference.predictor import Predictor
from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import imagenet_weights, load_imagenet
from tests.train.conftest import draw_set
from train import evaluate, pretrain
from train.data.readers.grounding import read_phrases
from train.data.readers.ov_mini import (
    BOXED,
    DEVELOPMENT,
    SPARSE,
    TAGGED,
    ZERO_SHOT,
    boxed_samples,
    photos_by_text,
    training_texts,
)
from train.data.readers.tags import read_tags
from train.evaluation.class_groups import group_classes, read_texts
from train.evaluation.metrics.detection import read_truth
from train.evaluation.zero_shot import phrase_recall, zero_shot_boxes
from train.nano import release as ship
from train.nano.prior import prior_of, with_prior


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as OV-mini."""
    root = tmp_path_factory.mktemp("data")
    for seed, source in enumerate((*BOXED, DEVELOPMENT, *ZERO_SHOT)):
        draw_set(root / source, count=4, seed=seed)
    photos = json.loads(draw_set(root / "flickr8k", count=8, seed=99).read_text())
    names = {c["id"]: c["text"] for c in photos["categories"]}
    captions = []
    for image in photos["images"]:
        phrases = [
            {"phrase": f"a {names[a['category_id']]}", "boxes": [a["bbox"]]}
            for a in photos["annotations"]
            if a["image_id"] == image["id"]
        ]
        captions.append({"image_id": image["id"], "caption": "boxes .", "phrases": phrases})
    grounding = {"images": photos["images"], "captions": captions}
    (root / "flickr8k" / "grounding.json").write_text(json.dumps(grounding))
    for seed, source in enumerate(TAGGED):
        drawn = json.loads(draw_set(root / source, count=3, seed=seed).read_text())
        drawn["annotations"] = [{"image_id": i, "category_id": 1} for i in (1, 2, 3)]
        for image in drawn["images"]:
            image["split"] = "train"
        (root / source / "tags.json").write_text(json.dumps(drawn))
    for source in ("flickr8k", "grocery_iconic"):
        value = {"images": [{"id": 1}], "annotations": [{"image_id": 1, "caption": "two zebras ."}]}
        (root / source / "captions.json").write_text(json.dumps(value))
    return root


def test_no_evaluation_set_is_trained_on() -> None:
    assert not {*BOXED} & {DEVELOPMENT, *ZERO_SHOT}


def test_a_checkpoints_figures_are_written_and_shipped(
    root: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    evaluate.main([str(tiny_checkpoint), str(root), "--size", "64", "--out", str(out)])
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
    ship.main([str(run / "checkpoint"), str(asset), *told])
    card = inspect(asset)["card"]
    assert card["steps"] == 5 and card["zero_shot_percent"] == {"figures": figures}
    serving = load_checkpoint(asset).serving
    assert (serving.size, serving.second) == (96, 160)
    with pytest.raises(SystemExit):
        ship.main([str(run / "checkpoint"), str(asset), *told, "--ranking", "iou"])
    assert "'iou' needs model.quality" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ship.main([str(run / "checkpoint"), str(asset), *told, "--strength", "1.5"])
    assert "has no ImageNet prior" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ship.main([str(run / "checkpoint"), str(asset), *told, "--shown", str(root)])
    assert "has no ImageNet prior" in capsys.readouterr().err

    (run / "experiment.json").write_text(json.dumps({"init": str(asset)}))
    ship.main([str(run / "checkpoint"), str(tmp_path / "next"), "--run", str(run)])
    card = inspect(tmp_path / "next")["card"]
    assert card["began_with"]["steps"] == 5 and "zero_shot_percent" not in card["began_with"]
    assert "flickr8k" in card["data_and_terms"]

    second = tmp_path / "second"
    shutil.copytree(run, second)
    (second / "experiment.json").write_text(json.dumps({"init": str(run / "checkpoint")}))
    ship.main([str(second / "checkpoint"), str(tmp_path / "last"), "--run", str(second)])
    stages = inspect(tmp_path / "last")["card"]["began_with"]
    assert stages["minutes"] == 2 and stages["began_with"]["steps"] == 5


def test_the_prior_is_attached_where_the_backbone_is_as_imagenet_left_it(
    root: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    narrow = replace(PRESETS["nano"], backbone="tf_efficientnet_lite0", width=96)
    plain = DetCLIPv2(narrow)
    plain.text_encoder.load_pretrained()
    load_imagenet(plain.image_tower.backbone, imagenet_weights(narrow.backbone, "package"))
    save_checkpoint(plain, tmp_path / "plain")
    grown = with_prior(load_checkpoint(tmp_path / "plain"))
    for name, tensor in load_checkpoint(tmp_path / "plain").state_dict().items():
        assert torch.equal(tensor, grown.state_dict()[name]), name
    # The nearest name to "a photo of a zebra" is the zebra's.
    names = prior_of(grown).names
    assert int((grown.encode_text(["a photo of a zebra"]) @ names.T).argmax()) == 340
    (tmp_path / "experiment.json").write_text("{}")
    line = {"kind": "train", "step": 5, "seconds": 90.0, "images_per_second": 3.0}
    (tmp_path / "log.jsonl").write_text(json.dumps(line))
    options = ["--run", str(tmp_path), "--prior", "--strength", "1.5"]
    ship.main([str(tmp_path / "plain"), str(tmp_path / "out"), *options])
    shipped = prior_of(load_checkpoint(tmp_path / "out"))
    assert float(shipped.strength) == 1.5
    assert max(photos_by_text(root).values()) >= 5
    ship.main([str(tmp_path / "plain"), str(tmp_path / "quiet"), *options, "--shown", str(root)])
    quiet = prior_of(load_checkpoint(tmp_path / "quiet"))
    assert not torch.equal(quiet.names, shipped.names)
    with torch.no_grad():
        plain.image_tower.backbone.net.conv_stem.weight.add_(0.05)
    with pytest.raises(ValueError, match="conv_stem"):
        with_prior(plain)


def test_tag_files_give_names_without_boxes(root: Path) -> None:
    (first, *_) = read_tags(root / "imagenet1k" / "tags.json")
    assert first.concepts == ("red box",) and len(first.boxes) == 0 and not first.exhaustive
    with pytest.raises(ValueError, match="not a tag file"):
        read_tags(root / "flickr8k" / "captions.json")


def test_sparse_sets_teach_by_their_boxes_only(root: Path) -> None:
    samples, repeats = boxed_samples(root)
    assert len(samples) == len(repeats)
    sparse = {s.image.parent.parent.name for s in samples if not s.exhaustive}
    assert sparse == set(SPARSE)


def test_unknown_configs_and_keys_are_refused() -> None:
    with pytest.raises(SystemExit, match=r"known: .*nano_boxes"):
        pretrain.main(["no_such_config"])
    with pytest.raises(SystemExit, match="unknown key"):
        pretrain.main(["nano_boxes", "speed=9"])


def test_proposals_and_recalls_agree_with_what_the_app_shows(
    root: Path, tiny_model: DetCLIPv2, tmp_path: Path
) -> None:
    predictor = Predictor(tiny_model, device="cpu", cache_dir=tmp_path)
    folder = root / DEVELOPMENT
    truth = read_truth(folder / "instances.json")
    figures, recall = zero_shot_boxes(predictor, truth, folder / "images", 64)
    assert 0 <= figures.ap <= figures.ap50 <= 100 and 0 <= recall <= 100
    encoded = predictor.encode_image(folder / "images" / truth["images"][0]["file_name"], 64)
    proposals = predictor.propose(encoded, ["red box", "cat"])
    assert len(proposals) <= 100 and (np.diff(proposals.confidence) <= 0).all()
    phrases = read_phrases(root / "flickr8k" / "grounding.json", split="val")
    found = phrase_recall(predictor, phrases, 64)
    assert 0 <= found[1] <= found[5] <= found[10] <= 100


def test_classes_fall_into_their_groups(root: Path) -> None:
    samples, _ = boxed_samples(root)
    texts = read_texts(training_texts(root))
    groups = group_classes(["red box", "zebra", "giraffe"], samples, texts, load_concepts())
    assert groups == {"red box": "boxed", "zebra": "named", "giraffe": "unseen"}
