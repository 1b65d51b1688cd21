"""Whatever is handed over becomes upright RGB or a clear error."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from detclipv2.inference.images import ImageError, identify, open_image
from tests.inference.photos import corners


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_exif_orientations(quarters: Image.Image, orientation: int, kind: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = quarters.transpose(undo[orientation]) if orientation > 1 else quarters
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = open_image(encode(stored, kind, exif=exif))
    assert upright.size == quarters.size
    assert corners(upright) == corners(quarters)
    assert open_image(upright).size == quarters.size  # turned once, not twice


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"garbage here", b"II*\0", b"MM\0*\0\0\xff\xff broken"])
def test_broken_exif_does_not_cost_the_photo(quarters: Image.Image, kind: str, exif: bytes) -> None:
    data = encode(quarters, kind, exif=b"Exif\0\0" + exif)
    assert corners(open_image(data)) == corners(quarters)


def test_odd_exif_does_not_cost_the_orientation(quarters: Image.Image) -> None:
    """A maker tag of the wrong type, which Pillow reads and cannot write back."""
    exif = (
        b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
        b"\x01\x0f\0\x0a\0\0\0\x01\0\0\0\0\0\0\0\0"
    )
    stored = quarters.transpose(Image.Transpose.ROTATE_90)
    assert corners(open_image(encode(stored, "JPEG", exif=exif))) == corners(quarters)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LA", "HSV", "I", "I;16", "F", "PA"])  # fmt: skip  # noqa: E501
def test_every_mode_becomes_rgb(mode: str) -> None:
    grey = Image.fromarray(np.linspace(0, 255, 32 * 32).reshape(32, 32).astype(np.uint8))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode in ("P", "PA"):
        image = grey.convert("RGB").quantize(64).convert(mode)
    elif mode in ("I", "F"):
        image = grey.convert(mode)
    else:
        image = grey.convert("RGB").convert(mode)
    assert image.mode == mode
    before = image.tobytes()
    rgb = open_image(image)
    assert (rgb.mode, rgb.size) == ("RGB", (32, 32))
    error = np.abs(np.asarray(rgb).astype(int) - np.asarray(grey)[..., None]).mean()
    assert error < (130 if mode == "1" else 4)
    assert image.tobytes() == before  # the caller's picture is left alone


def test_cmyk_jpeg_keeps_its_colours(quarters: Image.Image) -> None:
    assert corners(open_image(encode(quarters.convert("CMYK"), "JPEG"))) == corners(quarters)


@pytest.mark.parametrize("top", [1023, 4095, 65535])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_by_their_depth(top: int, kind: str) -> None:
    ramp = np.linspace(0, top, 64 * 4).round().astype(np.uint16).reshape(4, 64)
    rgb = np.asarray(open_image(encode(Image.fromarray(ramp), kind)))
    assert (rgb.min(), rgb.max()) == (0, 255)
    assert np.abs(rgb[..., 0] - ramp / top * 255).max() <= 0.51


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    clear.putpixel((0, 0), (200, 0, 0, 255))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    palette.putpixel((0, 0), 0)
    keyed = Image.new("RGB", (8, 8), (0, 0, 200))
    cases = [
        (clear, {}, (200, 0, 0)),
        (palette, {"transparency": 1}, (0, 0, 0)),
        (Image.new("LA", (8, 8), (9, 0)), {}, (255, 255, 255)),
        (keyed, {"transparency": (0, 0, 200)}, (255, 255, 255)),
    ]
    for image, options, first in cases:
        rgb = open_image(encode(image, "PNG", **options))
        assert rgb.getpixel((7, 7)) == (255, 255, 255)
        assert rgb.getpixel((0, 0)) == first
    half = open_image(Image.new("RGBA", (4, 4), (0, 0, 0, 128)))
    assert half.getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    red, green, blue = np.asarray(open_image(data)).reshape(-1, 3).mean(0)
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((4, 6), 200, np.uint8), 200),
        (np.full((4, 6, 1), 200, np.uint8), 200),
        (np.full((4, 6, 3), 200, np.uint8), 200),
        (np.full((4, 6, 3), 200, np.uint8)[::-1, ::-1], 200),
        (np.full((4, 6, 4), 255, np.uint8), 255),
        (np.full((4, 6, 3), 0.5), 128),
        (np.full((4, 6, 3), 100.0, np.float32), 100),
        (np.full((4, 6), 65535, np.uint16), 255),
        (np.full((4, 6), 200, np.int64), 200),
        (np.full((4, 6), True), 255),
        (np.full((4, 6), np.nan), 0),
        (np.full((4, 6, 3), -5), 0),
    ],
)
def test_arrays(array: np.ndarray, expected: int) -> None:
    rgb = open_image(array)
    assert rgb.size == (6, 4)
    assert np.asarray(rgb).tolist() == [[[expected] * 3] * 6] * 4


def test_paths_bytes_pictures_and_arrays_agree(photo: Image.Image, photo_file: Path) -> None:
    expected = np.asarray(photo)
    for source in (photo_file, str(photo_file), photo_file.read_bytes(), photo, expected):
        assert np.array_equal(np.asarray(open_image(source)), expected)


def test_errors_name_the_file_the_cause_and_the_fix(tmp_path: Path, photo: Image.Image) -> None:
    jpeg, png = encode(photo, "JPEG"), encode(photo)
    files = {
        "empty.jpg": (b"", "is empty; copy or download"),
        "note.jpg": (b"hello, no picture", "not a picture.*convert it to JPEG or PNG"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "broken or cut off .*truncated.*copy or save it again"),
        "cut.png": (png[: len(png) // 2], "broken or cut off"),
        "head.png": (png[:20], "broken|not a picture"),
        "flip.png": (png[:60] + bytes(40) + png[100:], "broken"),
        "page.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    }
    for name, (content, message) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=f"{name}: .*{message}"):
            open_image(tmp_path / name)
    with pytest.raises(ImageError, match=r"missing\.jpg: no such file; check the path"):
        open_image(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="a folder; name a picture"):
        open_image(tmp_path)
    with pytest.raises(ImageError, match="download the picture first"):
        open_image("https://example.com/cat.jpg")
    with pytest.raises(ImageError, match="cannot be read"):
        open_image("nul\0.jpg")
    with pytest.raises(ImageError, match="the 5 bytes: not a picture"):
        open_image(b"12345")
    with pytest.raises(ImageError) as raised:
        open_image(tmp_path / "missing.jpg", name="photo 7")
    error = pickle.loads(pickle.dumps(raised.value))  # as workers hand it over
    assert (error.what, error.why, error.fix) == ("photo 7", "no such file", "check the path")
    assert str(error) == "photo 7: no such file; check the path"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "NoneType is no picture"),
        (np.zeros((3, 20, 20), np.uint8), r"\(3, 20, 20\).*channels last"),
        (np.zeros((2, 4, 4, 3), np.uint8), "is no picture"),
        (np.zeros((0, 4, 3), np.uint8), "is empty"),
        (np.zeros((4, 4), complex), "complex128"),
        (Image.new("RGB", (0, 5)), "0 x 5 pixels"),
    ],
)
def test_what_is_no_picture_is_refused(source: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        open_image(source)  # type: ignore[arg-type]


def test_the_size_limit_holds_before_decoding(photo: Image.Image) -> None:
    assert open_image(photo, max_pixels=6000).size == (100, 60)
    data = encode(photo)
    for source in (photo, np.asarray(photo), data, data[:-40]):  # the last cannot be decoded
        with pytest.raises(ImageError, match=r"100 x 60 pixels .* limit of 5,999; .*max_pixels"):
            open_image(source, max_pixels=5999)
    header = bytearray(encode(Image.new("1", (8, 8)), "BMP"))
    header[18:26] = (60_000).to_bytes(4, "little") * 2  # Pillow's own bomb check
    with pytest.raises(ImageError, match="scale it down"):
        open_image(bytes(header))


def test_transposing_a_pillow_image_beforehand_changes_nothing(quarters: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.open(BytesIO(encode(quarters, "JPEG", exif=exif)))
    once = ImageOps.exif_transpose(stored)
    assert np.array_equal(np.asarray(open_image(stored)), np.asarray(open_image(once)))


def test_a_header_is_read_of_what_is_opened_and_of_nothing_else() -> None:
    stream = BytesIO()
    Image.new("RGB", (8, 4)).save(stream, "EPS")
    with pytest.raises(ImageError, match="not a picture"):
        identify(stream.getvalue())
    stream = BytesIO()
    Image.new("L", (8, 4)).save(stream, "PNG")
    with identify(stream.getvalue()) as found:
        assert (found.format, found.mode, found.size) == ("PNG", "L", (8, 4))
