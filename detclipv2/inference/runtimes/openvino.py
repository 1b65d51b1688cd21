"""The image tower as an OpenVINO graph: the same regions, sooner on CPUs (`make bench`).

The network is traced once a checkpoint and the graph kept on disk. Whenever one is loaded it is
tried on a few canvases, and counts only where it says what the network says: a graph of other code
is made anew, and a network that cannot be traced is refused rather than misread.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from detclipv2.config import STRIDES
from detclipv2.fingerprint import fingerprint
from detclipv2.geometry.anchors import grid_anchors
from detclipv2.inference.runtimes.traceable import Encoder, TraceableTower, encoder_of
from detclipv2.regions import PER_PICTURE, Regions

if TYPE_CHECKING:
    from detclipv2.model import DetCLIPv2

logger = logging.getLogger(__name__)

RUNTIME_VARIABLE = "DETCLIPV2_RUNTIME"
"""Environment variable that says what "auto" means."""

_TRACED = (1, 224, 320)
# Photos, height and width: not what it was traced with, an odd number of cells, both ways up.
_TRIED = ((1, 96, 160), (2, 128, 64))
# The classifier of `nano.imagenet_prior` looks at the best located boxes, and rounding can change
# which one is the last of them.
_MAY_DIFFER = 0.02
_FILE = "tower.xml"
_KEPT = 8  # graphs; nano's has 47 MB
_TRACING = threading.Lock()  # torch traces one network at a time, whichever thread asks
_STARTING = threading.Lock()


Runtime = Literal["auto", "torch", "openvino", "openvino-bf16"]
"""What may run an image tower; see `choose_encoder`."""


class GraphError(RuntimeError):
    """A network that OpenVINO cannot run, or does not run right; the message says why."""


def choose_encoder(model: DetCLIPv2, runtime: Runtime, folder: Path | None) -> Encoder:
    """What runs the image tower of `model`, in evaluation and on its device.

    Args:
        model: the detector.
        runtime: "torch"; "openvino", on CPUs only; "openvino-bf16", which rounds and is several
            times faster still where the CPU has matrix units for it (Intel's AMX); or "auto": what
            `$DETCLIPV2_RUNTIME` says, else OpenVINO on a CPU, where it can.
        folder: see `OpenVINOTower`.

    Raises:
        ValueError: an unknown runtime, or OpenVINO on another device.
        GraphError: OpenVINO was asked for and cannot run this network, or not in bf16.
    """
    if runtime == "auto":
        runtime = os.environ.get(RUNTIME_VARIABLE, runtime)  # type: ignore[assignment]
    if runtime not in get_args(Runtime):
        raise ValueError(f"runtime must be one of {', '.join(get_args(Runtime))}, got {runtime!r}")
    device = model.bias.device
    if runtime.startswith("openvino") and device.type != "cpu":
        raise ValueError(f"OpenVINO runs on the CPU here, not on {device}; use runtime 'torch'")
    if runtime == "torch" or device.type != "cpu":
        return encoder_of(model)
    try:
        return OpenVINOTower(model, folder, bf16=runtime == "openvino-bf16")
    except GraphError as error:
        if runtime != "auto":
            raise
        logger.warning("%s; PyTorch takes its place, which is slower", error)
        return encoder_of(model)


class OpenVINOTower:
    """`encoder_of` a model on the CPU, by as many threads as torch takes. Not thread-safe.

    The weights are those of now: what is trained later does not change them.
    """

    def __init__(self, model: DetCLIPv2, folder: Path | None = None, *, bf16: bool = False) -> None:
        """Load the graph of `model`, or make it.

        Args:
            model: the detector, in evaluation, on the CPU.
            folder: where graphs are kept, each under its checkpoint's fingerprint; None keeps none.
            bf16: round to bf16. Boxes of what is hardly there move by pixels, nano's figures by 0.6
                at most.

        Raises:
            GraphError: OpenVINO is missing, or cannot run this network, or the CPU not in bf16.
        """
        if bf16 and "BF16" not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise GraphError("this CPU does not compute in bf16; use runtime 'openvino'")
        self._anchor_scale = model.config.anchor_scale
        place = None if folder is None else folder / fingerprint(model)[:32]
        graph = self._take_kept(place, model) or self._make(place, model)
        self.runtime: Runtime = "openvino-bf16" if bf16 else "openvino"
        if bf16:
            self._compile(graph, "bf16")

    def __call__(self, pixels: Tensor) -> Regions:
        """(B, 3, H, W) normalised pixels, H and W multiples of 32 → `Regions`."""
        results = self._compiled([pixels.contiguous().numpy()])
        found = {name: torch.from_numpy(results[index]) for index, name in enumerate(self._names)}
        height, width = pixels.shape[-2:]
        sizes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
        anchors = grid_anchors(sizes, STRIDES, self._anchor_scale, pixels.device)
        return Regions(anchors=anchors, level_counts=tuple(h * w for h, w in sizes), **found)

    def _make(self, place: Path | None, model: DetCLIPv2) -> Any:
        """A new graph, compiled and tried, which is kept at `place`."""
        graph = _convert(model)
        try:
            self._compile(graph)
            agrees = self._agrees(model)
        except RuntimeError as error:
            raise GraphError(f"{model.config.name!r} does not run: {_last_line(error)}") from error
        if not agrees:
            raise GraphError(f"the graph of {model.config.name!r} gives other regions than torch")
        if place is not None:
            _keep(graph, place)
        return graph

    def _take_kept(self, place: Path | None, model: DetCLIPv2) -> Path | None:
        """The graph kept at `place`, compiled and tried; None where there is no good one."""
        if place is None or not (place / _FILE).exists():
            return None
        try:
            self._compile(place / _FILE)
            if not self._agrees(model):
                return None
            os.utime(place)  # the ones used last are kept
        except (RuntimeError, TypeError, OSError) as error:
            logger.warning("%s: %s; made anew", place, _last_line(error))
            return None
        return place / _FILE

    def _compile(self, graph: Any, precision: str = "f32") -> None:
        hints = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            # Left to itself it takes bf16 where the CPU can.
            "INFERENCE_PRECISION_HINT": precision,
        }
        self._compiled: Any = _core().compile_model(graph, "CPU", hints)
        self._names = PER_PICTURE[: len(self._compiled.outputs)]

    def _agrees(self, model: DetCLIPv2) -> bool:
        """Whether canvases it was not traced with give what the network gives."""
        generator = torch.Generator().manual_seed(0)
        for batch, height, width in _TRIED:
            pixels = torch.randn(batch, 3, height, width, generator=generator)
            with torch.inference_mode():
                wanted, given = encoder_of(model)(pixels), self(pixels)
            if given.level_counts != wanted.level_counts:
                return False
            for name in self._names:
                one, other = getattr(given, name), getattr(wanted, name)
                if one.shape != other.shape:
                    return False
                far = ~torch.isclose(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))
                if far.reshape(batch, far.shape[1], -1).any(-1).float().mean() > _MAY_DIFFER:
                    return False
        return True


def _convert(model: DetCLIPv2) -> Any:
    """The graph of `model`, for canvases of any size."""
    _openvino()
    # Not openvino.convert_model: that one reports its use over the network.
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    logger.info("Making %s ready for OpenVINO, once …", model.config.name)
    batch, height, width = _TRACED
    try:
        with _TRACING, warnings.catch_warnings(), torch.inference_mode():
            # Of tracing, which `_agrees` looks after, and of torch, which will end it one day.
            warnings.simplefilter("ignore")
            decoder = TorchScriptPythonDecoder(
                TraceableTower(model), example_input=torch.zeros(batch, 3, height, width)
            )
            engine = FrontEndManager().load_by_framework("pytorch")
            return engine.convert(engine.load(decoder))
    except Exception as error:  # of its own kinds, and torch's
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise GraphError(f"{model.config.name!r} cannot be traced: {_last_line(cause)}") from error


def _keep(graph: Any, place: Path) -> None:
    """Write the graph; another process may do so at the same time."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as made:
            whole = Path(made, "graph")
            _openvino().save_model(graph, whole / _FILE, compress_to_fp16=False)
            if place.exists():
                shutil.rmtree(place)
            os.rename(whole, place)
        kept = sorted(place.parent.iterdir(), key=os.path.getmtime, reverse=True)
        for old in kept[_KEPT:]:
            shutil.rmtree(old)
    except (OSError, RuntimeError) as error:
        logger.warning("%s cannot be written (%s); made anew next time", place, _last_line(error))


def _core() -> Any:
    """OpenVINO's core, one for the life of the process.

    Its CPU plugin gives the thread that makes it a stack for signals, and unmaps that when it goes
    itself, even if it goes in another thread or after a younger one. The next signal, such as the
    end of a child process, would then end this one (openvino 2026.4).
    """
    with _STARTING:
        return _only_core()


@cache
def _only_core() -> Any:
    return _openvino().Core()


def _openvino() -> Any:
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise GraphError(f"OpenVINO cannot be loaded ({error}); pip install openvino") from error
    return openvino


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
