"""Exports come back through the other tools' own readers, to a pixel."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import yaml
from faster_coco_eval import COCO
from label_studio_sdk.label_interface import LabelInterface
from PIL import Image

from app.cli import main
from app.engine import Engine
from app.formats.names import flat_names
from app.labelstudio.api.environment import DOCUMENT_ROOT
from app.labelstudio.api.payload import to_boxes
from app.labelstudio.push.task_file import write_tasks
from app.runs import sources
from app.runs.export import FORMATS, export
from app.runs.jobs import process
from app.runs.records import ImageRef
from app.runs.settings import settings_of
from app.runs.store import Run
from tests.places import DEMO


@pytest.fixture(scope="module")
def run(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Photos with one turned by EXIF, the same name twice, one without boxes, one broken."""
    folder = tmp_path_factory.mktemp("exports")
    photos = folder / "photos"
    (photos / "sub").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (90, 140, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).resize((640, 420)).save(photos / "turned.jpg", exif=exif)
    Image.fromarray(noise).resize((300, 200)).save(photos / "sub" / "a b&c.png")
    Image.fromarray(noise).save(photos / "a b&c.png")
    (photos / "broken.png").write_bytes(b"no")
    settings = settings_of(shared_engine, "cat & dog\n<cup>", threshold=0.03, floor=0.02)
    run = Run.create(folder / "run", settings, sources.find_images([photos]))
    for _ in process(run, shared_engine.predictor, sources.read):
        pass
    assert run.counts().done == 3
    return run


def check(run: Run, read: dict[str, sv.Detections], tolerance: float) -> None:
    """Compare by flat file name; a reader may order boxes in its own way."""
    rows = list(run.images("done", "empty"))
    names = dict(zip(rows, flat_names([row.file_name for row in rows]), strict=True))
    assert len(read) == len(rows)
    for row in rows:
        expected, found = run.detections(row), read[names[row]]
        assert expected.class_id is not None and found.class_id is not None
        assert len(found) == len(expected) > 0
        assert found.class_id.tolist() == expected.class_id.tolist()
        np.testing.assert_allclose(found.xyxy, expected.xyxy, atol=tolerance)


def test_yolo(run: Run, tmp_path: Path) -> None:
    folder = export(run, "yolo", tmp_path, read=sources.read)
    dataset = sv.DetectionDataset.from_yolo(
        str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml")
    )
    assert dataset.classes == ["cat & dog", "<cup>"]
    check(run, {Path(path).name: found for path, _, found in dataset}, 0.05)


def test_yolo_by_the_rules_of_ultralytics(run: Run, tmp_path: Path) -> None:
    """`check_det_dataset` and `img2label_paths`, and with the folder moved elsewhere."""
    made = export(run, "yolo", tmp_path / "made", read=sources.read)
    folder = made.rename(tmp_path / "moved")
    data = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert {"path", "train", "val", "nc", "names"} <= data.keys()
    assert data["nc"] == len(data["names"]) == 2
    root = Path(data["path"] or folder)  # an empty path: data.yaml's own folder
    for part in ("train", "val"):
        images = sorted((root / data[part]).iterdir())
        assert len(images) == 3
        for image in images:
            labels = Path("/labels/".join(str(image).rsplit("/images/", 1))).with_suffix(".txt")
            for line in labels.read_text(encoding="utf-8").splitlines():
                index, *box = line.split()
                assert 0 <= int(index) < 2 and len(box) == 4
                assert all(0 <= float(value) <= 1 for value in box)
    names = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    assert names == data["names"] == ["cat & dog", "<cup>"]


