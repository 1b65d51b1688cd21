"""Odd requests to the live backend, from a seed: good ones that were bent, and plain nonsense."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image"><Label value="cat"/></RectangleLabels>
  <TextArea name="prompt" toName="image"/>
</View>"""
_BOX = {"x": 1, "y": 1, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["cat"]}
_GOOD: dict[str, dict[str, Any]] = {
    "/predict": {
        "tasks": [{"id": 1, "data": {"image": "data:image/png;base64,AAAA"}}],
        "label_config": CONFIG, "project": "7.1699999999",
        "params": {"login": None, "password": None, "context": {"result": [
            {"id": "a", "type": "textarea", "from_name": "prompt", "to_name": "image",
             "value": {"text": ["cat"]}},
            {"id": "b", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
             "original_width": 10, "original_height": 10, "item_index": 0, "value": _BOX},
        ]}},
    },
    "/setup": {
        "project": "7.1699999999", "schema": CONFIG, "hostname": "http://localhost:8080",
        "access_token": "0", "extra_params": None,
    },
    "/webhook": {"action": "PROJECT_UPDATED", "project": {"id": 7, "label_config": CONFIG}},
    "/train": {"project": "7.1699999999", "label_config": CONFIG, "annotations": []},
}  # fmt: skip
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, "", " ", "x", "7", "7.1",
    "-7", "\x00", "\ud800", "🙈", "a" * 5000, "<View/>", "<View>", "<!DOCTYPE a><a/>", "cat @2",
    "reset", ": @", '"', "$image", "../../etc/passwd", "file:///etc/passwd", "http://[::1", [], {},
    [[]], [{}], {"a": 1}, [None], {"": None}, ["cat"] * 50, {"text": "cat"}, {"id": {}},
)  # fmt: skip
_RAW = (
    b"", b" ", b"{", b"[]", b"null", b"1", b'"x"', b"NaN", b'{"a": Infinity}', b"\xff\xfe{}",
    b"\x00", b'{"project": 1e999}', b'{"project": ' + b"9" * 5000 + b"}", b"[" * 100_000,
    b'{"tasks":' * 2000, b'{"action": "START_TRAINING"}', b'{"a":1,"a":2}', b"\xef\xbb\xbf{}",
    b'{"tasks": "\\ud800"}', b"tasks=1&project=7", b"<View/>",
)  # fmt: skip


def odd_bodies(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` paths and bodies; the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        path = chance.choice([*_GOOD])
        if chance.random() < 0.1:
            yield path, chance.choice(_RAW)
            continue
        body: Any = copy.deepcopy(_GOOD[path])
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            body = _bent(body, chance)
        text = json.dumps(body)
        if chance.random() < 0.05:
            text = text[: chance.randrange(len(text) + 1)]
        yield path, text.encode()


def _bent(value: Any, chance: random.Random) -> Any:
    """A copy with one part replaced, taken out, doubled or added."""
    if chance.random() < 0.25 or not value or not isinstance(value, dict | list):
        if isinstance(value, str) and value and chance.random() < 0.5:
            at = chance.randrange(len(value))
            return value[:at] + chance.choice(("", "<", "\x00", '"', "é", "\ud83d")) + value[at:]
        return copy.deepcopy(chance.choice(_ODD))
    if isinstance(value, list):
        at = chance.randrange(len(value))
        how = chance.random()
        if how < 0.1:
            return value[:at] + value[at + 1 :]
        if how < 0.2:
            return value * chance.choice((2, 20))
        return [*value[:at], _bent(value[at], chance), *value[at + 1 :]]
    key = chance.choice([*value])
    how = chance.random()
    if how < 0.1:
        return {name: one for name, one in value.items() if name != key}
    if how < 0.2:
        return {**value, chance.choice(("", "x", "id", "data")): chance.choice(_ODD)}
    return {**value, key: _bent(value[key], chance)}
