from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from train.ablations import report
from train.ablations.report import write_report
from train.ablations.runs import ASKED, FIGURES, read_runs
from train.ablations.significance import (
    Estimate,
    difference,
    difference_by_seed,
    estimate,
    sentence,
    t_quantile,
    verdict,
)
from train.ablations.tables import ROWS
from train.ablations.tuning_report import Tuned
from train.loop.run_log import images_per_second, speed


@pytest.mark.parametrize(
    ("freedom", "value"),
    [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (4, 2.776),
        (5, 2.571),
        (10, 2.228),
        (30, 2.042),
        (1000, 1.962),
    ],
)
def test_quantiles_are_those_of_the_printed_tables(freedom: int, value: float) -> None:
    assert t_quantile(freedom) == pytest.approx(value, abs=6e-4)


def test_other_levels_and_impossible_degrees_of_freedom() -> None:
    assert t_quantile(2, 0.99) == pytest.approx(9.925, abs=1e-3)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        t_quantile(0)


def test_a_mean_has_the_t_interval_of_its_runs() -> None:
    # Mean 2, standard deviation 1, of three runs: 4.3027 / √3.
    assert estimate([1, 2, 3]).value == 2
    assert estimate([1, 2, 3]).half == pytest.approx(2.4842, abs=1e-4)
    assert estimate([7.5]) == Estimate(7.5, None)
    assert str(estimate([1, 2, 3])) == "2.00 ± 2.48" and str(estimate([7.5])) == "7.50"
    with pytest.raises(ValueError, match="at least one"):
        estimate([])


def test_a_difference_has_welchs_interval() -> None:
    # Equal variances 1: four degrees of freedom, 2.7764 · √(2/3).
    same = difference([1, 2, 3], [11, 12, 13])
    assert same.value == -10 and same.half == pytest.approx(2.2670, abs=1e-4)
    # Variances 1 and 4: (5/3)² / ((1/9 + 16/9) / 2) = 2.94, so two; 4.3027 · √(5/3).
    unlike = difference([1, 2, 3], [2, 4, 6])
    assert unlike.value == -2 and unlike.half == pytest.approx(5.5547, abs=1e-4)
    assert difference([1, 1], [3, 3]) == Estimate(-2, 0.0)
    assert difference([1, 2], [3]).half is None


def test_runs_of_one_seed_are_compared_with_each_other() -> None:
    one, other = {0: 1.0, 1: 5.0, 2: 9.0}, {0: 2.0, 1: 6.5, 2: 9.5}
    ours = difference_by_seed(one, other)
    assert ours == estimate([-1.0, -1.5, -0.5]) and ours.significant is False
    assert difference(list(one.values()), list(other.values())).half > 3 * (ours.half or 9)
    assert difference_by_seed({0: 1.0, 1: 3.0, 7: 50.0}, {1: 2.0, 0: 0.0}) == Estimate(1.0, 0.0)
    apart = difference_by_seed({0: 1.0, 1: 2.0}, {2: 2.0, 3: 4.0})
    assert apart == difference([1.0, 2.0], [2.0, 4.0])


@pytest.mark.parametrize(
    ("ours", "paper", "said"),
    [
        (Estimate(-1.0, 0.4), -0.7, "agrees"),
        (Estimate(1.0, 0.4), 0.7, "agrees"),
        (Estimate(1.0, 0.4), -0.7, "disagrees"),
        (Estimate(-0.3, 0.4), -0.7, "not significant"),
        (Estimate(-0.4, 0.4), -0.7, "not significant"),
        (Estimate(-0.3, None), -0.7, "unknown"),
        (Estimate(0.1, 0.4), 0.0, "agrees"),
        (Estimate(0.5, 0.4), 0.0, "disagrees"),
    ],
)
def test_directions_are_judged(ours: Estimate, paper: float, said: str) -> None:
    assert verdict(ours, paper) == said


