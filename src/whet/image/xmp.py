"""XMP packets: read, corrected where restoration makes them lie, and marked.

A packet is RDF in XML (ISO 16684-1). It is edited as a document tree that keeps
every prefix, attribute and unknown element as it was.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from xml.dom import minidom
from xml.parsers.expat import ExpatError

__all__ = ["extended", "marked", "merged", "orientation_of", "readable", "turned", "without_lies"]

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TIFF = "http://ns.adobe.com/tiff/1.0/"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_MM = "http://ns.adobe.com/xap/1.0/mm/"
_EVENT = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
_NOTE = "http://ns.adobe.com/xmp/note/"
_TERMS = "http://purl.org/dc/terms/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_CAMERA = "http://ns.google.com/photos/1.0/camera/"

# Statements about pictures and films beside the photograph, which whet does not write.
_BESIDE = (
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/container/item/",
    "http://ns.google.com/photos/dd/1.0/device/",
)
_FILM = re.compile(r"MotionPhoto|MicroVideo")
_SWAPPED = (
    (_TIFF, "ImageWidth", "ImageLength"),
    (_TIFF, "XResolution", "YResolution"),
    (_EXIF, "PixelXDimension", "PixelYDimension"),
    (_EXIF, "FocalPlaneXResolution", "FocalPlaneYResolution"),
)
_EMPTY = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="' + _RDF.encode() + b'">'
    b'<rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta>'
)


def _parsed(packet: bytes) -> minidom.Document | None:
    """Return the document, or None for what is no XML or declares entities, as bombs do."""
    if packet[:2] in (b"\xff\xfe", b"\xfe\xff"):
        packet = packet.decode("utf-16", "replace").encode()
    if b"<!" in packet and (b"<!DOCTYPE" in packet or b"<!ENTITY" in packet):
        return None
    try:
        document = minidom.parseString(packet.strip(b"\0 \r\n\t"))
    except (ExpatError, ValueError, LookupError):
        return None
    return document if document.getElementsByTagNameNS(_RDF, "RDF") else None


def _written(document: minidom.Document) -> bytes:
    """Serialise without an XML declaration, which a packet has none of."""
    return b"".join(node.toxml().encode() for node in document.childNodes)


def readable(packet: bytes) -> bool:
    """Whether a packet is well-formed XML that holds RDF."""
    return _parsed(packet) is not None


def _descriptions(document: minidom.Document) -> Iterator[minidom.Element]:
    """Yield the elements that hold properties of the picture."""
    for rdf in document.getElementsByTagNameNS(_RDF, "RDF"):
        for node in rdf.childNodes:
            if node.nodeType == node.ELEMENT_NODE and node.localName == "Description":
                yield node


def _statements(
    document: minidom.Document,
) -> Iterator[tuple[minidom.Element, minidom.Attr | minidom.Element]]:
    """Yield every property of the picture, attribute or element, with its holder."""
    for description in _descriptions(document):
        for attribute in list(description.attributes.values()):
            yield description, attribute
        for node in list(description.childNodes):
            if node.nodeType == node.ELEMENT_NODE:
                yield description, node


def _find(
    document: minidom.Document, namespace: str, name: str
) -> minidom.Attr | minidom.Element | None:
    for _, one in _statements(document):
        if (one.namespaceURI, one.localName) == (namespace, name):
            return one
    return None


def _text(one: minidom.Attr | minidom.Element | None) -> str:
    if one is None:
        return ""
    if isinstance(one, minidom.Attr):
        return one.value
    return "".join(node.data for node in one.childNodes if node.nodeType == node.TEXT_NODE)


def _set_text(one: minidom.Attr | minidom.Element, text: str) -> None:
    if isinstance(one, minidom.Attr):
        one.value = text
        return
    for node in list(one.childNodes):
        one.removeChild(node)
    node = minidom.Text()
    node.data = text
    one.appendChild(node)


def _remove(holder: minidom.Element, one: minidom.Attr | minidom.Element) -> None:
    if isinstance(one, minidom.Attr):
        holder.removeAttributeNode(one)
    else:
        holder.removeChild(one)


# --- What the reader asks --------------------------------------------------------------------


def orientation_of(packet: bytes | None) -> int | None:
    """Return the orientation, 1 to 8, that a packet states; None where it states none."""
    # Most packets say nothing of it, and need not be parsed; in UTF-16 every other byte is 0.
    stated = packet is not None and b"Orientation" in packet.replace(b"\0", b"")
    document = _parsed(packet) if packet and stated else None
    text = _text(_find(document, _TIFF, "Orientation")).strip() if document else ""
    return int(text) if text in set("12345678") and text else None


def merged(packet: bytes, extension: bytes) -> bytes | None:
    """Return a packet with the statements of its extension (ISO 16684-3, 1.1.3.1), or None.

    A JPEG's segment holds 64 KiB; what is longer stands in further segments that the
    packet points at. Here both become one packet without the pointer.
    """
    document, more = _parsed(packet), _parsed(extension)
    if document is None or more is None:
        return None
    (rdf, *_) = document.getElementsByTagNameNS(_RDF, "RDF")
    for description in list(_descriptions(more)):
        for name, uri in _in_scope(description):
            if not description.hasAttribute(name):
                description.setAttribute(name, uri)
        rdf.appendChild(document.importNode(description, True))
    return _written(_without_pointer(document))


def _in_scope(element: minidom.Element) -> Iterator[tuple[str, str]]:
    """Yield the namespace declarations of an element's ancestors."""
    node = element.parentNode
    while node is not None and node.nodeType == node.ELEMENT_NODE:
        for name, value in node.attributes.items():
            if name == "xmlns" or name.startswith("xmlns:"):
                yield name, value
        node = node.parentNode


