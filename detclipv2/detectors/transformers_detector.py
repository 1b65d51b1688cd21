"""The zero-shot detectors of transformers behind our interface."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from detclipv2.detectors.families import FAMILIES
from detclipv2.geometry.boxes import clip, cxcywh_to_xyxy
from detclipv2.hub import files_of
from detclipv2.inference.base_detector import BaseDetector
from detclipv2.inference.device import choose_device
from detclipv2.inference.fair_lock import FairLock
from detclipv2.inference.images import ImageSource, open_image
from detclipv2.inference.postprocess import MAX_CANDIDATES, Candidates, propose, score_candidates
from detclipv2.inference.score_table import ScoreTable
from detclipv2.language.prompt_reader import Prompts
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.nn.backbone import check_architecture
from detclipv2.serving import DEFAULTS, FLOOR, DetectSettings, Looks, ServingConfig, check_share

if TYPE_CHECKING:
    import supervision as sv

    from detclipv2.detectors.families import Family


@dataclass(frozen=True, eq=False)
class EncodedTensors:
    """A picture as a transformers detector has it: its family's tensors, and (width, height)."""

    tensors: Any
    size: tuple[int, int]


class TransformersDetector(BaseDetector[EncodedTensors]):
    """A zero-shot detector of the transformers library. Thread-safe.

    OWL-ViT, OWLv2 and OmDet-Turbo run their image tower once a picture; Grounding DINO, whose
    towers look at each other, runs whole for every vocabulary. A box may carry several classes, as
    in `Predictor`, and NMS is `postprocess.select`'s.

    Attributes:
        name: the last part of the folder or hub id.
        device: where it runs.
        image_passes: how often the image tower has run.
        lock: held while the model runs; see `Predictor`.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        name: str,
        device: str = "auto",
        threads: int | None = None,
        lock: FairLock | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: of a class that `AutoModelForZeroShotObjectDetection` gives.
            processor: the model's own.
            name: how users know it.
            device: a torch device, or "auto".
            threads: CPU threads of the whole process, or None for torch's choice.
            lock: of another detector, to take turns with it; None for one of its own.

        Raises:
            ValueError: a family that is not known here.
        """
        kind = model.config.model_type
        if kind not in FAMILIES:
            raise ValueError(f"{name}: detectors of type {kind!r} are not known; {_known()}")
        if threads is not None:
            torch.set_num_threads(threads)
        self.name = name
        self.device = choose_device(device)
        self.image_passes = 0
        self._model = model.to(self.device).eval()
        self._processor = processor
        self._family: Family = FAMILIES[kind](self._model, processor)
        self._words: tuple[tuple[str, ...], Any] | None = None
        self._last: tuple[EncodedTensors, tuple[str, ...], tuple[Tensor, Tensor]] | None = None
        self.lock = lock or FairLock()

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        device: str = "auto",
        threads: int | None = None,
        lock: FairLock | None = None,
    ) -> TransformersDetector:
        """The detector of a folder, or of a hub id whose files are here (see `hub.may_download`).

        Raises:
            OSError: no such folder, or an id whose files are not here.
            ValueError: it is no zero-shot detector, of an unknown family, or its configuration
                names a backbone that would have to be fetched.
        """
        from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoProcessor

        folder = files_of(str(source))
        for backbone in _backbones(AutoConfig.from_pretrained(folder).to_dict()):
            check_architecture(backbone)
        model = AutoModelForZeroShotObjectDetection.from_pretrained(folder)
        processor = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
        name = Path(source).resolve().name if Path(source).is_dir() else Path(source).name
        return cls(model, processor, name=name, device=device, threads=threads, lock=lock)

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of the weights and of how pictures are prepared."""
        image = self._processor.image_processor.to_json_string()
        digest = hashlib.sha256(f"{self._model.config.model_type}{image}".encode())
        for key, tensor in sorted(self._model.state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """`fingerprint` alone."""
        return (self.fingerprint,)

    @property
    def list_defaults(self) -> DetectSettings:
        """As of any detector whose threshold for lists was not measured."""
        return ServingConfig().list_defaults

    def vocabulary(self, prompts: Prompts) -> Vocabulary:
        """The prompts as they are written; how much of them its text tower reads is not told."""
        return Vocabulary.coerce(prompts)

    checked = vocabulary

    def encode_image(
        self, image: ImageSource, size: int | None = None, tiles: int = 1, looks: Looks = "thorough"
    ) -> EncodedTensors:
        """Run what needs no words.

        Args:
            image: a path, bytes, a Pillow image or an RGB array (see `open_image`).
            size: must be None: these models bring their own size.
            tiles: must be 1: only regions of a `Predictor` can be joined.
            looks: either; there is one.

        Raises:
            ImageError: a picture that cannot be used.
            ValueError: a size or tiles.
        """
        if size is not None:
            raise ValueError(f"{self.name} has its own image size; leave out size={size}")
        if tiles != 1:
            raise ValueError(f"{self.name} looks at pictures whole; leave out tiles={tiles}")
        picture = open_image(image)
        inputs = self._processor.image_processor(images=picture, return_tensors="pt")
        tensors = {key: value.to(self.device) for key, value in inputs.items()}
        with self.lock, torch.inference_mode():
            self.image_passes += 1
            return EncodedTensors(self._family.encode(tensors), picture.size)

    def score(self, encoded: EncodedTensors, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """See `Predictor.score`; a score of 0 also stands where box and text never met."""
        wanted = tuple(texts)
        with self.lock, torch.inference_mode():
            # Boxes and proposals of one picture are asked for one after the other.
            if self._last is None or self._last[0] is not encoded or self._last[1] != wanted:
                self._last = (encoded, wanted, self._score(encoded, wanted))
            return self._last[2]

    def _score(self, encoded: EncodedTensors, texts: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        if self._words is None or self._words[0] != texts:
            self._words = (texts, self._family.words(texts))
        boxes, scores = self._family.score(encoded.tensors, self._words[1])
        extent = boxes.new_tensor(self._family.extent(encoded.size)).repeat(2)
        boxes = (cxcywh_to_xyxy(boxes) * extent).float().cpu()
        return clip(boxes, *encoded.size), scores.float().cpu()

    def candidates(
        self,
        encoded: EncodedTensors,
        prompts: Prompts,
        *,
        floor: float = FLOOR,
        most: int = MAX_CANDIDATES,
    ) -> Candidates:
        """See `Predictor.candidates`."""
        check_share("floor", floor)
        vocabulary = Vocabulary.coerce(prompts)
        boxes, scores = self.score(encoded, vocabulary.texts)
        return score_candidates(boxes, scores, vocabulary, floor=floor, most=most)

    def score_table(self, encoded: EncodedTensors, prompts: Prompts) -> ScoreTable:
        """See `Predictor.score_table`."""
        vocabulary = Vocabulary.coerce(prompts)
        return ScoreTable.of_scores(*self.score(encoded, vocabulary.texts), vocabulary)

    def propose(
        self, encoded: EncodedTensors, prompts: Prompts, *, max_boxes: int = DEFAULTS.max_boxes
    ) -> sv.Detections:
        """See `Predictor.propose`."""
        DetectSettings(max_boxes=max_boxes)  # refuses one out of range
        boxes, scores = self.score(encoded, Vocabulary.coerce(prompts).texts)
        return propose(boxes, scores.amax(dim=1), encoded.size, max_boxes)


def _backbones(config: Any) -> Iterator[str]:
    """The timm backbones that a configuration names, at any depth."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _backbones(value)
        elif key == "backbone" and isinstance(value, str):
            yield value


def _known() -> str:
    return f"known are {', '.join(FAMILIES)}"