def test_sentences_say_both_differences() -> None:
    ours = Estimate(-1.0, 0.4)
    assert sentence("a", "b", ours, -0.7) == (
        "a against b: -1.00 ± 0.40; the direction agrees with the paper's -0.7."
    )
    assert "disagrees with the paper's +0.7" in sentence("a", "b", ours, 0.7)
    assert "not significant, the paper has -0.7" in sentence("a", "b", Estimate(0.1, 0.4), -0.7)
    assert "one run alone shows no direction" in sentence("a", "b", Estimate(0.1, None), -0.7)
    assert sentence("a", "b", ours, None) == "a against b: -1.00 ± 0.40; significant."
    assert sentence("a", "b", Estimate(0.1, 0.4), None).endswith("± 0.40; not significant.")
    assert sentence("a", "b", Estimate(0.1, None), None).endswith("one run alone shows nothing.")


def test_speed_is_the_mean_over_time() -> None:
    lines = [{"seconds": s, "images_per_second": v} for s, v in ((10, 4.0), (30, 1.0))]
    assert images_per_second(lines) == pytest.approx(2.0)
    # A kill threw the clock back to 20 s; the line there has no time of its own.
    again = [{"seconds": s, "images_per_second": v} for s, v in ((20, 9.0), (40, 1.0))]
    assert images_per_second(lines + again) == pytest.approx(80 / 50)
    assert images_per_second([]) is None


def test_a_run_without_a_log_has_no_speed(tmp_path: Path) -> None:
    assert speed(tmp_path) == {"images_per_second": None, "minutes": None}
    line = {"kind": "train", "step": 9, "seconds": 120.0, "images_per_second": 15.0}
    other = {"kind": "evaluation", "seconds": 300.0}
    (tmp_path / "log.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps(other)}\n")
    assert speed(tmp_path) == {"images_per_second": 15.0, "minutes": 2.0}


def _runs(folder: Path, rows: dict[str, list[dict[str, float | None] | None]]) -> Path:
    """A folder of ablations: each row's runs with their figures, None for one that is not done."""
    asked = {}
    for number, (name, runs) in enumerate(rows.items()):
        asked[name] = {"folder": f"row{number}", "seeds": len(runs)}
        for seed, figures in enumerate(runs):
            run = folder / f"row{number}" / f"seed{seed}"
            if figures is None:
                continue
            run.mkdir(parents=True)
            told = {
                "seed": seed,
                "steps": 9,
                "images_per_second": 15.0,
                "minutes": 2.0,
                "figures": figures,
                "detail": {"long": "list"},
            }
            (run / FIGURES).write_text(json.dumps(told))
    folder.mkdir(exist_ok=True)
    told = {"settings": {"preset": "nano", "steps": 9, "overrides": []}, "rows": asked}
    (folder / ASKED).write_text(json.dumps(told))
    return folder


def _ap(*values: float) -> list[dict[str, float | None] | None]:
    return [{"ap": value, "ap50": 2 * value} for value in values]


def test_a_table_stands_beside_the_papers_with_its_verdicts(tmp_path: Path) -> None:
    runs = _runs(
        tmp_path / "runs",
        {
            "2d/k=100": _ap(10.0, 10.1, 10.2),
            "2d/k=25": _ap(8.0, 8.2, 8.1),
            "2d/k=50": _ap(10.2, 10.1, 10.0),
            "2d/k=200": _ap(12.0, 12.2, 12.1),
            "open/as the paper": _ap(1.0, 1.1),
            "open/oln": _ap(3.0, 3.1),
            "5/DetCLIPv2-T": _ap(5.0),
        },
    )
    out = tmp_path / "deep" / "tables.md"
    report.main([str(runs), "--out", str(out)])
    text = out.read_text()
    assert "| **k=100** | 31.3 | – | 10.10 ± 0.25 | 3 | 15.0 | 2.0 |" in text
    assert "| k=25 | 30.6 | – | 8.10 ± 0.25 | 3 | 15.0 | 2.0 |" in text
    half = 4.3027 * 0.1 / math.sqrt(3)
    assert (
        f"k=25 against k=100: -2.00 ± {half:.2f}; the direction agrees with the paper's -0.7."
        in text
    )
    assert (
        "k=200 against k=100: +2.00 ± 0.25; the direction disagrees with the paper's -0.5" in text
    )
    assert "k=50 against k=100: +0.00 ± 0.50; not significant, the paper has -0.5." in text
    assert "oln against as the paper: +2.00 ± 0.00; significant." in text
    assert "| GLIP-T | – | 7400 GPU-h, 1.6 FPS | quoted | 0 | – | – |" in text
    assert "Table 2a" not in text and "## Table 2d" in text and "## Open problems" in text
    assert "not asked for" in text and "Missing" not in text
    for table in ("2d", "5", "open"):
        with Image.open(out.parent / f"tables-{table}.png") as picture:
            assert picture.width > 600 and len(set(picture.convert("L").tobytes())) > 20


