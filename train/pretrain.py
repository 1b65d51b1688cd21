"""Train an experiment: python -m train.pretrain CONFIG [--smoke] [key=value …]

CONFIG names a module of train/configs, for example nano_boxes. The same command in the same `out`
folder goes on where the last one stopped. `--smoke` runs a few steps of anything.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from detclipv2.language.concepts import ConceptDictionary, load_concepts
from detclipv2.language.embeddings import prompt_text
from detclipv2.model import DetCLIPv2
from detclipv2.nn.backbone import imagenet_weights, load_imagenet
from train.data.loader import Batches, load
from train.data.sample import Sample
from train.data.sampler import Sampler
from train.engine import STATE, Run
from train.experiment import Experiment, describe, override
from train.memory import keep_freed_memory
from train.task import BoxesTask

logger = logging.getLogger(__name__)


def build_model(experiment: Experiment, texts: Sequence[str]) -> tuple[DetCLIPv2, Tensor | None]:
    """The model with its pretrained parts, and a frozen text tower's vectors of `texts`."""
    torch.manual_seed(experiment.seed)
    model = DetCLIPv2(experiment.model)
    if experiment.backbone_weights:
        weights = imagenet_weights(experiment.model.backbone, experiment.backbone_weights)
        load_imagenet(model.backbone, weights)
    model.backbone.freeze(experiment.freeze)
    pooled = None
    if experiment.model.text.frozen:
        model.text.load_pretrained()
        pooled = pooled_texts(model, texts, experiment.out / "texts.pt")
        model.text.init_projection(pooled)
    return model.to(memory_format=torch.channels_last), pooled


def pooled_texts(model: DetCLIPv2, texts: Sequence[str], cache: Path) -> Tensor:
    """(len(texts), width) vectors of a frozen tower, kept in `cache` for the next start."""
    template = model.config.text.template
    prompts = [prompt_text(template, text) for text in texts]
    known: dict[str, Tensor] = {}
    if cache.is_file():
        kept = torch.load(cache)
        known = dict(zip(kept["prompts"], kept["vectors"], strict=True))
    if missing := sorted(set(prompts) - known.keys(), key=len):
        logger.info("encoding %d texts once", len(missing))
        with torch.no_grad():
            for first in range(0, len(missing), 256):
                chunk = missing[first : first + 256]
                known.update(zip(chunk, model.text.pooled(chunk), strict=True))
        cache.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"prompts": list(known), "vectors": torch.stack(list(known.values()))}, cache)
    return torch.stack([known[prompt] for prompt in prompts])


def all_texts(samples: Sequence[Sample], dictionary: ConceptDictionary) -> list[str]:
    """Every concept that training can meet."""
    own = (concept for sample in samples for concept in sample.concepts)
    return list(dict.fromkeys([*own, *dictionary.names]))


def encoder(
    model: DetCLIPv2, texts: Sequence[str], pooled: Tensor | None
) -> Callable[[Sequence[str]], Tensor | list[str]]:
    """What the task hands to the model as concepts: kept vectors, or prompts to encode anew."""
    template = model.config.text.template
    if pooled is None:
        return lambda concepts: [prompt_text(template, concept) for concept in concepts]
    row = {text: index for index, text in enumerate(texts)}
    return lambda concepts: pooled[[row[concept] for concept in concepts]]


def zero_shot(model: DetCLIPv2, root: Path) -> Callable[[], dict[str, float]] | None:
    """An evaluation for the log, or None where the development set is not there."""
    from train.data.ov_mini import DEVELOPMENT
    from train.metrics.detection import read_truth

    folder = root / DEVELOPMENT
    if not (folder / "instances.json").is_file():
        return None
    truth = read_truth(folder / "instances.json")

    def evaluate() -> dict[str, float]:
        from detclipv2.inference.predictor import Predictor
        from train.zero_shot import zero_shot_boxes

        with tempfile.TemporaryDirectory() as cache:
            predictor = Predictor(model, device="cpu", cache_dir=Path(cache))
            figures, recall = zero_shot_boxes(predictor, truth, folder / "images")
        logger.info("AP %.2f AP50 %.2f AR@100 %.2f", figures.ap, figures.ap50, recall)
        return {"ap": figures.ap, "ap50": figures.ap50, "ar100": recall}

    return evaluate


def pretrain(experiment: Experiment) -> Run:
    """Train `experiment` to its end, or until the process is asked to stop."""
    if experiment.threads:
        torch.set_num_threads(experiment.threads)
    keep_freed_memory()
    samples, repeats = experiment.data(experiment.root)
    dictionary = load_concepts()
    texts = all_texts(samples, dictionary)
    model, pooled = build_model(experiment, texts)
    experiment.out.mkdir(parents=True, exist_ok=True)
    (experiment.out / "experiment.json").write_text(json.dumps(describe(experiment), indent=2))

    image = experiment.model.image
    red, green, blue = (round(255 * m) for m in image.mean)
    batches = Batches(
        samples, Sampler(samples, repeats, experiment.batches, experiment.seed),
        experiment.augmentation, seed=experiment.seed, fill=(red, green, blue),
        most_concepts=experiment.max_concepts, cache_gib=experiment.cache_gib,
    )  # fmt: skip
    task = BoxesTask(
        model, encoder(model, texts, pooled), dictionary, image, experiment.losses, experiment.seed
    )
    resumed = (experiment.out / STATE).is_file()
    run = Run(experiment.out, model, experiment.optim, experiment.loop)
    logger.info(
        "%d photos, %d texts, %s at step %d of %d",
        len(samples), len(texts), "going on" if resumed else "beginning", run.step,
        experiment.loop.steps,
    )  # fmt: skip
    evaluate = zero_shot(model, experiment.root) if experiment.loop.eval_minutes else None
    run.train(task, lambda steps: load(batches, steps, experiment.workers), evaluate)
    run.average.swap()
    model.save_pretrained(experiment.out / "checkpoint", {"steps": run.step})
    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("config", help="module of train/configs")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    known = sorted(
        p.stem for p in (Path(__file__).parent / "configs").glob("*.py") if p.stem != "__init__"
    )
    if options.config not in known:
        sys.exit(f"unknown config {options.config!r}; known: {', '.join(known)}")
    module = importlib.import_module(f"train.configs.{options.config}")
    try:
        experiment = override(module.experiment(smoke=options.smoke), options.overrides)
    except ValueError as error:
        sys.exit(str(error))
    pretrain(experiment)


if __name__ == "__main__":
    main()
