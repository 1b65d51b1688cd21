"""Frames of videos as images of a run: which there are, and one of them as a file's content.

A video is never unpacked either: frames are decoded as they are asked for. They are asked for in
order, so the video read last stays open.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.runs.files import SourceError, gone, readable
from app.runs.records import ImageRef

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"})
"""What counts as a video."""
EVERY = 1.0
"""Seconds between the frames that are looked at, by default."""
MAX_FRAMES = 200_000

_QUALITY = 95  # of the JPEG a frame becomes
# Going on from the frame read last is cheaper than seeking, up to about so many frames.
_NEAR = 64


def is_video(path: str | Path) -> bool:
    """Whether the name is that of a video."""
    return Path(path).suffix.lower() in SUFFIXES


def frames(path: Path, every: float = EVERY) -> list[ImageRef]:
    """One image for every `every` seconds of the video in `path`, from its first frame on.

    Args:
        path: the video.
        every: seconds; less than a frame takes gives every frame.

    Raises:
        SourceError: it is no video, cannot be read, or has too many frames, or `every` is not
            positive.
    """
    if not (math.isfinite(every) and every > 0):
        raise SourceError(f"seconds between frames must be above 0, got {every:g}")
    with _LOCK:
        video = _open(path)
        count, rate = video.count, video.rate
    step = max(every * rate, 1.0)
    wanted = math.ceil(count / step)
    if wanted > MAX_FRAMES:
        raise SourceError(
            f"{path}: {wanted:,} frames are more than {MAX_FRAMES:,}; look at fewer, e.g. every "
            f"{math.ceil(count / rate / MAX_FRAMES)} seconds"
        )
    indices = sorted({min(round(index * step), count - 1) for index in range(wanted)})
    name, place = readable(path.name), readable(path)
    return [ImageRef(f"{name}/{index / rate:010.3f}s.jpg", place, str(index)) for index in indices]


def read_frame(path: Path, member: str) -> bytes:
    """Frame number `member` of the video in `path`, upright, as a JPEG file.

    Raises:
        SourceError: the video is gone, or no video, or damaged there.
    """
    import cv2

    with _LOCK:
        frame = _open(path).frame(int(member))
    done, content = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise SourceError(f"{path}, frame {member}: cannot be written as a picture")
    return content.tobytes()


@dataclass
class _Video:
    """An open video; `at` is the number of the frame that comes next."""

    path: Path
    changed: int
    capture: Any
    count: int
    rate: float
    at: int = 0

    def frame(self, index: int) -> Any:
        """(H, W, 3) BGR."""
        import cv2

        if not self.at <= index < self.at + _NEAR:
            self.capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            self.at = index
        while self.at < index and self.capture.grab():
            self.at += 1
        found, frame = self.capture.read()
        self.at = index + 1
        if not found:
            self.at = -1  # wherever it stands now
            raise SourceError(f"{self.path}: frame {index} cannot be read; the video is damaged")
        return frame


_LOCK = threading.Lock()
_LAST: list[_Video] = []


def _open(path: Path) -> _Video:
    """The video, opened or still open; call it with the lock held."""
    import cv2

    from detclipv2.inference.images import MAX_PIXELS

    try:
        changed = path.stat().st_mtime_ns
        with path.open("rb") as file:
            head = file.read(12)
    except FileNotFoundError as error:
        raise gone(path, "the video is gone; put it back and resume") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error}); check its permissions") from error
    if _LAST and (_LAST[0].path, _LAST[0].changed) == (path, changed):
        return _LAST[0]
    # FFmpeg also reads play lists, which name other files and addresses, whatever they are called.
    if not _is_container(head):
        raise SourceError(f"{path}: not a video of the kinds {' '.join(sorted(SUFFIXES))}")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    size = [capture.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    if not capture.isOpened() or count < 1 or not (math.isfinite(rate) and rate > 0):
        capture.release()
        raise SourceError(f"{path}: cannot be read as a video; convert it to MP4")
    if math.prod(size) > MAX_PIXELS:
        capture.release()
        raise SourceError(f"{path}: frames of {size[0]:.0f} × {size[1]:.0f} pixels are too large")
    for last in _LAST:
        last.capture.release()
    _LAST[:] = [_Video(path, changed, capture, count, rate)]
    return _LAST[0]


def _is_container(head: bytes) -> bool:
    return (
        head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # MP4, QuickTime
        or head[:4] == b"\x1a\x45\xdf\xa3"  # Matroska, WebM
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
    )