def test_label_studios_own_converter_reads_yolo_and_coco(run: Run, tmp_path: Path) -> None:
    from label_studio_sdk.converter.imports.coco import convert_coco_to_ls
    from label_studio_sdk.converter.imports.yolo import convert_yolo_to_ls

    folder = export(run, "yolo", tmp_path, read=sources.read)
    # It asks for one kind of picture at a time.
    convert_yolo_to_ls(str(folder), str(tmp_path / "yolo.json"), image_ext=".jpg,.png")
    file = export(run, "coco", tmp_path)
    convert_coco_to_ls(str(file), str(tmp_path / "coco.json"))
    for name in ("yolo.json", "coco.json"):
        tasks = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        assert len(tasks) == 3
        found = sorted(
            (round(item["value"]["width"] * item["original_width"] / 100), label)
            for task in tasks
            for made in task["annotations"]
            for item in made["result"]
            if item["type"] == "rectanglelabels"
            for label in item["value"]["rectanglelabels"]
        )
        expected = sorted(
            (round(box.xyxy[2] - box.xyxy[0]), box.name)
            for row in run.images("done", "empty")
            for box in run.boxes(row)
        )
        assert len(found) == len(expected)
        for (width, _), (wanted, _) in zip(found, expected, strict=True):
            assert abs(width - wanted) <= 1
        assert sorted(label for _, label in found) == sorted(name for _, name in expected)


def test_voc(run: Run, tmp_path: Path) -> None:
    folder = export(run, "voc", tmp_path, read=sources.read)
    names = (folder / "ImageSets" / "Main" / "trainval.txt").read_text().splitlines()
    assert names == sorted(path.stem for path in (folder / "JPEGImages").iterdir())
    dataset = sv.DetectionDataset.from_pascal_voc(
        str(folder / "JPEGImages"), str(folder / "Annotations")
    )
    order = [dataset.classes.index(name) for name in run.view.vocabulary.names]
    read = {}
    for path, _, found in dataset:
        assert found.class_id is not None
        found.class_id = np.array([order.index(c) for c in found.class_id])
        read[Path(path).name] = found
    check(run, read, 1.0)


def test_coco(run: Run, tmp_path: Path) -> None:
    dataset = COCO(str(export(run, "coco", tmp_path)))
    for image in dataset.loadImgs(dataset.getImgIds()):
        row = next(r for r in run.images() if r.file_name == image["file_name"])
        found = np.array([a["bbox"] for a in dataset.loadAnns(dataset.getAnnIds([image["id"]]))])
        found[:, 2:] += found[:, :2]
        np.testing.assert_allclose(found, run.detections(row).xyxy, atol=0.02)
        assert (image["width"], image["height"]) == row.size
    turned = next(i for i in dataset.dataset["images"] if i["file_name"] == "turned.jpg")
    assert (turned["width"], turned["height"]) == (420, 640), "upright"


def test_coco_has_masks_for_pycocotools_and_boxes_for_supervision(run: Run, tmp_path: Path) -> None:
    from pycocotools.coco import COCO as Original

    file = export(run, "coco", tmp_path / "set")
    dataset = Original(str(file))
    for annotation in dataset.dataset["annotations"]:
        mask = dataset.annToMask(annotation)
        assert abs(int(mask.sum()) - annotation["area"]) <= 2 + 4 * sum(annotation["bbox"][2:])
    results = [
        {key: a[key] for key in ("image_id", "category_id", "bbox", "score")}
        for a in dataset.dataset["annotations"]
    ]
    assert len(dataset.loadRes(results).anns) == len(results)
    photos = Path(next(run.images()).place).parent
    read = sv.DetectionDataset.from_coco(str(photos), str(file))
    assert read.classes == ["cat & dog", "<cup>"]
    by_name = {row.file_name: row for row in run.images("done", "empty")}
    for path, _, found in read:
        row = by_name[Path(path).relative_to(photos).as_posix()]
        np.testing.assert_allclose(found.xyxy, run.detections(row).xyxy, atol=0.02)


def test_csv_names_empty_and_failed(run: Run, tmp_path: Path) -> None:
    run.apply("cat & dog @0.99\n<cup> @0.99")
    with export(run, "csv", tmp_path).open(encoding="utf-8", newline="") as stream:
        states = {row["file_name"]: row["state"] for row in csv.DictReader(stream)}
    assert states["broken.png"] == "failed" and states["turned.jpg"] == "empty"
    run.apply("cat & dog\n<cup>")
    with export(run, "csv", tmp_path).open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["file_name"] == "turned.jpg"]
    turned = next(r for r in run.images() if r.file_name == "turned.jpg")
    found = np.array([[float(row[k]) for k in ("x1", "y1", "x2", "y2")] for row in rows])
    np.testing.assert_allclose(found, run.detections(turned).xyxy, atol=0.01)


