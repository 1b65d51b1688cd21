"""Predictor: a model on a device with its caches; pictures and words in, detections out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Unpack

import torch
from torch import Tensor

from detclipv2.checkpoint_v1 import fingerprint_v1
from detclipv2.fingerprint import fingerprint
from detclipv2.geometry.boxes import clip
from detclipv2.inference.alignment import (
    Alignment,
    AlignSettings,
    align,
    distractors_for,
    phrases_of,
    similarity_maps,
)
from detclipv2.inference.calibration import Calibration
from detclipv2.inference.device import choose_device
from detclipv2.inference.encoded_image import EncodedImage
from detclipv2.inference.fair_lock import FairLock
from detclipv2.inference.images import ImageError, ImageSource, open_image
from detclipv2.inference.multi_scale.encoder import MultiScaleEncoder
from detclipv2.inference.postprocess import (
    ANCHOR_SHARE,
    MAX_CANDIDATES,
    Candidates,
    candidates_for,
    check_settings,
    choose_anchors,
    find_candidates,
    propose,
    select,
)
from detclipv2.inference.runtimes.openvino import OpenVINOTower, Runtime, choose_encoder
from detclipv2.inference.score_table import ScoreTable
from detclipv2.language.embedding_file import default_cache_dir
from detclipv2.language.phrases import Phrase
from detclipv2.language.prompt_reader import PromptReader, Prompts
from detclipv2.language.text_cache import TextEmbeddings
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DEFAULTS, FLOOR, DetectChanges, DetectSettings, Looks

if TYPE_CHECKING:
    import supervision as sv

    from detclipv2.model import DetCLIPv2

Source = TypeVar("Source", bound=ImageSource)


class Predictor:
    """Open-vocabulary detection with one model. Thread-safe.

    Boxes are xyxy in pixels of the upright original, `class_id` indexes the caller's list.
    The model is moved to the device and into evaluation; build a new Predictor after training it
    further, since text embeddings are cached under the weights found here.

    Attributes:
        model: the model, on `device`.
        device: where the towers run.
        calibration: of the scores.
        runtime: what runs the image tower.
        slot: held while a tower runs; detectors that share one never run at the same time.
    """

    def __init__(
        self,
        model: DetCLIPv2,
        *,
        device: str = "auto",
        threads: int | None = None,
        cache_dir: Path | None = None,
        anchor_share: float = ANCHOR_SHARE,
        slot: FairLock | None = None,
        runtime: Runtime = "torch",
    ) -> None:
        """Prepare `model`.

        Args:
            model: the detector.
            device: a torch device, or "auto": CUDA, else Apple's MPS, else the CPU.
            threads: CPU threads of the whole process, or None for torch's choice.
            cache_dir: folder of the text embeddings, or None for `$DETCLIPV2_CACHE` or the system's
                cache folder.
            anchor_share: see `postprocess.choose_anchors`; 1 compares all anchors with all words.
            slot: of another detector, to take turns with it; None for one of its own.
            runtime: what runs the image tower, see `choose_encoder`. OpenVINO takes some seconds
                the first time it meets a checkpoint.
        """
        if not 0 < anchor_share <= 1:
            raise ValueError(f"anchor_share must lie above 0 and up to 1, got {anchor_share!r}")
        self.device = choose_device(device)
        if threads is not None:
            if threads < 1:
                raise ValueError(f"threads must be at least 1, got {threads!r}")
            torch.set_num_threads(threads)
        # Depthwise convolutions run several times faster channels-last.
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()
        folder = cache_dir or default_cache_dir()
        tower = choose_encoder(self.model.for_inference(), runtime, folder / "openvino")
        self._anchor_share = anchor_share
        serving = model.serving
        serving.check(model.config)
        self.calibration = Calibration(serving.score_scale, serving.score_bias)
        self._texts = TextEmbeddings(self.model, folder)
        self._reader = PromptReader(self.model)
        self.slot = slot or FairLock()
        self.runtime: Runtime = tower.runtime if isinstance(tower, OpenVINOTower) else "torch"
        self._encoder = MultiScaleEncoder(
            tower, model.config.image, serving, self.device, self.slot
        )

    @property
    def image_passes(self) -> int:
        """How often the image tower has run."""
        return self._encoder.passes

    @property
    def name(self) -> str:
        """The model's name in its configuration."""
        return self.model.config.name

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of all that boxes come from, also of whether the image tower rounds."""
        return self._rounded(fingerprint(self.model))

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """`fingerprint`, and what it was in version 0.1, which runs of that time carry."""
        return (self.fingerprint, self._rounded(fingerprint_v1(self.model)))

    def _rounded(self, digest: str) -> str:
        if self.runtime != "openvino-bf16":
            return digest
        return hashlib.sha256(f"{digest} bf16".encode()).hexdigest()

    def vocabulary(self, prompts: Prompts) -> Vocabulary:
        """What the model makes of prompts: its `notes` say what was merged, left out or cut off.

        Of written text and of a `Vocabulary`, classes that the text tower reads alike become one:
        each of their boxes would come twice.

        Raises:
            VocabularyError: prompts that cannot be used; of a list of names, whose places count,
                also two that are read alike.
        """
        return self._reader.vocabulary(prompts)

    def predict(
        self,
        image: ImageSource,
        prompts: Prompts,
        settings: DetectSettings = DEFAULTS,
        **changes: Unpack[DetectChanges],
    ) -> sv.Detections:
        """Find what `prompts` name in one picture.

        Args:
            image: a path, bytes, a Pillow image or an RGB array (see `open_image`).
            prompts: a list of names, a written vocabulary ("cat, a red mug"), or a `Vocabulary`.
            settings: threshold, suppression, size and looks.
            changes: fields of `settings` by name, for example `threshold=0.2`.

        Raises:
            VocabularyError: prompts that cannot be used.
            ImageError: a picture that cannot be used.
            ValueError: a setting out of range.
        """
        vocabulary, settings = self._reader.checked(prompts), replace(settings, **changes)
        encoded = self.encode_image(image, settings.size, settings.tiles, settings.looks)
        return self.detect(encoded, vocabulary, settings)

    def predict_many(
        self,
        images: Iterable[Source],
        prompts: Prompts,
        settings: DetectSettings = DEFAULTS,
        *,
        on_error: Callable[[Source, ImageError], None] | None = None,
        **changes: Unpack[DetectChanges],
    ) -> Iterator[tuple[Source, sv.Detections]]:
        """`predict` for one picture after the other, holding one at a time.

        Args:
            images: pictures; taken one by one as results are asked for.
            prompts: as for `predict`, as are `settings` and `changes`. They are checked at once.
            on_error: called with a picture that cannot be used and the reason, after which the
                next follows; without it the ImageError is raised.
        """
        vocabulary, settings = self._reader.checked(prompts), replace(settings, **changes)

        def run() -> Iterator[tuple[Source, sv.Detections]]:
            for image in images:
                try:
                    found = self.predict(image, vocabulary, settings)
                except ImageError as error:
                    if on_error is None:
                        raise
                    on_error(image, error)
                    continue
                yield image, found

        return run()

    def encode_image(
        self, image: ImageSource, size: int | None = None, tiles: int = 1, looks: Looks = "thorough"
    ) -> EncodedImage:
        """Run the image tower; `detect` and `candidates` cost no further pass.

        Args:
            image: as for `predict`.
            size: see `DetectSettings`; it is that of every tile, too.
            tiles: see `DetectSettings` and `lay_tiles`.
            looks: see `DetectSettings`.
        """
        return self._encoder.closely(open_image(image), size, tiles, looks)

    def first_look(self, image: ImageSource, size: int | None = None) -> EncodedImage:
        """`encode_image` without any closer look, sooner; that is all `align` needs.

        Args:
            image: as for `predict`.
            size: see `DetectSettings`.
        """
        return self._encoder.first(open_image(image), size)

    def detect(
        self,
        encoded: EncodedImage,
        prompts: Prompts,
        settings: DetectSettings = DEFAULTS,
        **changes: Unpack[DetectChanges],
    ) -> sv.Detections:
        """`predict` on an encoded picture; `size`, `tiles` and `looks` are those it has."""
        settings = replace(settings, **changes)
        most = candidates_for(settings.max_boxes)
        found = self.candidates(encoded, prompts, floor=settings.threshold, most=most)
        return select(
            found,
            threshold=settings.threshold,
            nms_iou=settings.nms_iou,
            max_boxes=settings.max_boxes,
        )

    def candidates(
        self,
        encoded: EncodedImage,
        prompts: Prompts,
        *,
        floor: float = FLOOR,
        most: int = MAX_CANDIDATES,
        template: str | None = None,
    ) -> Candidates:
        """Boxes for `postprocess.select`, which then follows thresholds without the model.

        Args:
            encoded: from `encode_image`.
            prompts: as for `predict`.
            floor: the lowest threshold that will be asked for; lower costs more.
            most: at most so many boxes, the best ones.
            template: the sentence round each text, "{}" for its place; None for the model's own.
        """
        vocabulary = Vocabulary.coerce(prompts)
        check_settings(floor)
        with torch.inference_mode():
            return find_candidates(
                *self._compared(encoded, vocabulary, floor, template),
                vocabulary,
                encoded.size,
                floor=floor,
                most=most,
                calibration=self.calibration,
                soft_nms=self.model.serving.soft_nms,
            )

    def score_table(self, encoded: EncodedImage, prompts: Prompts) -> ScoreTable:
        """All scores of the classes of `prompts`: any threshold then follows without the model.

        Args:
            encoded: from `encode_image`.
            prompts: as for `predict`.
        """
        vocabulary = Vocabulary.coerce(prompts)
        with torch.inference_mode():
            return ScoreTable.of_logits(
                *self._compared(encoded, vocabulary, 0.0, None),
                vocabulary,
                encoded.size,
                self.calibration,
                self.model.serving.soft_nms,
            )

    def _compared(
        self, encoded: EncodedImage, vocabulary: Vocabulary, floor: float, template: str | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (A, 4) in pixels of the original, logits (A, T) and localisation (A,) of the
        anchors that can reach `floor` or the threshold of a class."""
        concepts = self.encode_texts(vocabulary.texts, template)
        regions, own = encoded.regions, vocabulary.thresholds.values()
        raw = float(self.calibration.inverse(torch.tensor(min((floor, *own)))))
        anchors = choose_anchors(regions.localisation, raw, self._anchor_share)
        logits = self.model.similarity(
            regions.embeddings[anchors].to(self.device), concepts.to(self.device)
        )
        boxes = encoded.letterbox.to_original(regions.boxes[anchors])
        return boxes, logits.float().cpu(), regions.localisation[anchors]

    def encode_texts(self, texts: Sequence[str], template: str | None = None) -> Tensor:
        """(K, D) embeddings of K prompts on the CPU, from the caches where they have them.

        Args:
            texts: K of them.
            template: the sentence round each, "{}" for its place; None for the model's own.
        """
        with self.slot:
            return self._texts.encode(texts, template)

    def score(self, encoded: EncodedImage, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Everything the model says of an encoded picture, nothing suppressed or left out.

        Args:
            encoded: from `encode_image`.
            texts: T names or phrases, each for itself; equal ones are no mistake.

        Returns:
            Boxes (A, 4), xyxy in the original's pixels, cut at its borders, and scores (A, T) in
            0..1. Boxes in the padding have no area then.
        """
        similar = self._similarities(encoded, texts)
        scores = similar * encoded.regions.localisation.sigmoid()[:, None]
        boxes = encoded.letterbox.to_original(encoded.regions.boxes)
        return clip(boxes, *encoded.size), self.calibration.apply(scores.sqrt())

    def propose(
        self, encoded: EncodedImage, prompts: Prompts, *, max_boxes: int = DEFAULTS.max_boxes
    ) -> sv.Detections:
        """Boxes of anything that looks like one of `prompts`, without classes, best first.

        What a box holds matters less here than that it holds one whole thing: it is ranked by
        `Regions.objectness`, where detections are by `Regions.localisation`.
        """
        check_settings(0, max_boxes=max_boxes)
        best = self._similarities(encoded, Vocabulary.coerce(prompts).texts).amax(dim=1)
        boxes = encoded.letterbox.to_original(encoded.regions.boxes)
        scores = (best * encoded.regions.objectness).sqrt()
        return propose(boxes, scores, encoded.size, max_boxes, self.model.serving.soft_nms > 0)

    def _similarities(self, encoded: EncodedImage, texts: Sequence[str]) -> Tensor:
        """(A, T) in 0..1, on the CPU."""
        concepts = self.encode_texts(texts).to(self.device)
        with torch.inference_mode():
            logits = self.model.similarity(encoded.regions.embeddings.to(self.device), concepts)
            return logits.float().cpu().sigmoid()

    def align(
        self,
        image: ImageSource | EncodedImage,
        words: str | Sequence[str | Phrase],
        settings: AlignSettings | None = None,
        *,
        caption: str = "",
        whole: bool = False,
    ) -> Alignment:
        """Which regions of a picture the phrases of a caption found, as training sees it.

        Args:
            image: a picture, or an encoded one, for which the image tower does not run. Of closer
                looks nothing is taken.
            words: a caption, whose noun phrases are taken, or the phrases themselves.
            settings: how they are compared; None for the paper's way.
            caption: the text that given phrases stand in; `words` where that is a caption.
            whole: let the whole caption be a phrase as well, as training does.

        Raises:
            ValueError: no phrase, a blank one, or regions ranked by a branch the model lacks.
            ImageError: a picture that cannot be used.
            PhraseModelError: a caption, but no spaCy pipeline.
        """
        caption = words if isinstance(words, str) else caption
        phrases = phrases_of(words, caption if whole else "")
        encoded = image if isinstance(image, EncodedImage) else self.first_look(image)
        texts = [phrase.text for phrase in phrases]
        concepts = self.encode_texts([*texts, *distractors_for(texts)])
        return align(self.model, encoded, phrases, concepts, settings or AlignSettings(), caption)

    def similarity_maps(self, encoded: EncodedImage, phrases: Sequence[str]) -> list[Tensor]:
        """How like each of P phrases every place of the pyramid is: (P, h, w) a level; see
        `alignment.similarity_maps`."""
        return similarity_maps(self.model, encoded, self.encode_texts(phrases))
