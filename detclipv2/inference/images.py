"""Pictures: opening whatever users hand over, and the letterbox with its exact inverse."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from detclipv2.config import ImageConfig

ImageSource = str | Path | bytes | Image.Image | NDArray[Any]
"""What `open_image` opens."""

MAX_PIXELS = 89_000_000
"""Largest picture opened, width x height: 267 MB once decoded, and where Pillow starts to warn."""
PAD_MULTIPLE = 32

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA", "ICO")
"""Raster formats only: Pillow hands EPS to Ghostscript, which runs what is in the file."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of each EXIF orientation upright."""
_WHITE_LEVELS = (255, 1023, 4095, 16383, 65535)
"""White of 8, 10, 12, 14 and 16 bits a channel."""


class ImageError(ValueError):
    """A picture that cannot be used.

    Attributes:
        what: the picture, by its name.
        why: the cause.
        fix: what to do about it.
    """

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(what, why, fix)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        """All of it in a line."""
        return f"{self.what}: {self.why}; {self.fix}"


def open_image(
    source: ImageSource, *, max_pixels: int = MAX_PIXELS, name: str | None = None
) -> Image.Image:
    """Open a picture as upright RGB, the form all boxes refer to.

    The EXIF orientation is applied, transparency is laid on white, of an animation the first frame
    is taken, and more than 8 bits a channel are scaled by the bit depth the values need.

    Args:
        source: a path, the bytes of a file, a Pillow image, or an array of shape (H, W), (H, W, 1),
            (H, W, 3) RGB or (H, W, 4) RGBA; floats lie in 0..1 or 0..255.
        max_pixels: width x height above which the picture is refused, before it is decoded.
        name: what an error calls the picture; None for the path, or what else was handed over.

    Raises:
        ImageError: the picture is missing, broken, too large or of an unknown kind.
    """
    if isinstance(source, Image.Image):
        return _upright_rgb(source, name or f"the {source.mode} image", max_pixels)
    if isinstance(source, np.ndarray):
        called = name or f"the array {source.shape}"
        return _upright_rgb(_from_array(source, called), called, max_pixels)
    if isinstance(source, bytes):
        called, content = name or f"the {len(source)} bytes", BytesIO(source)
    elif isinstance(source, str | Path):
        called = name or str(source)
        content = BytesIO(_read(source, called))
    else:
        raise ImageError(
            name or "the source",
            f"{type(source).__name__} is no picture",
            "hand over a path, bytes, a Pillow image or an array",
        )
    if not content.getbuffer().nbytes:
        raise ImageError(called, "the file is empty", "copy or download it again")
    with _identify(content, called) as image:
        return _upright_rgb(image, called, max_pixels)


def identify(content: bytes) -> Image.Image:
    """What a file's header says, e.g. its format and size; nothing is decoded. Close it after use.

    Raises:
        ImageError: a file that `open_image` does not open.
    """
    return _identify(BytesIO(content), f"the {len(content)} bytes")


def _identify(content: BytesIO, name: str) -> Image.Image:
    try:
        return Image.open(content, formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError(name, str(error), "scale it down") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            name, "not a picture, or of a kind Pillow does not read", "convert it to JPEG or PNG"
        ) from error
    except Exception as error:  # decoders meet broken files with any exception
        raise ImageError(name, f"the picture is broken ({error})", "save it again") from error


def _read(path: str | Path, name: str) -> bytes:
    if str(path).startswith(("http://", "https://")):
        raise ImageError(name, "addresses are not fetched", "download the picture first")
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ImageError(name, "no such file", "check the path") from error
    except IsADirectoryError as error:
        raise ImageError(name, "a folder", "name a picture inside it") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error  # without the path's folders
        raise ImageError(name, f"cannot be read ({why})", "check its permissions") from error


