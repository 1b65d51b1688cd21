"""Changes of a base experiment, each a pure function, to be put together to rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from detclipv2.serving import SERVING, ServingConfig
from train.ablations.row import Change
from train.experiment import Experiment, Stream
from train.tasks.boxes import BoxesConfig


def pairs(**settings: Any) -> Change:
    """Other fields of the pairs' `PairsConfig`."""
    return _on_stream("pairs", lambda s: replace(s, task=replace(s.task, **settings)))


def resolution(side: int) -> Change:
    """The pairs' canvases, at `side` / 320 of the base's size, as 320 is the paper's."""

    def scaled(stream: Stream) -> Stream:
        sizes = tuple(max(64, size * side // 320 // 32 * 32) for size in stream.batches.sizes)
        return replace(stream, batches=replace(stream.batches, sizes=sizes))

    return _on_stream("pairs", scaled)


def model(**settings: Any) -> Change:
    """Other fields of the `ModelConfig`."""
    return lambda base: replace(base, model=replace(base.model, **settings))


def serving(**settings: Any) -> Change:
    """Other fields of the `ServingConfig`."""

    def changed(base: Experiment) -> Experiment:
        own = base.serving or SERVING.get(base.model.name, ServingConfig())
        return replace(base, serving=replace(own, **settings))

    return changed


def run(**settings: Any) -> Change:
    """Other fields of the `Experiment`."""
    return lambda base: replace(base, **settings)


def quality(base: Experiment) -> Experiment:
    """Foreground and IoU branches in the head, and their losses in streams that localise."""
    streams = tuple(
        replace(s, task=replace(s.task, quality=1.0))
        if isinstance(s.task, BoxesConfig) and s.task.localise
        else s
        for s in base.streams
    )
    return replace(base, model=replace(base.model, quality=True), streams=streams)


def chain(*changes: Change) -> Change:
    """One change after the other."""

    def all_of_them(base: Experiment) -> Experiment:
        for change in changes:
            base = change(base)
        return base

    return all_of_them


def _on_stream(name: str, change: Callable[[Stream], Stream]) -> Change:
    def changed(base: Experiment) -> Experiment:
        if name not in (stream.name for stream in base.streams):
            raise ValueError(f"no stream {name!r} to change")
        streams = tuple(change(s) if s.name == name else s for s in base.streams)
        return replace(base, streams=streams)

    return changed
