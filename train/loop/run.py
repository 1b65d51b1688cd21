"""The training loop: steps, clipping, averaging, logs, checkpoints, resume. It knows no model.

With several processes all run the same loop; the first one writes.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from train.data.loader import Batch
from train.loop.backprop import Backprop, ScaledBackprop
from train.loop.distributed import World
from train.loop.optim import MovingAverage, OptimConfig, Progress, parameter_groups, schedule
from train.loop.run_log import RunLog
from train.loop.run_state import load_state, save_state

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopConfig:
    """How long to train and how often to evaluate.

    Attributes:
        steps: optimizer steps of the whole run.
        log_every: steps between two lines of the log.
        save_minutes: between two checkpoints.
        eval_minutes: between two evaluations; 0 evaluates at the end only.
        eval_steps: the same by steps, as plateaus need it; 0 for never.
        precision: "fp32", or autocast to "bf16" or "fp16" (with scaled losses).
    """

    steps: int
    log_every: int = 20
    save_minutes: float = 5.0
    eval_minutes: float = 0.0
    eval_steps: int = 0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.log_every < 1:
            raise ValueError(f"steps and log_every must be positive, got {self}")
        if self.precision not in ("fp32", "bf16", "fp16"):
            raise ValueError(f"precision must be fp32, bf16 or fp16, got {self.precision!r}")


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that the device would only imitate.

    Without bf16 instructions autocast is several times slower on CPU, and oneDNN's stand-in for the
    gradient of small strided convolutions now and then gives NaN.

    Raises:
        ValueError: says what to use instead.
    """
    if device.type != "cpu" or precision == "fp32":
        return
    abilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    if precision == "bf16" and (abilities.get("avx512_bf16") or abilities.get("amx_bf16")):
        return
    raise ValueError(f"this CPU has no {precision} arithmetic; set loop.precision=fp32")


