"""XMP packets (ISO 16684-1): what other programs show of an image, and our
record beside it.

A packet that is there already keeps every byte: ours is one more
`rdf:Description`, put in before the end and taken out again as it is. A
property that the packet has is not said twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..._errors import InvalidRequestError
from .._record import Record, encode_record
from .inflate import LARGEST_TEXT

__all__ = [
    "RECORD_PROPERTY",
    "merge_packet",
    "read_packet",
    "short_name",
    "source_type",
    "without_record",
    "write_packet",
]

_NAMESPACES: Final = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "imagen": "urn:imagen-trio:ns:1.0/",
}
_SHOWN: Final = {uri: prefix for prefix, uri in _NAMESPACES.items()} | {
    "http://purl.org/dc/terms/": "dcterms",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/rights/": "xmpRights",
}
RECORD_PROPERTY: Final = f"{{{_NAMESPACES['imagen']}}}record"
_RDF: Final = f"{{{_NAMESPACES['rdf']}}}"
_DESCRIPTION: Final = f"{_RDF}Description"

_HEAD: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta'
    ' xmlns:x="adobe:ns:meta/">\n'
)
_RDF_HEAD: Final = f'<rdf:RDF xmlns:rdf="{_NAMESPACES["rdf"]}">\n'
_TAIL: Final = '</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
_OUR_HEAD: Final = '<rdf:Description rdf:about=""' + "".join(
    f' xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items()
)
_OUR_END: Final = "</rdf:Description>\n"
_END_OF_RDF: Final = re.compile(r"</(?:[A-Za-z_][\w.-]*:)?RDF\s*>")
# What no XML document may hold, not even escaped (XML 1.0, 2.2).
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_DEEPEST: Final = 32


def write_packet(record: Record, *, with_record: bool = True) -> str:
    """A packet that says what this record says, and holds the record itself
    unless that is kept elsewhere.
    """
    return _HEAD + _RDF_HEAD + _describe(record, {}, with_record=with_record) + _TAIL


def merge_packet(packet: str, record: Record, *, with_record: bool = True) -> str | None:
    """The packet with what the record says beside what it holds; None where it
    is none that something can be added to.
    """
    theirs = _without_ours(packet)
    known = read_packet(theirs)
    ends = list(_END_OF_RDF.finditer(theirs))
    # A program that wrote our record in words of its own may not be left with
    # two of them.
    if known is None or not ends or RECORD_PROPERTY in known:
        return None
    at = ends[-1].start()
    merged = theirs[:at] + _describe(record, known, with_record=with_record) + theirs[at:]
    return merged if read_packet(merged) is not None else None


def without_record(packet: str) -> str:
    """The packet as it was before ours came in; empty where all of it is ours."""
    theirs = _without_ours(packet)
    return "" if theirs == _HEAD + _RDF_HEAD + _TAIL else theirs


def _without_ours(packet: str) -> str:
    """By searching, as a pattern would look to the end of the packet for each
    of ours that has none.
    """
    parts, at = [], 0
    while (start := packet.find(f"{_OUR_HEAD}>", at)) >= 0 and (
        end := packet.find(_OUR_END, start)
    ) >= 0:
        parts.append(packet[at:start])
        at = end + len(_OUR_END)
    return "".join([*parts, packet[at:]])


def _describe(record: Record, known: Mapping[str, str], *, with_record: bool) -> str:
    """One description with those of the properties that are not known, each on
    a line.
    """
    properties = {
        "dc:description": _alternatives(record.prompt),
        "dc:subject": _bag(record.tags),
        "xmp:CreatorTool": _escape(f"imagen {record.software}".strip()),
        "xmp:CreateDate": _escape(record.created_at.isoformat()),
        "xmp:Rating": str(record.rating) if record.rating else "",
        "Iptc4xmpExt:DigitalSourceType": source_type(record),
    }
    lines = [
        f"<{name}>{body}</{name}>\n"
        for name, body in properties.items()
        if body and _full(name) not in known
    ]
    if with_record:
        lines.append(f"<imagen:record>{_escape_record(encode_record(record))}</imagen:record>\n")
    return f"{_OUR_HEAD}>\n{''.join(lines)}</rdf:Description>\n"


def source_type(record: Record) -> str:
    """The IPTC's term for how the image came to be: drawn by a trained model,
    from another image with one, by rules.
    """
    if record.provider == "sketch":
        return f"{_SOURCE_TYPES}algorithmicMedia"
    return _SOURCE_TYPES + (
        "trainedAlgorithmicMedia"
        if record.operation == "generate"
        else "compositeWithTrainedAlgorithmicMedia"
    )


def _alternatives(text: str) -> str:
    return (
        f'<rdf:Alt><rdf:li xml:lang="x-default">{_escape(text)}</rdf:li></rdf:Alt>' if text else ""
    )


def _bag(words: tuple[str, ...]) -> str:
    return (
        f"<rdf:Bag>{''.join(f'<rdf:li>{_escape(word)}</rdf:li>' for word in words)}</rdf:Bag>"
        if words
        else ""
    )


def _escape(text: str) -> str:
    allowed = _FORBIDDEN.sub(" ", text)
    return (
        allowed.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("\r", "&#13;")
    )


def _escape_record(text: str) -> str:
    """JSON has an escape of its own for what XML may not hold, so that nothing
    of a record is lost.
    """
    return _escape(_FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def _full(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


def short_name(name: str) -> str:
    """`{namespace}name` with the prefix that is usual for the namespace."""
    uri, _, local = name[1:].partition("}")
    return f"{_SHOWN[uri]}:{local}" if uri in _SHOWN else local


def read_packet(packet: str | bytes) -> dict[str, str] | None:
    """The properties of a packet as `{namespace}name` and their text; None
    where it cannot be read.
    """
    from xml.etree.ElementTree import ParseError, XMLParser

    if not isinstance(packet, str):
        packet = packet.decode("utf-8", "replace")
    packet = packet.strip("\0 \r\n\t\ufeff")
    if len(packet) > LARGEST_TEXT:
        return None
    reader = _Reader()
    try:
        # Safe against entities that grow: the reader refuses the document type
        # that would declare them.
        parser = XMLParser(target=reader)  # noqa: S314
        parser.feed(packet)
        parser.close()
    except (ParseError, InvalidRequestError, ValueError):
        return None
    return reader.properties


class _Reader:
    """Collects properties while a packet is parsed, without a tree of it."""

    def __init__(self) -> None:
        self.properties: dict[str, str] = {}
        self._open: list[str] = []
        # How many elements are open around the property that is being read; 0
        # where none is.
        self._property_at = 0
        self._text: list[str] = []

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise InvalidRequestError("An XMP packet has no document type.")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= _DEEPEST:
            raise InvalidRequestError("An XMP packet is not nested so deeply.")
        if self._property_at == 0 and tag == _DESCRIPTION:
            for name, value in attributes.items():
                if name.startswith("{") and not name.startswith(_RDF):
                    self.properties.setdefault(name, value)
        elif self._property_at == 0 and self._open and self._open[-1] == _DESCRIPTION:
            self._property_at = len(self._open)
            self._text.clear()
        self._open.append(tag)

    def data(self, text: str) -> None:
        if self._property_at:
            self._text.append(text)

    def end(self, tag: str) -> None:
        self._open.pop()
        if self._property_at and len(self._open) == self._property_at:
            self.properties.setdefault(tag, "".join(self._text).strip())
            self._property_at = 0

    def close(self) -> None:
        """The parser asks for it at the end; there is nothing left to do."""
