"""Odd requests to the live backend, from a seed: good ones that were bent, and plain nonsense."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.fuzz.bending import bent_json

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image"><Label value="cat"/></RectangleLabels>
  <TextArea name="prompt" toName="image"/>
</View>"""
_BOX = {"x": 1, "y": 1, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["cat"]}
_GOOD: dict[str, dict[str, Any]] = {
    "/predict": {
        "tasks": [{"id": 1, "data": {"image": "data:image/png;base64,AAAA"}}],
        "label_config": CONFIG,
        "project": "7.1699999999",
        "params": {
            "login": None,
            "password": None,
            "context": {
                "result": [
                    {
                        "id": "a",
                        "type": "textarea",
                        "from_name": "prompt",
                        "to_name": "image",
                        "value": {"text": ["cat"]},
                    },
                    {
                        "id": "b",
                        "type": "rectanglelabels",
                        "from_name": "label",
                        "to_name": "image",
                        "original_width": 10,
                        "original_height": 10,
                        "item_index": 0,
                        "value": _BOX,
                    },
                ]
            },
        },
    },
    "/setup": {
        "project": "7.1699999999",
        "schema": CONFIG,
        "hostname": "http://localhost:8080",
        "access_token": "0",
        "extra_params": None,
    },
    "/webhook": {"action": "PROJECT_UPDATED", "project": {"id": 7, "label_config": CONFIG}},
    "/train": {"project": "7.1699999999", "label_config": CONFIG, "annotations": []},
}
_RAW = (
    b"",
    b" ",
    b"{",
    b"[]",
    b"null",
    b"1",
    b'"x"',
    b"NaN",
    b'{"a": Infinity}',
    b"\xff\xfe{}",
    b"\x00",
    b'{"project": 1e999}',
    b'{"project": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b'{"tasks":' * 2000,
    b'{"action": "START_TRAINING"}',
    b'{"a":1,"a":2}',
    b"\xef\xbb\xbf{}",
    b'{"tasks": "\\ud800"}',
    b"tasks=1&project=7",
    b"<View/>",
)


def odd_bodies(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` paths and bodies; the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        path = chance.choice([*_GOOD])
        if chance.random() < 0.1:
            yield path, chance.choice(_RAW)
            continue
        yield path, bent_json(_GOOD[path], chance)
