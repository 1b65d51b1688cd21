"""Which images a run looks at, and how their content is read: files, archives, videos, addresses.

Archives are never unpacked: members are read one at a time, up to a limit, so neither a path in an
archive nor its compression ratio can do harm. Addresses are fetched from hosts that were named in
advance, and redirects do not leave them.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from app.runs import archive, video
from app.runs.files import MAX_BYTES, SourceError, gone, readable
from app.runs.records import ImageRef
from detclipv2.datasets.image_kinds import IMAGE_KINDS, is_kind

HOSTS_VARIABLE = "DETCLIPV2_IMAGE_HOSTS"
_SECONDS = 300.0
"""Longest that an address may take to answer in full."""
PHOTO_ERRORS = (OSError, RuntimeError, ValueError)
"""What one photo may end with and no other has to suffer for: it is gone or broken, its server was
not named, its name or a full disk takes no file."""


@dataclass(frozen=True)
class Hosts:
    """The hosts that addresses may name; empty allows none."""

    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, text: str | None = None) -> Hosts:
        """From "a.example, b.example:8080", or from the environment when `text` is None."""
        written = os.environ.get(HOSTS_VARIABLE, "") if text is None else text
        return cls(frozenset(name.strip().lower() for name in written.split(",") if name.strip()))

    def check(self, url: str) -> None:
        """Raise SourceError unless `url` is http(s) on one of the hosts."""
        parts = _split(url)
        if parts.scheme not in ("http", "https"):
            raise SourceError(f"{url}: only http and https addresses are fetched")
        if parts.netloc.rpartition("@")[2].lower() not in self.names:
            raise SourceError(
                f"{url}: the host {parts.netloc!r} is not allowed; name it with --hosts or in "
                f"{HOSTS_VARIABLE}"
            )


def is_address(text: str) -> bool:
    """Whether `text` is an http address."""
    return text.startswith(("http://", "https://"))


def find_images(
    paths: Iterable[str | Path], *, skip: Sequence[Path] = (), every: float = video.EVERY
) -> list[ImageRef]:
    """The images behind `paths`, each once, in a stable order.

    A path is an image file, a folder (searched recursively for images; hidden files are passed
    over), a glob pattern, a zip archive, a video, an address, or a `.txt` or `.csv` list of
    addresses, one a line. Files are named by their path below the folder that all of them share.

    Args:
        paths: what to look at.
        skip: folders whose files are passed over, e.g. the pictures of an earlier run.
        every: seconds between the frames of a video.

    Raises:
        SourceError: a path does not exist, or there is no image at all.
    """
    given = [str(path) for path in paths]
    skipped = [folder.resolve() for folder in skip]
    files: dict[Path, None] = {}
    others: dict[ImageRef, None] = {}
    for text in given:
        if is_address(text):
            others[_address(readable(text))] = None
            continue
        for path in _expand(text):
            if path.is_dir():
                files.update(dict.fromkeys(_in_folder(path, skipped)))
            elif path.suffix.lower() == ".zip":
                others.update(dict.fromkeys(archive.members(path.resolve())))
            elif video.is_video(path):
                others.update(dict.fromkeys(video.frames(path.resolve(), every)))
            elif path.suffix.lower() in (".txt", ".csv"):
                others.update(dict.fromkeys(_in_list(path)))
            else:
                files[path.resolve()] = None
    found = _unique([*_name(list(files)), *others])
    if not found:
        raise SourceError(
            f"no images in {', '.join(given)}; looked for {' '.join(sorted(IMAGE_KINDS))} (videos "
            "are looked at where they are named, e.g. as clips/*.mp4)"
        )
    return found


def read(image: ImageRef, hosts: Hosts | None = None) -> bytes:
    """The content of an image's file.

    Raises:
        SourceError: missing, too large, not allowed, or the host did not answer.
    """
    if image.member is not None:
        if video.is_video(image.place):
            return video.read_frame(Path(image.place), image.member)
        return archive.read_member(Path(image.place), image.member)
    if is_address(image.place):
        return fetch(image.place, hosts or Hosts.of())
    path = Path(image.place)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SourceError(f"{path}: {path.stat().st_size:,} bytes are more than {MAX_BYTES:,}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise gone(path, "no such file; it was there when the run began") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error}); check its permissions") from error


def fetch(url: str, hosts: Hosts, headers: dict[str, str] | None = None) -> bytes:
    """What an allowed host answers; redirects are followed while they stay on allowed hosts.

    Args:
        url: the address.
        hosts: where it may lead.
        headers: sent along on every hop, e.g. a key that all of `hosts` may see.
    """
    import httpx

    from app.http_reader import Limits, Reader, ResponseError

    def check(target: httpx.URL) -> dict[str, str]:
        hosts.check(str(target))
        return headers or {}

    with closing(Reader(timeout=30)) as reader:
        try:
            answer = reader.ask("GET", httpx.URL(url), check, Limits(MAX_BYTES, _SECONDS))
        except ResponseError as error:
            raise SourceError(str(error)) from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise SourceError(f"{url}: no answer ({error or type(error).__name__})") from error
    if answer.status != 200:
        raise SourceError(f"{answer.url}: the host answers {answer.status}")
    return answer.content


def _expand(text: str) -> list[Path]:
    path = Path(text)
    if path.exists():
        return [path]
    if glob.has_magic(text):
        matches = sorted(Path(match) for match in glob.glob(text, recursive=True))
        kinds = {*IMAGE_KINDS, *video.SUFFIXES, ".zip"}
        chosen = [m for m in matches if m.is_dir() or m.suffix.lower() in kinds]
        if chosen:
            return chosen
        raise SourceError(f"no images match {text}; check the pattern")
    raise SourceError(f"no such file or folder: {text}; check the path")


def _in_folder(folder: Path, skipped: Sequence[Path]) -> Iterable[Path]:
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if is_kind(file) and not hidden and file.is_file():
            resolved = file.resolve()
            if not any(resolved.is_relative_to(folder) for folder in skipped):
                yield resolved


def _in_list(path: Path) -> Iterable[ImageRef]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: {error}; name a UTF-8 list of addresses, one a line") from error
    for number, line in enumerate(lines, 1):
        text = line.strip().strip('",')
        if not text or text.startswith("#"):
            continue
        if not is_address(text):
            raise SourceError(f"{path}, line {number}: {text[:80]!r} is no http address")
        yield _address(text)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise SourceError(f"{url}: no address ({error}); correct it") from error


def _address(url: str) -> ImageRef:
    parts = _split(url)
    name = unquote(parts.path).strip("/") or parts.netloc
    return ImageRef("/".join(p for p in name.split("/") if p not in ("", "..", ".")), url)


def _name(files: Sequence[Path]) -> list[ImageRef]:
    if not files:
        return []
    try:
        root = Path(os.path.commonpath([file.parent for file in files]))
        names = [file.relative_to(root) for file in files]
    except ValueError:  # Windows: files on several drives share no folder
        names = list(files)
    return [
        ImageRef(readable(name.as_posix()), readable(file))
        for name, file in zip(names, files, strict=True)
    ]


def _unique(images: Sequence[ImageRef]) -> list[ImageRef]:
    """Names of two archives or hosts may meet; the later one gets a number."""
    taken: set[str] = set()
    counts: dict[str, int] = {}
    named = []
    for image in images:
        path = PurePosixPath(image.file_name)
        name, count = image.file_name, counts.get(image.file_name, 1)
        while name in taken:
            count += 1
            name = str(path.with_name(f"{path.stem}-{count}{path.suffix}"))
        counts[image.file_name] = count
        taken.add(name)
        named.append(ImageRef(name, image.place, image.member, image.task))
    return named
