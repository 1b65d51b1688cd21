"""Labeling configurations of every kind are read, and served or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from lxml import etree

from app.labelstudio.api.config_map import read_config
from app.labelstudio.api.config_xml import ConfigError
from app.labelstudio.api.labeling_config import ImageTag
from app.labelstudio.backend.label_config import read_labels
from detclipv2.language.vocabulary import Vocabulary
from tests.app.labelstudio.conftest import CONFIG, REPO

WORDS = Vocabulary.parse("cat, cup")
TWO = """<View>
  <!-- <RectangleLabels name="old" toName="a"><Label value="ghost"/></RectangleLabels> -->
  <Image name="a" value="$left"/><Image name="b" value="$right"/>
  <RectangleLabels name="animals" toName="a"><Label value="cat"/></RectangleLabels>
  <RectangleLabels name="things" toName="a,b">
    <Label value="cup"/><Label value="pot"/>
  </RectangleLabels>
</View>"""


def test_every_template_of_label_studio_is_served_or_refused_by_name() -> None:
    folder = "site-packages/label_studio/annotation_templates"
    templates = sorted(REPO.glob(f".ls-venv/lib/python3*/{folder}/*/*/config.yml"))
    assert len(templates) == 69, "`make label-studio` brings Label Studio's own templates"
    served = {}
    for template in templates:
        xml = yaml.safe_load(template.read_text(encoding="utf-8"))["config"]
        tags = list(etree.fromstring(xml.encode()).iter(etree.Element))
        try:
            found = read_config(xml, WORDS)
        except ConfigError as error:
            drawing = [tag for tag in tags if tag.tag in ("RectangleLabels", "VideoRectangle")]
            unnamed = [t.get("name") for t in drawing if f"{t.get('name')!r}" not in str(error)]
            served |= {template.parent.name: unnamed} if unnamed else {}
            continue
        served[template.parent.name] = [image.value for image, _ in found.images]
        read_labels(xml)
        assert read_config(found.completed, WORDS).labels == {"cat": "cat", "cup": "cup"}
    assert served == {
        "medical-image-classification-with-bboxes": ["$image"],
        "multipage-documents": ["$pages"],
        "object-detection-with-bounding-boxes": ["$image"],
        "ocr-invoices-pre-ner-bio-format": ["$image"],
        "optical-character-recognition": ["$ocr"],
    }


def test_all_controls_of_all_images_take_boxes() -> None:
    found = read_config(TWO, Vocabulary.parse("cat, cup, dog"))
    where = {
        image.name: {name: (target.from_name, label) for name, (target, label) in places.items()}
        for image, places in found.images
    }
    assert where == {
        "a": {"cat": ("animals", "cat"), "cup": ("things", "cup")},
        "b": {"cup": ("things", "cup")},
    }
    assert found.labels == {"cat": "cat", "cup": "cup"} and found.missing == ("dog",)
    only = read_config(TWO, Vocabulary.parse("cat, cup"), control="things")
    assert {t.from_name for _, places in only.images for t, _ in places.values()} == {"things"}
    with pytest.raises(ConfigError, match=r"no control 'thing' .* are animals, things"):
        read_config(TWO, WORDS, control="thing")


def test_a_label_is_added_once_and_where_most_classes_are() -> None:
    words = Vocabulary.parse("cup, pot, cat, dog")
    found = read_config(TWO, words)
    assert found.extended == "things"
    assert found.completed.count('value="dog"') == 1 and "<!--" in found.completed
    root = etree.fromstring(found.completed)
    (control,) = root.xpath("//RectangleLabels[@name='things']")
    assert [label.get("value") for label in control] == ["cup", "pot", "dog"]
    again = read_config(found.completed, words)
    assert again.missing == () and again.addition == "" and again.completed.count('"dog"') == 1
    # what another control of the image has is no missing label: it was added twice once
    assert read_config(TWO, Vocabulary.parse("cat, cup, pot")).missing == ()


LOWER = """<view><image name="i" value="$img"/><rectanglelabels name="r" toname="i">
<label value="cat"/></rectanglelabels></view>"""


def test_tags_and_attributes_in_lower_case() -> None:
    found = read_config(LOWER, WORDS)
    assert found.labels == {"cat": "cat"} and found.missing == ("cup",)
    assert read_config(found.completed, WORDS).missing == ()
    assert read_labels(LOWER).words == {"cat": ()}


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("", "cannot be read"),
        ("<View>", "cannot be read"),
        ("<View>\x00</View>", "cannot be read"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><View>&b;</View>", "<!DOCTYPE>"),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><View/>", "<!DOCTYPE>"),
        (f"<View>{' ' * 2**20}</View>", "more than 1,048,576 characters"),
        (CONFIG.replace("<Label ", '<Label model_score_threshold="2" '), "must lie in 0..1"),
        (CONFIG.replace("<Label ", '<Label model_score_threshold="x" '), "is no number"),
        (CONFIG.replace("<Label ", '<Label model_score_threshold="nan" '), "must lie in 0..1"),
        (CONFIG.replace('toName="image"', 'toName="nothing"'), "'label' is on no <Image>"),
        (CONFIG.replace("<Image", "<Video"), "'label' is on no <Image>"),
        (
            '<View><Image name="i" value="$i"/><RectangleLabels name="r" toName="i" '
            'value="$labels"/></View>',
            r"'r' takes its labels from the tasks \(\$labels\)",
        ),
        (
            '<View><Repeater on="$pages"><Image name="p_{{idx}}" value="$pages[{{idx}}]"/>'
            '<RectangleLabels name="r_{{idx}}" toName="p_{{idx}}"><Label value="cat"/>'
            "</RectangleLabels></Repeater></View>",
            r"'r_\{\{idx\}\}' is inside a <Repeater>, and Label Studio drops predictions for it",
        ),
        (
            '<View><Image name="i" value="$i"/><Labels name="l" toName="i"><Label value="cat"/>'
            '</Labels><Polygon name="p" toName="i"/></View>',
            "<Polygon> 'p' takes polygons",
        ),
    ],
)
def test_what_is_not_served_is_refused_by_name(xml: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_config(xml, WORDS)


def test_what_is_refused_beside_what_is_served_is_told() -> None:
    xml = CONFIG.replace("</View>", '<BrushLabels name="m" toName="image"/></View>')
    assert read_config(xml, WORDS).refused == ("<BrushLabels> 'm' takes masks",)
    apart = """<View><Image name="image" value="$image"/><Labels name="l" toName="image">
      <Label value="cat"/></Labels><Rectangle name="s" toName="image"/></View>"""
    assert read_config(apart, WORDS).refused == ()


@pytest.mark.parametrize(
    ("tag", "data", "found"),
    [
        (ImageTag("i", "$image"), {"image": "/a.jpg"}, [(None, "/a.jpg")]),
        (ImageTag("i", "$image"), {"image": ["/a.jpg"]}, [(None, "/a.jpg")]),
        (ImageTag("i", "$image"), {"image": ["/a.jpg", "/b.jpg"]}, []),
        (ImageTag("i", "$a.b"), {"a": {"b": "/c.jpg"}}, [(None, "/c.jpg")]),
        (ImageTag("i", "$a.b"), {"a.b": "/c.jpg"}, [(None, "/c.jpg")]),
        (ImageTag("i", "$a[1].url"), {"a": [{}, {"url": "/d.jpg"}]}, [(None, "/d.jpg")]),
        (ImageTag("i", "$a[7].url"), {"a": [{}]}, []),
        (ImageTag("i", "http://h/$f?x=1"), {"f": "e.jpg"}, [(None, "http://h/e.jpg?x=1")]),
        (ImageTag("i", "$pages", True), {"pages": ["/a", 7, "/b"]}, [(0, "/a"), (2, "/b")]),
        (ImageTag("i", "$pages", True), {"pages": "/a"}, []),
        *[
            (ImageTag("i", "$image", many), {"image": bad}, [])
            for many in (False, True)
            for bad in (None, "", 7, {}, [], [[]], [None])
        ],
        (ImageTag("i", "$image"), {}, []),
    ],
)
def test_the_images_of_a_task(
    tag: ImageTag, data: dict[str, Any], found: list[tuple[int | None, str]]
) -> None:
    assert tag.addresses(data) == found