def _upright_rgb(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    if image.width * image.height > max_pixels:
        raise ImageError(
            name,
            f"{image.width} x {image.height} pixels are more than the limit of {max_pixels:,}",
            "scale it down or raise max_pixels",
        )
    if not image.width or not image.height:
        raise ImageError(
            name,
            f"{image.width} x {image.height} pixels hold nothing to look at",
            "name another picture",
        )
    try:
        image.load()
        rgb = _to_rgb(_upright(image))
    except Exception as error:  # decoders meet broken files with any exception
        raise ImageError(
            name, f"the picture is broken or cut off ({error})", "copy or save it again"
        ) from error
    rgb.info = {}  # its orientation is applied and must not be applied again
    return rgb


def _upright(image: Image.Image) -> Image.Image:
    # Not ImageOps.exif_transpose: it writes the EXIF back, and fails on what cameras put there.
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # unreadable EXIF: the pixels are still good
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_to_uint8(np.asarray(image))).convert("RGB")
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            name,
            f"an array of shape {array.shape} is no picture",
            "it must be (H, W), (H, W, 3) or (H, W, 4), channels last",
        )
    if not array.size:
        raise ImageError(name, "the array is empty", "it must hold pixels")
    if array.dtype.kind not in "buif":
        raise ImageError(
            name, f"an array of {array.dtype} is no picture", "use uint8, uint16 or floats"
        )
    return Image.fromarray(np.ascontiguousarray(_to_uint8(array)))


def _to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale to 0..255 by the smallest bit depth that holds the values; floats up to 1 by 255."""
    if values.dtype == np.uint8:
        return values
    finite = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    top = float(finite.max())
    if values.dtype.kind in "bf" and top <= 1:
        white = 1.0
    else:
        white = float(next((level for level in _WHITE_LEVELS if top <= level), top))
    return np.rint(finite.clip(0, white) * (255 / white)).astype(np.uint8)


@dataclass(frozen=True)
class Letterbox:
    """How a picture was scaled into the network's input: both directions, exactly.

    Sides are rounded to whole pixels, so the two axes have slightly different factors.

    Attributes:
        original: width and height of the upright picture.
        scaled: width and height of its content inside the input, at the top left.
        padded: width and height of the input.
    """

    original: tuple[int, int]
    scaled: tuple[int, int]
    padded: tuple[int, int]

    @classmethod
    def fit(cls, original: tuple[int, int], size: int) -> Letterbox:
        """Scale so that the long side is `size`, then pad to multiples of 32."""
        if isinstance(size, bool) or not isinstance(size, int) or size < 32 or size % PAD_MULTIPLE:
            raise ValueError(f"size must be a positive multiple of {PAD_MULTIPLE}, got {size!r}")
        scale = size / max(original)
        width, height = (max(1, round(side * scale)) for side in original)
        padded = (
            -(-width // PAD_MULTIPLE) * PAD_MULTIPLE,
            -(-height // PAD_MULTIPLE) * PAD_MULTIPLE,
        )
        return cls(original, (width, height), padded)

    def to_original(self, boxes: Tensor) -> Tensor:
        """(..., 4) xyxy in the input's pixels → in the upright picture's, not clipped."""
        return boxes / self._factors(boxes)

    def to_input(self, boxes: Tensor) -> Tensor:
        """(..., 4) xyxy in the upright picture's pixels → in the input's."""
        return boxes * self._factors(boxes)

    def _factors(self, boxes: Tensor) -> Tensor:
        x, y = (
            inside / outside for inside, outside in zip(self.scaled, self.original, strict=True)
        )
        return boxes.new_tensor((x, y, x, y))


def letterbox(image: Image.Image, size: int, config: ImageConfig) -> tuple[Tensor, Letterbox]:
    """Scale, normalise and pad one upright RGB picture.

    Args:
        image: as `open_image` returns it.
        size: the long side of the content, a multiple of 32; small pictures are enlarged.
        config: mean and standard deviation; the padding is the mean colour.

    Returns:
        (3, H, W) float32 with H and W multiples of 32, and the letterbox.
    """
    box = Letterbox.fit(image.size, size)
    # Pillow's resize averages over the source pixels; `reducing_gap` halves big photos first.
    scaled = image.resize(box.scaled, Image.Resampling.BILINEAR, reducing_gap=2.0)
    content = torch.from_numpy(np.array(scaled)).permute(2, 0, 1).float().div_(255)
    mean, std = (content.new_tensor(values).view(3, 1, 1) for values in (config.mean, config.std))
    pixels = content.new_zeros(3, box.padded[1], box.padded[0])
    pixels[:, : box.scaled[1], : box.scaled[0]] = (content - mean) / std
    return pixels, box