def test_label_studio_tasks(run: Run, tmp_path: Path) -> None:
    tasks = json.loads(write_tasks(run, tmp_path).read_text(encoding="utf-8"))
    interface = LabelInterface(
        '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
        '<Label value="cat &amp; dog"/><Label value="&lt;cup&gt;"/></RectangleLabels></View>'
    )
    assert len(tasks) == 3
    for task in tasks:
        (made,) = task["predictions"]
        assert interface.validate_prediction(made, return_errors=True) == []
        row = next(r for r in run.images() if r.file_name == task["data"]["file_name"])
        boxes = np.array([box.xyxy for _, box in to_boxes(made["result"])])
        np.testing.assert_allclose(boxes, run.detections(row).xyxy, atol=0.01)
    assert "/data/local-files/?d=a%20b%26c.png" in {task["data"]["image"] for task in tasks}


@pytest.fixture
def placed(run: Run, tmp_path: Path) -> Run:
    """One photo each of a task, of an address, below Label Studio's document root, elsewhere."""
    refs = [
        ImageRef("7/1-a.jpg", "/data/upload/7/1-a.jpg", None, 3),
        ImageRef("8.jpg", "data:image/png;base64,xx", None, 8),
        ImageRef("web.jpg", "https://photos.example/web.jpg"),
        ImageRef("b c.jpg", str(tmp_path.resolve() / "root" / "may" / "b c.jpg")),
        ImageRef("in.jpg", str(tmp_path.resolve() / "root" / "may" / "x.zip"), "in.jpg"),
        ImageRef("out.jpg", str(tmp_path.resolve() / "out.jpg")),
    ]
    placed = Run.create(tmp_path / "placed", run.settings, refs)
    for row in placed.images():
        placed.save(row, sv.Detections.empty(), "", (8, 8), 0.1)
    return placed


@pytest.mark.parametrize(
    ("known", "image_root", "files"),
    [
        (False, "", ["?d=b%20c.jpg", "?d=in.jpg", "?d=out.jpg"]),
        (True, "", ["?d=may/b%20c.jpg", "?d=in.jpg", "?d=out.jpg"]),
        (True, "https://x/", ["https://x/b%20c.jpg", "https://x/in.jpg", "https://x/out.jpg"]),
    ],
    ids=["alone", "document root", "image root"],
)
def test_label_studio_finds_the_images_where_they_are(
    placed: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
    image_root: str,
    files: list[str],
) -> None:
    monkeypatch.setenv(DOCUMENT_ROOT, str(tmp_path / "root") if known else "")
    made = write_tasks(placed, tmp_path, image_root)
    found = [task["data"]["image"] for task in json.loads(made.read_text(encoding="utf-8"))]
    own = ["/data/upload/7/1-a.jpg", "data:image/png;base64,xx", "https://photos.example/web.jpg"]
    assert found[:3] == own
    assert found[3:] == [f"/data/local-files/{f}" if f.startswith("?") else f for f in files]


def test_the_command_line_has_an_image_root(
    placed: Run, shared_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.commands.detect_begin._load", lambda *_: shared_engine)
    wanted = ["--format", "labelstudio", "--image-root", "https://x/"]
    assert main(["detect", "--resume", str(placed.folder), *wanted]) == 0
    written = placed.folder / "exports" / "labelstudio.json"
    assert json.loads(written.read_text(encoding="utf-8"))[3]["data"]["image"] == (
        "https://x/b%20c.jpg"
    )


def test_photos_that_are_gone_are_told(placed: Run, tmp_path: Path) -> None:
    missed: list[str] = []

    def read(image: ImageRef) -> bytes:
        if image.file_name == "7/1-a.jpg":
            return (DEMO / "coffee.jpg").read_bytes()
        return sources.read(image)

    folder = export(placed, "voc", tmp_path, read=read, on_missing=missed.append)
    assert [path.name for path in (folder / "JPEGImages").iterdir()] == ["7__1-a.jpg"]
    assert len(list((folder / "Annotations").iterdir())) == 6
    assert len(missed) == 5 and missed[-1].startswith("out.jpg: not copied to ")


def test_unknown_formats_are_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=", ".join(FORMATS)):
        export(run, "xls", tmp_path)