def _without_pointer(document: minidom.Document) -> minidom.Document:
    for holder, one in _statements(document):
        if one.namespaceURI == _NOTE and one.localName == "HasExtendedXMP":
            _remove(holder, one)
    return document


# --- What restoration makes untrue -----------------------------------------------------------


def without_lies(packet: bytes) -> bytes:
    """Take out what announces gain maps, films, thumbnails and seals that are not written."""
    document = _parsed(packet)
    if document is None:
        return packet
    found = False
    for holder, one in _statements(document):
        space, name = one.namespaceURI, one.localName or ""
        seal = space == _TERMS and name == "provenance"
        film = space == _CAMERA and _FILM.match(name)
        pointer = space == _NOTE and name == "HasExtendedXMP"
        thumbnail = space == _XMP and name == "Thumbnails"
        if space in _BESIDE or film or seal or pointer or thumbnail:
            _remove(holder, one)
            found = True
    return _written(document) if found else packet


def turned(packet: bytes, orientation: int) -> bytes:
    """Make a packet say that the pixels are upright; sizes and resolutions turn with them.

    Args:
        packet: XMP.
        orientation: that was applied, 1 to 8.
    """
    document = _parsed(packet)
    if document is None:
        return packet
    changed = False
    if (one := _find(document, _TIFF, "Orientation")) is not None and _text(one).strip() != "1":
        _set_text(one, "1")
        changed = True
    if orientation >= 5:
        for space, across, down in _SWAPPED:
            first, second = _find(document, space, across), _find(document, space, down)
            if first is not None and second is not None:
                text = _text(first)
                _set_text(first, _text(second))
                _set_text(second, text)
                changed = True
    return _written(document) if changed else packet


# --- What whet says ----------------------------------------------------------------------------


def marked(packet: bytes | None, agent: str, parameters: str) -> bytes:
    """Add an event to a packet's history (ISO 16684-1, 8.4): filtered, by whom, how.

    Args:
        packet: XMP, or None for a picture that has none.
        agent: program and version.
        parameters: of the change, for people.
    """
    document = _parsed(packet or _EMPTY) or _parsed(_EMPTY)
    assert document is not None
    history = _find(document, _MM, "History")
    sequences = (
        history.getElementsByTagNameNS(_RDF, "Seq") if isinstance(history, minidom.Element) else []
    )
    sequence = sequences[0] if sequences else _new_history(document)
    event = document.createElementNS(_RDF, "rdf:li")
    event.setAttribute("xmlns:rdf", _RDF)
    event.setAttribute("xmlns:stEvt", _EVENT)
    event.setAttribute("stEvt:action", "filtered")
    event.setAttribute("stEvt:softwareAgent", agent)
    event.setAttribute("stEvt:parameters", parameters)
    sequence.appendChild(event)
    return _written(document)


def _new_history(document: minidom.Document) -> minidom.Element:
    """Append a description with an empty history, about the subject of the others."""
    (rdf, *_) = document.getElementsByTagNameNS(_RDF, "RDF")
    about = next((d.getAttributeNS(_RDF, "about") for d in _descriptions(document)), "")
    description = document.createElementNS(_RDF, "rdf:Description")
    description.setAttribute("xmlns:rdf", _RDF)
    description.setAttribute("rdf:about", about)
    description.setAttribute("xmlns:xmpMM", _MM)
    history = document.createElementNS(_MM, "xmpMM:History")
    sequence = document.createElementNS(_RDF, "rdf:Seq")
    history.appendChild(sequence)
    description.appendChild(history)
    rdf.appendChild(description)
    return sequence


def extended(packet: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a packet too long for a JPEG segment: what stands in it, the rest, and its digest.

    The digest, 32 hexadecimal digits of MD5, is what ties both (ISO 16684-3, 1.1.3.1).
    """
    digest = hashlib.md5(packet, usedforsecurity=False).hexdigest().upper()
    pointer = _EMPTY.replace(
        b'rdf:about=""',
        b'rdf:about="" xmlns:xmpNote="' + _NOTE.encode() + b'" xmpNote:HasExtendedXMP="'
        + digest.encode() + b'"',
    )  # fmt: skip
    return pointer, packet, digest.encode()
