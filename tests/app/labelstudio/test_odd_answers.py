"""Answers of another shape: told, or not needed; never a fault of ours."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.labelstudio.api.connection import Connection, LabelStudioError
from app.labelstudio.api.images import images_of_project
from app.labelstudio.api.payload import fingerprint, to_boxes
from app.labelstudio.api.shapes import json_depth
from app.labelstudio.api.tasks import create_project, upload_tasks
from app.labelstudio.backend.webhooks import sign_webhooks
from app.labelstudio.learn.pull import pull
from app.labelstudio.push.plan import tasks_of
from app.runs.records import ImageRef
from detclipv2.language.vocabulary import Vocabulary
from tests.app.labelstudio.hostile import KEY, PROJECT, at, hostile
from tests.app.labelstudio.one_task import TASK

HUGE = 10**400


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.labelstudio.api.requests._PATIENCE", 0.2)
    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.05)))


WRONG: list[Any] = [None, [], {}, "x", True, -1, 0.5, HUGE, 2**63, [None], [[]], {"a": 1}]


def _everything(url: str, run: Any) -> Iterator[Callable[[], Any]]:
    """All that reads answers."""
    connection = at(url)
    ref = ImageRef("a.jpg", "/data/upload/1/a.jpg", None, 1)
    yield connection.check
    yield connection.projects
    yield lambda: connection.project(1)
    yield lambda: list(connection.pages({}))
    yield lambda: images_of_project(connection, 1)
    yield lambda: list(pull(connection, 1))
    yield lambda: create_project(connection, "t", Vocabulary.parse("cat"))
    yield lambda: upload_tasks(connection, 1, [ref], lambda _: b"x")
    yield lambda: sign_webhooks(connection, 1, "http://x", ("a", "b"))
    yield lambda: tasks_of(run, connection, 1)


class NoRun:
    def images(self, *_: str) -> list[Any]:
        return []


@pytest.mark.parametrize("answer", WRONG, ids=str)
def test_an_answer_of_another_shape_is_told(answer: Any) -> None:
    with hostile(lambda wire: wire.json(answer)) as (url, _):
        for call in _everything(url, NoRun()):
            with suppress(LabelStudioError):  # anything else is a fault of ours
                call()


def _broken(value: Any) -> Iterator[Any]:
    """Copies with one part replaced by what it must not be, or taken out."""
    for wrong in WRONG:
        if type(wrong) is not type(value):
            yield wrong
    if isinstance(value, dict):
        for key in value:
            for changed in _broken(value[key]):
                yield {**value, key: changed}
            yield {k: v for k, v in value.items() if k != key}
    elif isinstance(value, list):
        for index, one in enumerate(value):
            for changed in _broken(one):
                yield [*value[:index], changed, *value[index + 1 :]]


def test_a_field_of_another_shape_is_told_or_not_needed() -> None:
    region = {
        "id": "a",
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": 10,
        "original_height": 10,
        "score": 0.5,
        "value": {"x": 1, "y": 1, "width": 1, "height": 1, "rectanglelabels": ["cat"]},
    }
    task = copy.deepcopy(TASK)
    for one in (*task["predictions"], *task["annotations"]):  # type: ignore[misc]
        one["result"] = [region]
    told = read = 0
    whole = [{"total": 1, "tasks": [task]}, PROJECT]
    for index, good in enumerate(whole):
        for bad in _broken(good):
            answers = [*whole]
            answers[index] = bad
            connection = Connection("http://desk", KEY)
            connection.get = lambda path, a=answers, **_: (  # type: ignore[method-assign]
                a[0] if path == "/api/tasks/" else a[1]
            )
            try:
                list(pull(connection, 1))
                images_of_project(connection, 1)
                tasks_of(NoRun(), connection, 1)  # type: ignore[arg-type]
                read += 1
            except LabelStudioError:
                told += 1
    assert told > 200 and read > 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "x",
                    "y",
                    "width",
                    "height",
                    "rotation",
                    "rectanglelabels",
                    "labels",
                    "value",
                    "id",
                    "score",
                    "original_width",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


region_fields = st.sampled_from(["value", "id", "score", "type", "original_width"])


@given(st.lists(st.dictionaries(region_fields, json_values), max_size=3))
@settings(max_examples=300, deadline=None)
def test_regions_of_others_do_no_harm(result: list[dict[str, Any]]) -> None:
    for _, box in to_boxes(result):
        assert all(isinstance(value, float) and abs(value) < 1e18 for value in box.xyxy)
    assert fingerprint(result) == fingerprint(copy.deepcopy(result))


@given(json_values)
def test_depth_is_exact(value: Any) -> None:
    def depth(one: Any) -> int:
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    assert json_depth(json.dumps(value).encode()) == depth(value)
    assert json_depth(json.dumps({'[{"\\': value}, ensure_ascii=False).encode()) == 1 + depth(value)


def test_depth_is_linear_also_where_strings_do_not_end() -> None:
    def seconds(size: int) -> float:
        start = time.process_time()
        json_depth(b'"' + b'\\"' * size)
        json_depth(b'[{"' * size)
        return time.process_time() - start

    assert seconds(800_000) < 16 * seconds(200_000) + 0.5


def test_boxes_without_number_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.labelstudio.learn.pull import review

    value = {"x": 1, "y": 1, "width": 1, "height": 1, "rectanglelabels": ["cat"]}
    many = [{"id": str(i), "value": value} for i in range(10)]
    monkeypatch.setattr("app.labelstudio.learn.pull.MAX_PAIRS", 99)
    with pytest.raises(LabelStudioError, match="task 7 has 10 predicted and 10 labelled boxes"):
        review(7, many, many)
    assert len(review(7, many[:9], many)) == 10
