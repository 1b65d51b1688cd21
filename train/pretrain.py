"""Train an experiment.

    python -m train.pretrain CONFIG [--smoke] [--plan] [key=value …]

CONFIG names an experiment: a function of a module of train/configs, for example paper:t_o365_cc3m,
or a stage of train/nano/stages.py, for example nano:boxes. The same command in the same `out`
folder goes on where the last one stopped. `--smoke` runs a few steps of anything; `--plan` prints
what the run costs and stops. Many processes: torchrun --nproc-per-node N -m train.pretrain CONFIG …
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from detclipv2.checkpoint import save_checkpoint
from detclipv2.command import run_command
from detclipv2.language.concepts import ConceptDictionary, load_concepts
from detclipv2.language.embedding_file import default_cache_dir
from detclipv2.model import DetCLIPv2
from train.data.loader import Batch, Batches, Mixture, load
from train.data.sample import Sample
from train.data.sampler import Sampler
from train.data.turns import shares_of
from train.evaluation.ov_mini import development_judge
from train.experiment import Experiment, Stream, describe, override
from train.experiment_names import load_experiment
from train.initial_model import blocks_of, build_model, trained_view
from train.loop.allocator import keep_freed_memory
from train.loop.backprop import Backprop
from train.loop.distributed import Replica, World, world
from train.loop.run import Run
from train.loop.snapshots import write_snapshot
from train.nano.rank_loss import rank_loss
from train.profiling.cost import plan
from train.tasks.boxes import BoxesConfig, BoxesTask
from train.tasks.pairs import PairsTask
from train.tasks.pairs_config import PairsConfig
from train.tasks.text_encoding import Encode, Texts, known_texts

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A stream with its samples read and its batches planned."""

    stream: Stream
    samples: Sequence[Sample]
    sampler: Sampler
    batches: Batches

    @property
    def names(self) -> list[str]:
        """The concepts of all samples, each once."""
        return list(dict.fromkeys(c for sample in self.samples for c in sample.concepts))

    @property
    def asks_the_dictionary(self) -> bool:
        """Whether negatives are drawn from the concept dictionary."""
        task = self.stream.task
        return isinstance(task, BoxesConfig) and task.negatives == "dictionary"

    def encoder(self, texts: Texts, dictionary: ConceptDictionary) -> Encode:
        """How the task turns texts into concepts."""
        task = self.stream.task
        if isinstance(task, BoxesConfig) and task.enrich:
            return texts.enriched(dictionary, self.names)
        return texts


def prepare(experiment: Experiment, stream: Stream, world: World) -> Prepared:
    """Read a stream's samples and plan its batches for this process.

    Raises:
        ValueError: its batch cannot be shared evenly among the processes.
    """
    config = stream.batches
    smallest = config.batch // 2 if config.mosaic else config.batch
    if smallest % world.size:
        raise ValueError(
            f"stream {stream.name!r}: batches of {smallest} cannot be shared by {world.size} "
            f"processes; set streams.{stream.name}.batches.batch to a multiple"
        )
    samples, repeats = stream.data(experiment.root, experiment.out)
    sampler = Sampler(samples, repeats, config, experiment.seed)
    red, green, blue = (round(255 * m) for m in experiment.model.image.mean)
    batches = Batches(
        samples,
        sampler,
        stream.augmentation,
        seed=experiment.seed,
        fill=(red, green, blue),
        most_concepts=stream.own_concepts,
        cache_gib=stream.cache_gib,
        rank=world.rank,
        world=world.size,
    )
    return Prepared(stream, samples, sampler, batches)


