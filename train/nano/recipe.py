"""How the embedded checkpoint was made: a list of steps that train.recipe runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "train",
    "average",
    "swap_backbone",
    "pseudo_boxes",
    "ensemble",
    "release",
    "calibrate_scores",
    "calibrate_absence",
    "evaluate",
]


@dataclass(frozen=True)
class Step:
    """One step; what it leaves lies in a folder of its name.

    Attributes:
        name: of the step and its folder.
        kind: what is done, a key of `train.nano.steps.KINDS`.
        inputs: names of earlier steps, in the order in which `kind` takes them.
        settings: JSON values, as `kind` takes them.
        note: what the settings do not say.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


_HALF = "loop.precision=bf16"
_ONE = "threads=1"


def _train(
    name: str, stage: str, *inputs: str, overrides: tuple[str, ...] = (), note: str = ""
) -> Step:
    return Step(name, "train", inputs, {"stage": stage, "overrides": list(overrides)}, note)


def _average(name: str, *inputs: str, weights: tuple[int, ...] = (), note: str = "") -> Step:
    equal = [1] * len(inputs)
    return Step(name, "average", inputs, {"weights": list(weights) or equal}, note)


RECIPE: tuple[Step, ...] = (
    _train(
        "boxes",
        "boxes",
        note="91 minutes. Ran before `BoxesConfig` had its present form: 50 negatives a batch; "
        "12 concepts a photo, filled up from the dictionary, stand for that.",
    ),
    _train("with_pairs", "with_pairs", "boxes", note="116 minutes"),
    _train("finish", "finish", "with_pairs", note="94 minutes"),
    _train("finish_again", "finish", "finish", overrides=("loop.steps=3000",), note="73 minutes"),
    _average("finish_mean", "finish", "finish_again"),
    _train("polish", "polish", "finish_mean", note="5 minutes"),
    _train("large", "large", "polish", overrides=(_HALF, _ONE), note="21 minutes"),
    _average("branches_mean", "large", "polish", note="the branches of quality are those of large"),
    _train("shortcut", "shortcut", "branches_mean", overrides=(_HALF, _ONE), note="27 minutes"),
    _train(
        "shortcut_again",
        "shortcut",
        "shortcut",
        overrides=("loop.steps=700", "optim.lr=6e-4", "seed=1", _HALF, _ONE),
        note="12 minutes",
    ),
    _average(
        "narrow",
        "shortcut_again",
        "shortcut",
        "branches_mean",
        note="the shortcut of branches_mean counts as zero",
    ),
    Step(
        "swapped",
        "swap_backbone",
        ("narrow",),
        {"backbone": "tf_efficientnet_lite2", "width": 128, "steps": 80, "seed": 0},
        "40 seconds",
    ),
    _train("wide", "wide", "swapped", overrides=(_HALF, _ONE), note="101 minutes"),
    _train(
        "wide_again",
        "wide",
        "swapped",
        overrides=("seed=1", "streams.tags.weight=1.0", "streams.pairs.weight=0.1", _HALF, _ONE),
        note="104 minutes",
    ),
    _average("wide_mean", "wide", "wide_again", "swapped", weights=(2, 2, 1)),
    _train("ranked", "ranked", "wide_mean", overrides=("seed=31", _HALF, _ONE), note="75 minutes"),
    _train(
        "ranked_again",
        "ranked",
        "wide_mean",
        overrides=("seed=47", "streams.tags.weight=0.7", _HALF, _ONE),
        note="68 minutes",
    ),
    Step(
        "finder",
        "release",
        ("wide_mean",),
        {"size": 448, "least": 448, "ranking": "both"},
        "only to find pseudo boxes",
    ),
    Step("found_boxes", "pseudo_boxes", ("finder",), note="1,711 of 2,139 photos got a box"),
    _train(
        "pseudo_boxed",
        "pseudo_boxes",
        "wide_mean",
        "found_boxes",
        overrides=("seed=11", _HALF, _ONE),
        note="77 minutes",
    ),
    _average("first_tower", "wide_mean", "ranked", "ranked_again", "pseudo_boxed"),
    _train(
        "narrow_ranked",
        "second_tower",
        "narrow",
        overrides=("seed=201", _HALF, _ONE),
        note="55 minutes",
    ),
    _average("second_tower", "narrow", "narrow_ranked"),
    Step(
        "ensemble",
        "ensemble",
        ("first_tower", "second_tower"),
        {"embeddings": 0.4, "boxes": 0.5},
        "the second tower's shares: out of six pairs, by COCO's photos and flickr8k's phrases",
    ),
    Step(
        "with_prior",
        "release",
        ("ensemble",),
        {
            "imagenet_prior": True,
            "less_of_boxed": True,
            "strength": 2.3,
            "size": 448,
            "least": 448,
            "half": 0.5,
            "second": 640,
            "ranking": "both",
            "soft_nms": 0.3,
            "int8": True,
        },
        "strength, looks and the suppression's sigma: by COCO's photos and flickr8k's phrases",
    ),
    Step("calibrated", "calibrate_scores", ("with_prior",), {"photos": 600}),
    Step("measured", "calibrate_absence", ("calibrated",), {"precision": 0.9}),
    Step(
        "with_prior_figures",
        "evaluate",
        ("measured",),
        {"runtime": "openvino", "imagenet_prior": True},
        "48 minutes",
    ),
    Step(
        "without_prior_figures",
        "evaluate",
        ("measured",),
        {"runtime": "openvino", "imagenet_prior": False},
        "47 minutes",
    ),
    Step("nano", "release", ("measured", "with_prior_figures", "without_prior_figures")),
)
"""The steps in their order; figures are of two CPU cores, 920 minutes of training in all."""

RECIPES: Mapping[str, tuple[Step, ...]] = {"nano": RECIPE}
"""By the name of what they make."""
