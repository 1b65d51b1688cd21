"""What a run costs before it is started: parameters, FLOPs, memory, steps, hours.

One photo of each data type goes through the real network, forwards, on this machine; the rest is
arithmetic. Hours are those of the arithmetic alone at the throughput one assumes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from detclipv2.language.concepts import load_concepts
from detclipv2.model import DetCLIPv2
from detclipv2.nano.tower import build
from train.data.sampler import canvas_of
from train.data.turns import shares_of
from train.experiment import Experiment, Stream
from train.tasks.pairs_config import PairsConfig

_BACKWARD = 2.0  # a backward pass costs two forward ones
_PHRASES = 5  # the phrases of a web caption on the average, and itself
_AGAIN = 1.0  # activation checkpointing and gradient caching cost one more


@dataclass(frozen=True)
class StreamPlan:
    """One data type's part.

    Attributes:
        name: of the stream.
        canvas: (width, height) of the largest canvas in pixels.
        batch: photos a step.
        concepts: texts a step at most, over all processes.
        steps: of the run.
        forward: FLOPs of a photo's forward pass.
        text: FLOPs of a text's forward pass.
        activations: bytes kept for the backward pass of one photo.
        total: FLOPs of all its steps.
    """

    name: str
    canvas: tuple[int, int]
    batch: int
    concepts: int
    steps: int
    forward: float
    text: float
    activations: int
    total: float


@dataclass(frozen=True)
class Plan:
    """The whole run: parameters of each part, and its streams."""

    parameters: dict[str, int]
    streams: tuple[StreamPlan, ...]

    def hours(self, tflops: float) -> float:
        """Device-hours at a sustained throughput in 10¹² FLOPs a second and device."""
        return sum(s.total for s in self.streams) / (tflops * 1e12) / 3600

    def table(self, tflops: float) -> str:
        """Everything as Markdown."""
        total = sum(self.parameters.values())
        parts = ", ".join(f"{k} {v / 1e6:.1f}" for k, v in self.parameters.items())
        lines = [
            f"parameters: {total / 1e6:.1f} M ({parts})",
            "",
            "| data type | canvas | batch | texts | steps | GFLOPs a photo | GFLOPs a text "
            "| MB a photo | hours |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for s in self.streams:
            width, height = s.canvas
            lines.append(
                f"| {s.name} | {width}×{height} | {s.batch} | {s.concepts} | {s.steps} "
                f"| {s.forward / 1e9:.1f} | {s.text / 1e9:.2f} | {s.activations / 1e6:.0f} "
                f"| {s.total / (tflops * 1e12) / 3600:.0f} |"
            )
        lines += ["", f"{self.hours(tflops):.0f} device-hours at {tflops:g} TFLOP/s"]
        return "\n".join(lines)


def plan(experiment: Experiment) -> Plan:
    """Measure one photo and one text of each stream and multiply.

    Raises:
        ValueError: a stream does not say its volume.
    """
    steps_per_epoch = []
    for stream in experiment.streams:
        if stream.volume is None:
            raise ValueError(f"stream {stream.name!r} has no volume to plan with")
        steps_per_epoch.append(-(-stream.volume.samples // stream.batches.batch))
    weights = [stream.weight for stream in experiment.streams]
    shares = shares_of(steps_per_epoch, weights, experiment.temperature)
    model = build(experiment.model, experiment.nano)
    for backbone in model.image_tower.backbones:
        backbone.freeze(experiment.freeze)
    ids = torch.full((1, experiment.model.text.max_tokens), experiment.model.text.vocab_size - 1)
    text = 0.0 if experiment.model.text.frozen else _flops(lambda: _read(model, ids))
    streams = []
    for stream, share in zip(experiment.streams, shares, strict=True):
        width, height = largest_canvas(stream)
        pixels = torch.zeros(1, 3, height, width)
        forward = _flops(lambda: model.encode_image(pixels))  # noqa: B023 - called at once
        kept = _saved_bytes(model, pixels)
        steps, batch, texts = (
            round(share * experiment.loop.steps),
            stream.batches.batch,
            _texts(stream),
        )
        cached = isinstance(stream.task, PairsConfig) and stream.task.micro_batch > 0
        passes = 1 + _BACKWARD + _AGAIN * (experiment.checkpointing + cached)
        total = steps * passes * (batch * forward + texts * text)
        streams.append(
            StreamPlan(
                stream.name, (width, height), batch, texts, steps, forward, text, kept, total
            )
        )
    parameters = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in (
            *model.image_tower.named_children(),
            ("text encoder", model.text_encoder),
        )
    }
    return Plan(parameters, tuple(streams))


def largest_canvas(stream: Stream) -> tuple[int, int]:
    """(width, height) in pixels, both multiples of 32."""
    batches = stream.batches
    side = max(batches.sizes)
    if batches.square:
        return side, side
    return canvas_of(2, side, batches.limit) if batches.limit else canvas_of(1, side)


def _texts(stream: Stream) -> int:
    """Different texts of a step at most."""
    batch = stream.batches.batch
    if isinstance(stream.task, PairsConfig):
        return batch * _PHRASES
    names = stream.volume.names if stream.volume else 0
    return min(batch * stream.task.concepts, names or len(load_concepts()))


def _read(model: DetCLIPv2, ids: Tensor) -> Tensor:
    hidden: Tensor = model.text_encoder.tower(
        input_ids=ids, attention_mask=torch.ones_like(ids)
    ).last_hidden_state
    return hidden


def _flops(call: Callable[[], object]) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def _saved_bytes(model: DetCLIPv2, pixels: Tensor) -> int:
    """Bytes that autograd keeps of a photo, each memory once, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        # The graph must live on, or its memory is used again and counted twice.
        regions = model.encode_image(pixels)
    assert len(regions.boxes) == len(pixels)
    return sum(seen.values())
