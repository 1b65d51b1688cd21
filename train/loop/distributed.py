"""One process or many: start-up, gathers with gradient, DDP and FSDP2. One process needs none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")
Parallel = Literal["ddp", "fsdp"]


@dataclass(frozen=True)
class World:
    """Which of how many processes this is, and the device it computes on.

    Sums and gathers of a world of one are the identity, so callers never ask.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def main(self) -> bool:
        """Does this process write files and draw bars?"""
        return self.rank == 0

    def sum(self, x: Tensor) -> Tensor:
        """Sum over ranks; the gradient of every rank's loss reaches every rank's `x`."""
        return x if self.size == 1 else _Sum.apply(x)

    def max(self, x: Tensor) -> Tensor:
        """Maximum over ranks, without gradient."""
        x = x.detach().clone()
        if self.size > 1:
            dist.all_reduce(x, dist.ReduceOp.MAX)
        return x

    def rows(self, x: Tensor) -> Tensor:
        """(n_r, …) of every rank r → (Σ n_r, …) in rank order, on all ranks, with gradient."""
        return x if self.size == 1 else _Rows.apply(x, self.rank, self.size)

    def objects(self, x: T) -> list[T]:
        """Any small value of every rank, in rank order."""
        if self.size == 1:
            return [x]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, x)
        return found

    def barrier(self) -> None:
        """Wait for all."""
        if self.size > 1:
            dist.barrier()


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # Every rank's loss depends on every rank's x.
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rank: int, size: int) -> Tensor:
        count = torch.zeros(size, dtype=torch.long, device=x.device)
        count[rank] = len(x)
        dist.all_reduce(count)
        counts = count.tolist()
        # Ranks may have different numbers of rows, and gathers want equal ones: a sum does not.
        whole = x.new_zeros((sum(counts), *x.shape[1:]))
        ctx.first = sum(counts[:rank])
        ctx.count = len(x)
        whole[ctx.first : ctx.first + len(x)] = x
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        whole = grads[0].contiguous().clone()
        dist.all_reduce(whole)
        return whole[ctx.first : ctx.first + ctx.count], None, None


@contextlib.contextmanager
def world(minutes: float = 30.0) -> Iterator[World]:
    """The processes that torchrun started, or this one alone; groups are taken down at the end.

    Args:
        minutes: how long a collective waits for a rank that does not come.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if size == 1:
        yield World(device=device)
        return
    wait = timedelta(minutes=minutes)
    store, rank, size = next(dist.rendezvous("env://", timeout=wait))  # type: ignore[attr-defined]
    # After a restart the launcher's store still holds the addresses of the processes that died.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"attempt {attempt}", store)  # type: ignore[attr-defined]
    dist.init_process_group(
        "nccl" if cuda else "gloo", store=store, rank=rank, world_size=size, timeout=wait
    )
    try:
        yield World(dist.get_rank(), size, device)
    finally:
        dist.destroy_process_group()


class Replica:
    """A network as one of several processes trains it.

    Gradients are averaged over ranks in the backward pass of the last call of a step. A loss that
    is to be a mean over everything is therefore this rank's share times `World.size`.

    Args:
        net: moved to the device; with "fsdp" its parameters are sharded in place.
        world: the processes.
        parallel: "ddp" keeps whole copies, "fsdp" shards parameters that learn, gradients and
            optimizer state.
        blocks: parts of `net` that are gathered one after another with "fsdp".
    """

    def __init__(
        self,
        net: nn.Module,
        world: World,
        parallel: Parallel = "ddp",
        blocks: Sequence[nn.Module] = (),
    ) -> None:
        if parallel not in ("ddp", "fsdp"):
            raise ValueError(f"parallel must be 'ddp' or 'fsdp', got {parallel!r}")
        self.net, self.world = net.to(world.device), world
        self.sharded = world.size > 1 and parallel == "fsdp"
        self._ddp: Any = None
        if self.sharded:
            from torch.distributed.fsdp import fully_shard

            _register_outputs()
            # FSDP takes no weights in the channels-last order that is faster elsewhere.
            self.net.to(memory_format=torch.contiguous_format)
            # What is frozen stays whole: it has no gradient or optimizer state to spread, and a
            # frozen text tower is asked outside of the network's forward pass, too.
            frozen = {p for p in self.net.parameters() if not p.requires_grad}
            for block in blocks:
                if any(p not in frozen for p in block.parameters()):
                    fully_shard(block, ignored_params=frozen)
            fully_shard(self.net, ignored_params=frozen)
        elif world.size > 1:
            from torch.nn.parallel import DistributedDataParallel

            self._ddp = DistributedDataParallel(self.net, forward_sync_buffers=False)

    def __call__(self, *inputs: Any) -> Any:
        """The network's forward pass."""
        return (self._ddp or self.net)(*inputs)

    @contextlib.contextmanager
    def last(self, last: bool) -> Iterator[None]:
        """Around a forward and its backward pass: are the gradients of the step complete then?"""
        if self.sharded:
            self.net.set_requires_gradient_sync(last)  # type: ignore[operator]
            yield
        elif self._ddp is not None and not last:
            with self._ddp.no_sync():
                yield
        else:
            yield


def _register_outputs() -> None:
    # FSDP finds the tensors of an output only in containers that torch knows.
    from torch.utils import _pytree

    from detclipv2.regions import Regions

    if Regions not in _pytree.SUPPORTED_NODES:
        torch.export.register_dataclass(Regions)


def own_share(items: Sequence[T], world: World) -> list[T]:
    """This rank's contiguous share of a list that all ranks hold; shares differ by at most one."""
    base, more = divmod(len(items), world.size)
    first = world.rank * base + min(world.rank, more)
    return list(items[first : first + base + (world.rank < more)])
