"""Pack a data set into sharded tars.

    python -m train.pack KIND SOURCE… --out DIR

Kinds and their sources:
{kinds}
Photos are checked, scaled down to `--max-side`, and captions get their noun phrases here, once.
The same command goes on where a stopped one left off. What was left out stands in DIR/report.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from detclipv2.command import run_command
from train.data.dropped import Dropped
from train.data.readers.caption_phrases import MOST_PHRASES, caption_concepts, with_concepts
from train.data.readers.captions import read_caption_table, read_captions
from train.data.readers.class_folders import read_class_folders
from train.data.readers.coco import read_coco, read_objects365
from train.data.readers.entities import read_entities
from train.data.readers.goldg import read_goldg
from train.data.readers.grounding import read_grounding
from train.data.readers.lvis import read_lvis
from train.data.readers.tags import read_tags
from train.data.sample import Sample
from train.data.shards.encode import encode
from train.data.shards.format import Entry, write_shard
from train.data.shards.reader import Shards


@dataclass(frozen=True)
class Settings:
    """What a folder of shards was made of and how.

    Attributes:
        kind: a key of `READERS`.
        sources: its files and folders.
        split: of kinds that have splits; empty for all.
        max_side: pixels of a photo's longer side above which it is scaled down; 0 for never.
        per_shard: samples read for a shard, those left out included.
        most_phrases: noun phrases of a caption.
    """

    kind: str
    sources: tuple[str, ...]
    split: str = ""
    max_side: int = 0
    per_shard: int = 5000
    most_phrases: int = MOST_PHRASES

    def __post_init__(self) -> None:
        if self.kind not in READERS:
            raise ValueError(f"unknown kind {self.kind!r}; known: {', '.join(READERS)}")
        if self.per_shard < 1:
            raise ValueError(f"per_shard must be at least 1, got {self.per_shard}")
        if self.max_side < 0:
            raise ValueError(f"max_side must be 0 or more pixels, got {self.max_side}")
        _, least, most, _ = READERS[self.kind]
        if not least <= len(self.sources) <= most:
            raise ValueError(f"{self.kind} takes {READERS[self.kind][3]}, got {self.sources}")


def _shards(paths: Sequence[Path], _: str | None, dropped: Dropped) -> Iterable[Sample]:
    shards = Shards(paths[0])
    dropped.merge(shards.dropped.summary())
    return shards


Reader = Callable[[Sequence[Path], str | None, Dropped], Iterable[Sample]]
READERS: dict[str, tuple[Reader, int, int, str]] = {
    "coco": (lambda p, s, d: read_coco(*p, split=s, dropped=d), 1, 2, "INSTANCES.json [IMAGES]"),
    "objects365": (lambda p, _, d: read_objects365(*p, dropped=d), 2, 2, "TRAIN.json PATCHES"),
    "lvis": (lambda p, _, d: read_lvis(*p, dropped=d), 2, 2, "LVIS.json COCO_IMAGES"),
    "grounding": (
        lambda p, s, d: read_grounding(*p, split=s or "train", dropped=d),
        1,
        2,
        "GROUNDING.json [IMAGES]",
    ),
    "entities": (
        lambda p, s, d: read_entities(*p, split=s or "train", dropped=d),
        1,
        2,
        "FLICKR30K_ENTITIES [IMAGES]",
    ),
    "goldg": (lambda p, _, d: read_goldg(*p, dropped=d), 2, 2, "MIXED.json IMAGES"),
    "captions": (
        lambda p, s, d: read_captions(*p, split=s, dropped=d),
        1,
        2,
        "CAPTIONS.json [IMAGES]",
    ),
    "table": (lambda p, _, d: read_caption_table(*p, dropped=d), 2, 2, "CC3M.tsv IMAGES"),
    "folders": (lambda p, _, d: read_class_folders(*p, dropped=d), 1, 1, "IMAGENET/train"),
    "tags": (lambda p, s, _: read_tags(*p, split=s or "train"), 1, 1, "TAGS.json"),
    "shards": (_shards, 1, 1, "FOLDER_OF_TARS"),
}
"""For each kind its reader of (sources, split, report), how many sources, and what they are."""


def pack_shard(out: Path, number: int, samples: Sequence[Sample], settings: Settings) -> None:
    """Write one shard, and then its report beside it, without which it counts as not finished."""
    dropped = Dropped()
    named = _named(samples, settings.most_phrases)
    kept = write_shard(_tar_of(out, number), _entries(number, named, settings.max_side, dropped))
    report = {"samples": _digest(samples), "kept": kept, "dropped": dropped.summary()}
    _write_json(_report_of(out, number), report)


def _entries(
    number: int, samples: Iterable[Sample], max_side: int, dropped: Dropped
) -> Iterator[Entry]:
    for position, sample in enumerate(samples):
        try:
            kind, encoded = encode(sample, max_side)
        except ValueError as error:
            dropped.add(error.args[0], ": ".join([sample.name, *error.args[1:]]))
            continue
        for _ in range(len(sample.boxes) - len(encoded.boxes)):
            dropped.add("a box that comes below a pixel", sample.name)
        yield Entry(f"{number:06d}{position:06d}", kind, encoded)


def _named(samples: Sequence[Sample], most: int) -> Iterator[Sample]:
    """Pairs with the noun phrases of their captions, where they have no concepts yet."""
    bare = [s for s in samples if s.caption and not s.concepts and not len(s.boxes)]
    found = caption_concepts([s.caption or "" for s in bare], most)
    unnamed = {id(s) for s in bare}
    for sample in samples:
        yield with_concepts(sample, next(found)) if id(sample) in unnamed else sample


def pack(settings: Settings, out: Path, *, workers: int = 1) -> dict[str, Any]:
    """Pack a set, or what is still missing of it, and return the report that is also written.

    Raises:
        ValueError: a source that cannot be read, or a folder with shards of other settings or data.
    """
    out.mkdir(parents=True, exist_ok=True)
    made = json.loads(json.dumps(asdict(settings)))
    if (out / "settings.json").is_file():
        before = json.loads((out / "settings.json").read_text())
        if before != made:
            raise ValueError(f"{out} holds shards made with {before}; choose another folder")
    _write_json(out / "settings.json", made)
    reader = READERS[settings.kind][0]
    dropped = Dropped()
    paths = [Path(source) for source in settings.sources]
    samples = reader(paths, settings.split or None, dropped)
    total = len(samples) if isinstance(samples, Sequence) else None
    with tqdm(total=total, unit="photo", mininterval=1) as bar:
        numbers = 0
        for count in _work(settings, out, samples, workers):
            bar.update(count)
            numbers += 1
    if _tar_of(out, numbers).exists():
        raise ValueError(
            f"{out} holds more shards than the source gives: it has changed since; choose another "
            "folder"
        )
    kept = 0
    for number in range(numbers):
        part = json.loads(_report_of(out, number).read_text())
        kept += part["kept"]
        dropped.merge(part["dropped"])
    report = {"settings": made, "shards": numbers, "kept": kept, "dropped": dropped.summary()}
    _write_json(out / "report.json", report)
    return report


def _work(settings: Settings, out: Path, samples: Iterable[Sample], workers: int) -> Iterator[int]:
    """Make each missing shard; yields how many samples it was made of, as they get finished."""
    with ExitStack() as stack:
        pool = None
        if workers > 1:
            # Not forked: libraries hold threads by now.
            pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
            stack.enter_context(pool)
        running: dict[Future[None], int] = {}
        remaining = iter(samples)
        number = 0
        while chunk := list(islice(remaining, settings.per_shard)):
            if _is_done(out, number, chunk):
                yield len(chunk)
            elif pool is None:
                pack_shard(out, number, chunk, settings)
                yield len(chunk)
            else:
                running[pool.submit(pack_shard, out, number, chunk, settings)] = len(chunk)
                if len(running) >= 2 * workers:
                    yield from _finished(running)
            number += 1
        while running:
            yield from _finished(running)


def _finished(running: dict[Future[None], int]) -> Iterator[int]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        future.result()
        yield running.pop(future)


def _is_done(out: Path, number: int, samples: Sequence[Sample]) -> bool:
    if not (_tar_of(out, number).is_file() and _report_of(out, number).is_file()):
        return False
    report = json.loads(_report_of(out, number).read_text())
    if report["samples"] != _digest(samples):
        raise ValueError(
            f"{_tar_of(out, number)} was made of other samples: the source has changed since; "
            "choose another folder"
        )
    return True


def _digest(samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for s in samples:
        digest.update(f"{s.name}\0{s.caption}\0{s.concepts}\0{len(s.boxes)}\n".encode())
    return digest.hexdigest()


def _tar_of(out: Path, number: int) -> Path:
    return out / f"{number:06d}.tar"


def _report_of(out: Path, number: int) -> Path:
    return out / f"{number:06d}.json"


def _write_json(path: Path, value: Any) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
    partial.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    kinds = "\n".join(f"  {kind:10} {words}" for kind, (_, _, _, words) in READERS.items())
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").replace("{kinds}", kinds),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=READERS)
    parser.add_argument("sources", nargs="+", metavar="SOURCE")
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards")
    parser.add_argument("--split", default="", help="train, where a kind needs one")
    parser.add_argument("--max-side", type=int, default=0, help="pixels; 0 keeps all sizes")
    parser.add_argument("--per-shard", type=int, default=5000, help="samples read for a shard")
    parser.add_argument("--phrases", type=int, default=MOST_PHRASES, help="of a caption, at most")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    o = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        settings = Settings(o.kind, tuple(o.sources), o.split, o.max_side, o.per_shard, o.phrases)
        report = pack(settings, o.out, workers=o.workers)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print(json.dumps(report, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    run_command(main)
