"""The training loop: steps, clipping, averaging, logs, checkpoints, resume. It knows no model."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from train.data.loader import Batch
from train.optim import MovingAverage, OptimConfig, parameter_groups, schedule

logger = logging.getLogger(__name__)
STATE = "last.pt"
LOG = "log.jsonl"


@dataclass(frozen=True)
class LoopConfig:
    """How long to train and how often to look.

    Attributes:
        steps: optimizer steps of the whole run.
        log_every: steps between two lines of the log.
        save_minutes: between two checkpoints.
        eval_minutes: between two evaluations; 0 evaluates at the end only.
    """

    steps: int
    log_every: int = 20
    save_minutes: float = 5.0
    eval_minutes: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.log_every < 1:
            raise ValueError(f"steps and log_every must be positive, got {self}")


class Run:
    """A run folder: training goes on from its last checkpoint, logs are appended.

    Args:
        folder: made if need be.
        model: its trainable parameters are trained in place.
        optim: rates and averaging.
        loop: length and intervals.
    """

    def __init__(
        self, folder: Path, model: nn.Module, optim: OptimConfig, loop: LoopConfig
    ) -> None:
        self.folder, self.step = folder, 0
        self._model, self._optim, self._loop = model, optim, loop
        self._optimizer = torch.optim.AdamW(parameter_groups(model, optim), betas=(0.9, 0.999))
        self.average = MovingAverage(model, optim.ema)
        self._seconds = 0.0
        self._stop = False
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).is_file():
            self._restore()

    def train(
        self,
        task: Callable[[Batch], dict[str, Tensor]],
        batches: Callable[[range], Iterator[Batch]],
        evaluate: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        """Train to the end, or until the process is asked to stop; then a checkpoint is written.

        Args:
            task: batch → losses by name.
            batches: gives the batches of a range of steps.
            evaluate: figures of the averaged weights, called with these in the model's place.

        Raises:
            FloatingPointError: a loss is not finite; the last checkpoint stays as it was.
        """
        from torch.utils.tensorboard import SummaryWriter

        handlers = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGTERM, signal.SIGINT)}
        writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step)
        bar = tqdm(total=self._loop.steps, initial=self.step, unit="step", mininterval=5)
        saved = evaluated = logged = time.monotonic()
        sums: dict[str, float] = {}
        photos = 0
        self._model.train()
        try:
            for batch in batches(range(self.step, self._loop.steps)):
                for name, value in self._advance(task(batch)).items():
                    sums[name] = sums.get(name, 0.0) + value
                photos += batch.photos
                bar.update()
                if self.step % self._loop.log_every == 0:
                    now = time.monotonic()
                    self._seconds += now - logged
                    means = {k: v / self._loop.log_every for k, v in sums.items()}
                    means["lr"] = self._optimizer.param_groups[0]["lr"]
                    means["images_per_second"] = photos / (now - logged)
                    self._log("train", means, writer)
                    bar.set_postfix(loss=f"{means['loss']:.3f}", refresh=False)
                    sums, photos, logged = {}, 0, now
                if evaluate and self._due(evaluated, self._loop.eval_minutes):
                    self._evaluate(evaluate, writer)
                    evaluated = logged = time.monotonic()
                if self._due(saved, self._loop.save_minutes):
                    self.save()
                    saved = time.monotonic()
                if self._stop:
                    logger.warning("stopped at step %d; the same command goes on", self.step)
                    break
            self.save()
            if evaluate and self.step == self._loop.steps:
                self._evaluate(evaluate, writer)
        finally:
            bar.close()
            writer.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def save(self) -> None:
        """Write the checkpoint; a kill at any moment leaves the old one or the new one."""
        state = {
            "step": self.step,
            "seconds": self._seconds,
            "model": {n: p.detach() for n, p in self._model.named_parameters() if p.requires_grad},
            "optimizer": self._optimizer.state_dict(),
            "average": self.average.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        partial = self.folder / (STATE + ".partial")
        torch.save(state, partial)
        os.replace(partial, self.folder / STATE)

    def _restore(self) -> None:
        state: dict[str, Any] = torch.load(self.folder / STATE, map_location="cpu")
        parameters = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, tensor in state["model"].items():
                parameters[name].copy_(tensor)
        self._optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        torch.set_rng_state(state["torch_rng"])
        self.step, self._seconds = state["step"], state["seconds"]
        logger.info("going on from step %d", self.step)

    def _advance(self, losses: dict[str, Tensor]) -> dict[str, float]:
        total = torch.stack(list(losses.values())).sum()
        values = {"loss": total.item(), **{name: loss.item() for name, loss in losses.items()}}
        if not all(torch.isfinite(torch.tensor(v)) for v in values.values()):
            raise FloatingPointError(f"step {self.step}: a loss is not finite: {values}")
        factor = schedule(self.step, self._loop.steps, self._optim)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        trained = [p for g in self._optimizer.param_groups for p in g["params"]]
        values["gradient"] = nn.utils.clip_grad_norm_(trained, self._optim.clip).item()
        self._optimizer.step()
        self.average.update()
        self.step += 1
        return values

    def _evaluate(self, evaluate: Callable[[], dict[str, float]], writer: Any) -> None:
        self.average.swap()
        self._model.eval()
        try:
            self._log("eval", evaluate(), writer)
        finally:
            self.average.swap()
            self._model.train()

    def _log(self, kind: str, values: dict[str, float], writer: Any) -> None:
        line = {"kind": kind, "step": self.step, "seconds": round(self._seconds, 1), **values}
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in values.items():
            writer.add_scalar(f"{kind}/{name}", value, self.step)

    def _due(self, since: float, minutes: float) -> bool:
        return minutes > 0 and time.monotonic() - since >= 60 * minutes

    def _ask_to_stop(self, *_: object) -> None:
        self._stop = True
