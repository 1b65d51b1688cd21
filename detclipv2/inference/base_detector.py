"""From encoding and candidates to detections, the same for every detector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar, Unpack

from detclipv2.inference.images import ImageError, ImageSource
from detclipv2.inference.postprocess import MAX_CANDIDATES, Candidates, candidates_for, select
from detclipv2.language.prompt_reader import Prompts
from detclipv2.language.vocabulary import Vocabulary
from detclipv2.serving import DEFAULTS, FLOOR, DetectChanges, DetectSettings, Looks

if TYPE_CHECKING:
    import supervision as sv

Source = TypeVar("Source", bound=ImageSource)
Encoded = TypeVar("Encoded")


class BaseDetector(ABC, Generic[Encoded]):
    """What a detector adds to its towers: whoever encodes pictures and finds candidates detects."""

    @abstractmethod
    def encode_image(
        self, image: ImageSource, size: int | None = None, tiles: int = 1, looks: Looks = "thorough"
    ) -> Encoded:
        """Run what needs no words."""

    @abstractmethod
    def candidates(
        self,
        encoded: Encoded,
        prompts: Prompts,
        *,
        floor: float = FLOOR,
        most: int = MAX_CANDIDATES,
    ) -> Candidates:
        """Boxes for `postprocess.select`."""

    @abstractmethod
    def checked(self, prompts: Prompts) -> Vocabulary:
        """The vocabulary of prompts; a `Vocabulary` stays as it is."""

    def learned_thresholds(self, vocabulary: Vocabulary) -> Vocabulary:
        """The vocabulary with the thresholds that were learned, where a class has none."""
        return vocabulary

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
        vocabulary, settings = self.checked(prompts), replace(settings, **changes)
        encoded = self.encode_image(image, *settings.encoding)
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
            prompts: as for `predict`; checked at once.
            settings: as for `predict`; checked at once.
            on_error: called with a picture that cannot be used and the reason, after which the
                next follows; without it the ImageError is raised.
            changes: fields of `settings` by name.
        """
        vocabulary, settings = self.checked(prompts), replace(settings, **changes)

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

    def detect(
        self,
        encoded: Encoded,
        prompts: Prompts,
        settings: DetectSettings = DEFAULTS,
        **changes: Unpack[DetectChanges],
    ) -> sv.Detections:
        """`predict` on an encoded picture; `size`, `tiles` and `looks` are those it has."""
        settings = replace(settings, **changes)
        most = candidates_for(settings.max_boxes)
        found = self.candidates(encoded, prompts, floor=settings.threshold, most=most)
        return select(found, settings)
