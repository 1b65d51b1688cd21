"""Decisions: what is reported stays, later ones win, and undoing is a later row."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.box import Box
from app.review.decision import Decision, DecisionError, decisions_from, standing
from app.review.decisions import FILE, Decisions
from tests.places import REPO

CAT = Box("cat", 0.8, (1.0, 2.0, 30.0, 40.5))
CUP = Box("cup", 0.4, (50.0, 2.0, 90.0, 40.0))


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    return Decisions(tmp_path)


def test_a_photo_is_new_then_in_work_then_reviewed(decisions: Decisions, tmp_path: Path) -> None:
    assert decisions.review(7).state == "new"
    assert not (tmp_path / FILE).exists(), "reading makes no file"
    decisions.decide(7, [Decision.accept(CAT), Decision.reject(CUP)], by="ann")
    assert decisions.review(7).state == "in work"
    decisions.decide(7, [], reviewed=["cat"])
    decisions.decide(7, [], reviewed=["cup"])
    decisions.decide(8, [Decision.add("cat", (0, 0, 5, 5))])
    decisions.close()
    again = Decisions(tmp_path).reviews()
    assert [again[7].state, again[8].state] == ["reviewed", "in work"]
    assert again[7].boxes == (CAT,) and again[7].rejected == (CUP,)
    assert again[7].classes == {"cat", "cup"}
    assert again[8].boxes == (Box("cat", 1.0, (0, 0, 5, 5)),)


def test_later_decisions_win_also_over_boxes_that_earlier_ones_made(decisions: Decisions) -> None:
    moved = replace(CAT, xyxy=(2.0, 2.0, 31.0, 41.0))
    decisions.decide(1, [Decision.reject(CAT)])
    decisions.decide(1, [Decision.accept(CAT)])
    decisions.decide(1, [Decision.move(CAT, moved.xyxy)])
    decisions.decide(1, [Decision.rename(moved, "dog")])
    assert decisions.review(1).boxes == (replace(moved, name="dog"),)
    decisions.decide(1, [Decision.add("cup", CUP.xyxy), Decision.add("cup", (1, 1, 2, 2))])
    decisions.decide(1, [Decision.reject(Box("cup", 1.0, CUP.xyxy))])
    assert [box.name for box in decisions.review(1).boxes] == ["dog", "cup"]


def test_undo_takes_back_whole_steps_from_the_last_one(decisions: Decisions) -> None:
    assert decisions.undo() is None
    decisions.decide(1, [Decision.accept(CAT), Decision.accept(CUP)])
    decisions.decide(2, [Decision.accept(CUP)], reviewed=["cup"])
    decisions.decide(1, [Decision.reject(CAT)])
    assert decisions.undo(2) == 2
    assert decisions.review(2).state == "new"
    assert decisions.undo() == 1
    assert decisions.review(1).boxes == (CAT, CUP)
    assert decisions.undo() == 1
    assert decisions.undo() is None
    assert decisions.undo(1) is None
    decisions.decide(1, [Decision.accept(CUP)])
    assert decisions.review(1).boxes == (CUP,), "a step after an undone one has its own number"


def test_a_killed_process_loses_no_decision_that_it_reported(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from app.review.decisions import Decisions\n"
        "from app.review.decision import Decision\n"
        "table = Decisions(Path(sys.argv[1]))\n"
        "for n in range(10**6):\n"
        "    table.decide(n, [Decision.add('cat', (k, 0, k + 1, 9)) for k in range(5)])\n"
        "    print(n, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 30:
            process.send_signal(signal.SIGKILL)
            break
    reported = [30, *map(int, process.stdout.read().split())]
    process.wait()
    found = Decisions(tmp_path).reviews()
    assert found.keys() >= {*range(max(reported) + 1)}
    assert {len(one.boxes) for one in found.values()} == {5}, "a step is whole"


def test_what_is_no_box_and_what_is_no_table_is_refused(
    decisions: Decisions, tmp_path: Path
) -> None:
    nan = float("nan")
    for xyxy in ((5, 5, 5, 9), (-1, 0, 5, 5), (0, 0, nan, 5), (0, 0, 1e9, 5)):
        with pytest.raises(DecisionError, match="pixels"):
            Decision.add("cat", xyxy)
    for kind, before, after in (("added", CAT, CAT), ("rejected", CAT, CAT), ("kept", CAT, CAT)):
        with pytest.raises(DecisionError):
            Decision(kind, before, after)  # type: ignore[arg-type]
    with pytest.raises(DecisionError, match="at most"):
        decisions.decide(1, [Decision.accept(CAT)] * 10_001)
    decisions.decide(1, [Decision.accept(CAT)], reviewed=["cat"])
    decisions.close()
    for change in ("classes = '{'", "classes = '3'"):
        with sqlite3.connect(tmp_path / FILE) as db:
            db.execute(f"UPDATE decisions SET {change} WHERE kind = 'reviewed'")
        db.close()
        with pytest.raises(DecisionError, match="put a copy back"):
            decisions.reviews()
        decisions.close()
    (tmp_path / FILE).write_bytes(b"not a table")
    with pytest.raises(DecisionError, match="no SQLite file"):
        decisions.reviews()


def test_reviewed_boxes_become_decisions() -> None:
    nearly = replace(CAT, xyxy=(1.2, 2.0, 30.0, 40.5))
    dog = Box("dog", 1.0, (51.0, 3.0, 90.0, 40.0))
    other = Box("cat", 1.0, (100.0, 100.0, 120.0, 120.0))
    far = Box("cup", 0.3, (200.0, 0.0, 210.0, 10.0))
    wide = Box("cup", 0.3, (300.0, 0.0, 310.0, 10.0))
    moved = Box("cup", 1.0, (300.0, 0.0, 313.0, 10.0))
    found = decisions_from([CAT, CUP, far, wide], [nearly, dog, other, moved])
    assert [one.kind for one in found] == ["accepted", "renamed", "rejected", "moved", "added"]
    assert found[0].after == CAT
    assert found[1].after == replace(dog, score=CUP.score)
    assert found[3].after is not None and found[3].after.xyxy == moved.xyxy
    assert decisions_from([], []) == []
    with pytest.raises(DecisionError, match="too many"):
        decisions_from([CAT] * 6000, [CAT] * 5000)


def test_a_box_that_is_added_twice_is_there_once() -> None:
    added = Decision.add("cat", (0, 0, 9, 9))
    assert len(standing([added, added])[0]) == 1
    taken = Decision.reject(Box("cat", 1.0, (0, 0, 9, 9)))
    assert standing([added, added, taken])[0] == ()
    assert len(standing([added, taken, added])[0]) == 1