def pretrain(
    experiment: Experiment,
    here: World | None = None,
    judge: Callable[[DetCLIPv2], dict[str, float]] | None = None,
) -> Run:
    """Train `experiment` to its end, or until the process is asked to stop.

    Args:
        experiment: everything about the run.
        here: the processes that train together; by default this one alone.
        judge: figures of the averaged weights, at the loop's intervals; by default zero-shot on
            OV-mini's development set, where `root` has it.
    """
    here = here or World()
    if experiment.threads:
        torch.set_num_threads(experiment.threads)
    keep_freed_memory()
    streams = [prepare(experiment, stream, here) for stream in experiment.streams]
    shares = shares_of(
        [s.sampler.steps_per_epoch for s in streams],
        [s.stream.weight for s in streams],
        experiment.temperature,
    )
    dictionary = load_concepts()
    model = build_model(experiment).to(here.device)
    texts = Texts(model, default_cache_dir(), here.device)
    if texts.frozen:
        known = known_texts([s.samples for s in streams])
        # Without a checkpoint to begin with, the projection begins at all that has a name.
        if not experiment.init or any(s.asks_the_dictionary for s in streams):
            known |= dict.fromkeys(dictionary.names)
        kept = texts.keep(known)
        if not experiment.init:
            model.text_encoder.init_projection(kept)
    if here.main:
        experiment.out.mkdir(parents=True, exist_ok=True)
        (experiment.out / "experiment.json").write_text(json.dumps(describe(experiment), indent=2))

    # Before the weights of a checkpoint are put in place, and before they are sharded.
    encoders = {s.stream.name: s.encoder(texts, dictionary) for s in streams}
    replica = Replica(
        trained_view(model, experiment.parallel), here, experiment.parallel, blocks_of(model)
    )
    run = Run(
        experiment.out,
        model,
        experiment.optim,
        experiment.loop,
        here,
        replica.sharded,
        experiment.seed,
    )
    task = tasks(experiment, streams, replica, encoders, dictionary)
    for prepared, share in zip(streams, shares, strict=True):
        logger.info(
            "%s: %d samples, %.1f %% of the steps",
            prepared.stream.name,
            len(prepared.samples),
            100 * share,
        )
    logger.info("at step %d of %d", run.step, experiment.loop.steps)
    mixture = Mixture({s.stream.name: s.batches for s in streams}, shares, experiment.seed)

    def batches(steps: range) -> Iterator[Batch]:
        return load(mixture, steps, experiment.workers)

    if judge is None and experiment.loop.eval_minutes > 0:
        judge = development_judge(experiment.root)
    # Sharded weights cannot be asked photo by photo; they are judged when the run is over.
    evaluate = partial(judge, model) if judge and not replica.sharded else None
    observe = None if replica.sharded else partial(write_snapshot, model, experiment.out)
    run.train(task, batches, evaluate, observe)
    run.average.swap()
    save_model(model, experiment.out / "checkpoint", run.step, replica)
    run.average.swap()
    return run


def tasks(
    experiment: Experiment,
    streams: Sequence[Prepared],
    replica: Replica,
    encoders: Mapping[str, Encode],
    dictionary: ConceptDictionary,
) -> Callable[[Batch, Backprop], dict[str, Tensor]]:
    """What the loop calls: each batch goes to its stream's own task."""
    by_name: dict[str, BoxesTask | PairsTask] = {}
    for prepared in streams:
        name, config = prepared.stream.name, prepared.stream.task
        encode = encoders[name]
        if isinstance(config, PairsConfig):
            by_name[name] = PairsTask(replica, experiment.model, encode, config)
            continue
        vocabulary = dictionary.names if prepared.asks_the_dictionary else prepared.names
        by_name[name] = BoxesTask(
            replica,
            experiment.model,
            encode,
            dictionary,
            vocabulary,
            config,
            experiment.seed,
            rank_loss,
        )
    return lambda batch, backprop: by_name[batch.stream](batch, backprop)


def save_model(model: DetCLIPv2, folder: Path, steps: int, replica: Replica) -> None:
    """A checkpoint folder that `load_checkpoint` reads, also of sharded weights."""
    if not replica.sharded:
        if replica.world.main:
            save_checkpoint(model, folder, {"steps": steps})
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(model, options=options)
    if replica.world.main:
        whole = DetCLIPv2(model.config)
        whole.load_state_dict(weights)
        save_checkpoint(whole, folder, {"steps": steps})


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("config", help="for example nano:boxes or paper:t_o365_cc3m")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    parser.add_argument("--plan", action="store_true", help="print what it costs, then stop")
    parser.add_argument(
        "--tflops", type=float, default=20.0, help="assumed of a device, 10^12 FLOPs a second"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        experiment = override(
            load_experiment(options.config, smoke=options.smoke), options.overrides
        )
        if options.plan:
            print(plan(experiment).table(options.tflops))
            return
    except ValueError as error:
        sys.exit(str(error))
    with world() as here:
        pretrain(experiment, here)


if __name__ == "__main__":
    run_command(main)