class Run:
    """A run folder: training goes on from its last checkpoint, logs are appended.

    Args:
        folder: made if need be.
        model: its trainable parameters are trained in place.
        optim: rates and averaging.
        loop: length and intervals.
        world: the processes that train together.
        sharded: are the parameters spread over them (FSDP)?
        seed: of dropout, which depends on it, the step and the process alone.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optim: OptimConfig,
        loop: LoopConfig,
        world: World | None = None,
        sharded: bool = False,
        seed: int = 0,
    ) -> None:
        self.folder, self.step = folder, 0
        self.world = world or World()
        check_precision(loop.precision, self.world.device)
        self._model, self._optim, self._loop, self._sharded = model, optim, loop, sharded
        self._optimizer = torch.optim.AdamW(parameter_groups(model, optim), betas=(0.9, 0.999))
        self.average = MovingAverage(model, optim.ema)
        self._scaler = torch.amp.GradScaler(
            self.world.device.type, enabled=loop.precision == "fp16"
        )
        self._seconds, self._seed = 0.0, seed
        self._progress = Progress()
        self._stop = False
        if self.world.main:
            folder.mkdir(parents=True, exist_ok=True)
        self.world.barrier()
        self._restore()
        self._meet()

    def train(
        self,
        task: Callable[[Batch, Backprop], dict[str, Tensor]],
        batches: Callable[[range], Iterator[Batch]],
        evaluate: Callable[[], dict[str, float]] | None = None,
        observe: Callable[[int], object] | None = None,
    ) -> None:
        """Train to the end, or until the process is asked to stop; then a checkpoint is written.

        Args:
            task: batch → losses by name, with their gradient left in the parameters.
            batches: gives the batches of a range of steps.
            evaluate: figures of the averaged weights, called with these in the model's place, by
                all processes; `ap` among them steers a plateau.
            observe: called at each checkpoint with its step, the averaged weights in the model's
                place, by the first process only.

        Raises:
            FloatingPointError: a loss is not finite; the last checkpoint stays as it was.
        """
        handlers = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGTERM, signal.SIGINT)}
        log = RunLog(self.folder, self.step, self._loop.steps) if self.world.main else None
        backprop = ScaledBackprop(self._scaler)
        began = saved = evaluated = time.monotonic()
        self._model.train()
        try:
            for batch in batches(range(self.step, self._loop.steps)):
                self._optimizer.zero_grad(set_to_none=True)
                torch.manual_seed(_mixed(self._seed, self.step, self.world.rank))
                with self._autocast():
                    losses = task(batch, backprop)
                values = self._advance(losses)
                now = time.monotonic()
                self._seconds += now - began
                if log:
                    log.add(batch.stream, values, batch.photos * self.world.size)
                    if self.step % self._loop.log_every == 0:
                        log.write(self.step, self._seconds, self._optimizer.param_groups[0]["lr"])
                # All processes must take the same turns, so the first one's clock decides.
                due = self._agree(
                    bool(evaluate) and self._evaluation_due(now - evaluated),
                    _due(now - saved, self._loop.save_minutes),
                    self._stop,
                )
                if evaluate and due[0]:
                    self._evaluate(evaluate, log)
                    evaluated = time.monotonic()
                if due[1] or self._gives_up():
                    self.save()
                    self._observe(observe)
                    saved = time.monotonic()
                if self._gives_up():
                    logger.info("no more gain at step %d", self.step)
                    break
                if due[2]:
                    logger.warning("stopped at step %d; the same command goes on", self.step)
                    break
                began = time.monotonic() if any(due) else now
            self.save()
            self._observe(observe)
            if evaluate and self.step == self._loop.steps and not self._optim.plateau:
                self._evaluate(evaluate, log)
        finally:
            if log:
                log.close()
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
            "scaler": self._scaler.state_dict(),
            "progress": vars(self._progress),
        }
        save_state(self.folder, state, self._model, self._optimizer, self.world, self._sharded)

    def _restore(self) -> None:
        state = load_state(self.folder, self._model, self._optimizer, self.average, self._sharded)
        if state is None:
            return
        if state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        self.step, self._seconds = state["step"], state["seconds"]
        self._progress = Progress(**state.get("progress", {}))
        logger.info("going on from step %d", self.step)

    def _meet(self) -> None:
        """Make sure that all processes go on from the same step.

        Raises:
            ValueError: they found different checkpoints.
        """
        steps = self.world.objects(self.step)
        if len(set(steps)) > 1:
            raise ValueError(
                f"the processes found steps {steps} in {self.folder}; out must be a folder that "
                "all machines share"
            )

    def _autocast(self) -> Any:
        dtype = torch.float16 if self._loop.precision == "fp16" else torch.bfloat16
        enabled = self._loop.precision != "fp32"
        return torch.autocast(self.world.device.type, dtype, enabled=enabled)

    def _advance(self, losses: dict[str, Tensor]) -> dict[str, float]:
        values = {name: loss.item() for name, loss in losses.items()}
        values = {"loss": sum(values.values()), **values}
        if not all(math.isfinite(v) for v in values.values()):
            raise FloatingPointError(f"step {self.step}: a loss is not finite: {values}")
        factor = schedule(self.step, self._loop.steps, self._optim) * self._progress.factor
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        trained = [p for g in self._optimizer.param_groups for p in g["params"]]
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(trained, self._optim.clip)
        # With sharded parameters the norm is spread as well.
        values["gradient"] = float(getattr(norm, "full_tensor", lambda: norm)())
        # Half precision's scaler leaves such a step out by itself.
        if not math.isfinite(values["gradient"]) and not self._scaler.is_enabled():
            raise FloatingPointError(
                f"step {self.step}: the gradient is not finite, the losses are: {values}"
            )
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.average.update()
        self.step += 1
        return values

    def _evaluate(self, evaluate: Callable[[], dict[str, float]], log: RunLog | None) -> None:
        self.average.swap()
        self._model.eval()
        try:
            # Devices differ in the last bit, and the rate must be the same everywhere.
            figures = self.world.objects(evaluate())[0]
            if self._optim.plateau:
                self._progress = self._progress.after(figures["ap"], self._optim.plateau)
            if log:
                log.line("eval", self.step, self._seconds, figures)
        finally:
            self.average.swap()
            self._model.train()

    def _observe(self, observe: Callable[[int], object] | None) -> None:
        if observe is None or not self.world.main:
            return
        self.average.swap()
        self._model.eval()
        try:
            observe(self.step)
        finally:
            self.average.swap()
            self._model.train()

    def _evaluation_due(self, seconds: float) -> bool:
        every = self._loop.eval_steps
        return _due(seconds, self._loop.eval_minutes) or (every > 0 and self.step % every == 0)

    def _gives_up(self) -> bool:
        plateau = self._optim.plateau
        return plateau is not None and self._progress.over(plateau, self._optim.lr)

    def _agree(self, *answers: bool) -> tuple[bool, ...]:
        if self.world.size == 1:
            return answers
        # A signal may reach any one of the processes; the clock is the first one's.
        given = torch.tensor(answers, dtype=torch.float32, device=self.world.device)
        if not self.world.main:
            given[:-1] = 0
        return tuple(bool(x) for x in self.world.max(given))

    def _ask_to_stop(self, *_: object) -> None:
        self._stop = True


def _mixed(*numbers: int) -> int:
    return int(np.random.SeedSequence((*numbers, 5)).generate_state(1)[0])


def _due(seconds: float, minutes: float) -> bool:
    return minutes > 0 and seconds >= 60 * minutes