def test_what_is_not_there_is_listed(tmp_path: Path) -> None:
    done = {"ap": 4.0}
    runs = _runs(
        tmp_path,
        {
            "2d/k=100": [done, done, {"ap50": 1.0}],
            "2d/k=25": [done, None, None],
            "2d/k=50": [None],
            "2d/k=200": [None],
        },
    )
    (tmp_path / "row2" / "seed0").mkdir(parents=True)
    line = {"kind": "train", "step": 7, "seconds": 2.0, "images_per_second": 1.0}
    (tmp_path / "row2" / "seed0" / "log.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "row3" / "seed0").mkdir(parents=True)
    (tmp_path / "row3" / "seed0" / "failed.txt").write_text("step 3: not finite\n")
    write_report(runs, tmp_path / "out.md")
    text = (tmp_path / "out.md").read_text()
    assert "- k=25: seed 1 not begun, seed 2 not begun" in text
    assert "- k=50: seed 0 got to step 7" in text
    assert "- k=200: seed 0 failed: step 3: not finite" in text
    assert "- k=100: seed 2 has no ap" in text
    assert "| k=50 | 30.8 | – | missing | 0 |" in text
    assert "k=25 against k=100: +0.00; one run alone shows no direction" in text
    assert "k=50 against" not in text


def test_other_figures_and_wrong_ones(tmp_path: Path) -> None:
    runs = _runs(tmp_path, {"2c/both": _ap(1.0, 2.0), "2c/text_to_image": _ap(3.0)})
    assert read_runs(runs).values("2c/both", "ap50") == {0: 2.0, 1: 4.0}
    write_report(runs, tmp_path / "out.md", ["ap50"])
    assert "| both | 30.9 | – | 3.00 ± 12.71 |" in (tmp_path / "out.md").read_text()
    with pytest.raises(SystemExit, match="no figure 'mota'; known: ap, ap50"):
        report.main([str(runs), "--out", str(tmp_path / "x.md"), "--figures", "ap", "mota"])
    with pytest.raises(SystemExit, match=r"has no ablation\.json"):
        report.main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "x.md")])


def test_kept_figures_give_the_same_report_and_name_what_is_still_to_do(tmp_path: Path) -> None:
    runs = _runs(tmp_path / "runs", {"2c/both": [{"ap": 1.0}, None], "2c/text_to_image": _ap(3.0)})
    report.main([str(runs), "--out", str(tmp_path / "one.md"), "--keep", str(tmp_path / "kept")])
    assert "detail" not in next((tmp_path / "kept").glob("row0/*/figures.json")).read_text()
    write_report(tmp_path / "kept", tmp_path / "two.md")
    one, two = ((tmp_path / name).read_text() for name in ("one.md", "two.md"))
    assert two == one.replace("one-2c.png", "two-2c.png") and "seed 1 not begun" in two


