"""A run in a process of its own, which is killed while it works."""

from __future__ import annotations

from pathlib import Path

from app.engine import Engine
from app.runs import sources
from app.runs.jobs import process
from app.runs.records import ImageRef
from app.runs.settings import settings_of
from app.runs.store import Run


def run_and_log(folder: Path, photos: Path, model: Path, log: Path) -> None:
    """Begin the run or go on with it; every photo that is read gets a line in `log`."""
    engine = Engine.load(str(model), photos=40)
    if not (folder / "run.json").exists():
        settings = settings_of(engine, "cat, cup", threshold=0.02, floor=0.02)
        Run.create(folder, settings, sources.find_images([photos]))

    def read(image: ImageRef) -> bytes:
        with log.open("a") as stream:
            stream.write(image.file_name + "\n")
        return sources.read(image)

    for _ in process(Run(folder), engine.predictor, read):
        pass
