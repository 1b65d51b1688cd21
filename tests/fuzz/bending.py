"""Good inputs, bent: bytes, texts and JSON values with parts replaced, lost, doubled or added."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**30,
    0.5,
    -0.0,
    1e308,
    "",
    " ",
    "x",
    "7",
    "7.1",
    "-7",
    "\x00",
    "\ud800",
    "🙈",
    "a" * 5000,
    "<View/>",
    "<View>",
    "<!DOCTYPE a><a/>",
    "cat @2",
    "reset",
    ": @",
    '"',
    "$image",
    "../../etc/passwd",
    "file:///etc/passwd",
    "http://[::1",
    [],
    {},
    [[]],
    [{}],
    {"a": 1},
    [None],
    {"": None},
    ["cat"] * 50,
    {"text": "cat"},
    {"id": {}},
)
_BITS = (
    b"\x00",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80",
    b"\n",
    b"\r",
    b"<",
    b'"',
    b"\x00" * 64,
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"{",
    b"[",
    b"&",
    b"%",
    b"\\",
)


def bent_bytes(good: bytes, chance: random.Random) -> bytes:
    """Some bytes turned, cut, repeated or put in."""
    made = bytearray(good)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(made) + 1)
        how = chance.random()
        if how < 0.4 and at < len(made):
            made[at] = chance.randrange(256)
        elif how < 0.55:
            made[at:at] = chance.choice(_BITS)
        elif how < 0.7:
            del made[at : at + chance.choice((1, 4, 100))]
        elif how < 0.8:
            made[at:at] = made[at : at + chance.choice((1, 16, 400))] * chance.choice((1, 5))
        elif how < 0.9 and at < len(made):
            bit = chance.choice(_BITS)
            made[at : at + len(bit)] = bit
        else:
            del made[at:]
    return bytes(made)


def bent_text(good: str, pieces: tuple[str, ...], chance: random.Random) -> str:
    """The text with pieces put in, parts lost or repeated, now and then very often."""
    made = good
    for _ in range(chance.choice((1, 2, 3, 6))):
        at = chance.randrange(len(made) + 1)
        how = chance.random()
        if how < 0.6:
            times = chance.choice((1, 1, 1, 2, 30, 3000))
            made = made[:at] + chance.choice(pieces) * times + made[at:]
        elif how < 0.8:
            made = made[:at] + made[at + chance.choice((1, 3, 20)) :]
        else:
            made = made[:at] + made[at : at + 30] * chance.choice((2, 50)) + made[at:]
    return made[:200_000]


def bent_json(good: Any, chance: random.Random) -> bytes:
    """The value with some parts bent, as JSON; now and then torn off."""
    value = copy.deepcopy(good)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        value = bent_value(value, chance)
    text = json.dumps(value)
    if chance.random() < 0.05:
        text = text[: chance.randrange(len(text) + 1)]
    return text.encode()


def bent_value(value: Any, chance: random.Random) -> Any:
    """A copy with one part replaced, taken out, doubled or added."""
    if chance.random() < 0.25 or not value or not isinstance(value, dict | list):
        if isinstance(value, str) and value and chance.random() < 0.5:
            at = chance.randrange(len(value))
            return value[:at] + chance.choice(("", "<", "\x00", '"', "é", "\ud83d")) + value[at:]
        return copy.deepcopy(chance.choice(ODD))
    how = chance.random()
    if isinstance(value, list):
        at = chance.randrange(len(value))
        if how < 0.1:
            return value[:at] + value[at + 1 :]
        if how < 0.2:
            return value * chance.choice((2, 20))
        return [*value[:at], bent_value(value[at], chance), *value[at + 1 :]]
    key = chance.choice([*value])
    if how < 0.1:
        return {name: one for name, one in value.items() if name != key}
    if how < 0.2:
        return {**value, chance.choice(("", "x", "id", "data")): chance.choice(ODD)}
    return {**value, key: bent_value(value[key], chance)}