def test_several_figures_stand_side_by_side(tmp_path: Path) -> None:
    rows = {
        "2c/both": [{"ap": 1.0, "ar100": 20.0}, {"ap": 1.2, "ar100": 20.4}],
        "2c/text_to_image": [{"ap": 3.0, "ar100": 24.0}, {"ap": 3.2, "ar100": 24.4}],
    }
    write_report(_runs(tmp_path / "runs", rows), tmp_path / "out.md", ["ap", "ar100"])
    text = (tmp_path / "out.md").read_text()
    assert "| row | paper: AP | paper: cost | ap | ar100 | runs | images/s | minutes |" in text
    assert "| both | 30.9 | – | 1.10 ± 1.27 | 20.20 ± 2.54 | 2 | 15.0 | 2.0 |" in text
    ap, recall = text.split("ap:\n\n")[1].split("ar100:\n\n")
    assert "the direction agrees with the paper's -0.4" in ap
    assert "both against text_to_image: -4.00 ± 0.00; significant." in recall


def test_every_table_can_be_reported(tmp_path: Path) -> None:
    rows = {row.name: _ap(1.0, 2.0) for row in ROWS if row.change is not None}
    write_report(_runs(tmp_path, rows), tmp_path / "out.md")
    text = (tmp_path / "out.md").read_text()
    assert text.count("\n## ") == len({row.table for row in ROWS}) == len([*tmp_path.glob("*.png")])
    against = sum(bool(row.against) for row in ROWS)
    assert text.count(" against ") - text.count("are against") == against
    assert "L full+IN1k against L full" in text


def test_fine_tunings_stand_side_by_side(tmp_path: Path) -> None:
    runs = _runs(tmp_path / "runs", {"2c/both": _ap(1.0), "2c/text_to_image": _ap(3.0)})
    for way, gain in (("shipped", 20.0), ("backbone", 0.0)):
        (tmp_path / way).mkdir()
        sets = {
            name: {"ap": 1.0, "ap50": value + gain, "other_ap50": 5.0}
            | ({"kept_ap50": value - 1, "kept_other_ap50": 8.0} if gain else {})
            for name, value in (("fish", 30.0), ("fruit", 40.0))
        }
        Tuned(sets, "coco", 9.0, {"steps": 7}).write(tmp_path / way)
    ways = [f"from {way}={tmp_path / way}" for way in ("shipped", "backbone")]
    report.main([str(runs), "--out", str(tmp_path / "out.md"), "--tuned", *ways])
    text = (tmp_path / "out.md").read_text().split("## Fine-tuning")[1]
    assert "from shipped, kept: AP50 | from shipped, kept: coco AP50 | from backbone: AP50" in text
    assert "| fish | 50.0 | 5.0 | 29.0 | 8.0 | 30.0 | 5.0 |" in text
    assert "| mean | 55.0 | 5.0 | 34.0 | 8.0 | 35.0 |" in text
    assert "- from shipped: steps 7; coco AP50 before 9.0" in text
    Tuned({"fish": {"ap50": 1.0}}, "", 0.0, {}).write(tmp_path / "backbone")
    with pytest.raises(SystemExit, match="different sets"):
        report.main([str(runs), "--out", str(tmp_path / "out.md"), "--tuned", *ways])
    with pytest.raises(SystemExit, match=r"no tuned\.json"):
        report.main([str(runs), "--out", str(tmp_path / "out.md"), "--tuned", f"x={tmp_path}"])
    with pytest.raises(SystemExit, match="LABEL=FOLDER"):
        report.main([str(runs), "--out", str(tmp_path / "out.md"), "--tuned", "x"])


def test_rows_on_other_data_are_not_paired(tmp_path: Path) -> None:
    rows = {"4/O365": _ap(1.0, 1.1), "4/O365+GoldG+CC15M": _ap(3.0, 3.1)}
    write_report(_runs(tmp_path / "runs", rows), tmp_path / "out.md")
    welch = difference([1.0, 1.1], [3.0, 3.1])
    assert (
        f"against O365+GoldG+CC15M: {welch.value:+.2f} ± {welch.half:.2f}; the direction"
        in (tmp_path / "out.md").read_text()
    )
