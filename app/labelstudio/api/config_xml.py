"""The XML of labeling configurations; tags and attributes in any case, as the page reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lxml import etree

MAX_CONFIG = 2**20
"""Characters of a configuration."""


class ConfigError(ValueError):
    """A configuration that cannot take boxes; the message says what to change."""


def parse_xml(xml: str, *, comments: bool = True) -> Any:
    """The root of a configuration; what XML can do beyond tags is refused.

    Raises:
        ConfigError: it is no XML, too long, or declares entities.
    """
    if len(xml) > MAX_CONFIG:
        raise ConfigError(f"the labeling configuration has more than {MAX_CONFIG:,} characters")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=not comments,
        remove_pis=not comments,
    )
    try:
        root = etree.fromstring(xml.encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ConfigError(f"the labeling configuration cannot be read: {error}") from error
    if root.getroottree().docinfo.doctype:
        raise ConfigError("the labeling configuration has a <!DOCTYPE>; remove it")
    return root


@dataclass(frozen=True)
class Tag:
    """An element in the spelling that Label Studio's page compares in."""

    element: Any
    kind: str
    attributes: Mapping[str, str]
    repeated: bool

    def __str__(self) -> str:
        return f"<{self.element.tag}> {self.name!r}"

    @property
    def name(self) -> str:
        """Its name; empty without one."""
        return self.get("name")

    @property
    def targets(self) -> list[str]:
        """Names of the objects that it is for."""
        return [to.strip() for to in self.get("toname").split(",") if to.strip()]

    def get(self, attribute: str) -> str:
        """An attribute, named in lower case; empty without one."""
        return self.attributes.get(attribute, "")


def tag_of(element: Any, *, repeated: bool = False) -> Tag:
    """An element as a tag."""
    attributes = {str(name).lower(): str(value) for name, value in element.attrib.items()}
    return Tag(element, str(element.tag).lower(), attributes, repeated)
