"""Metadata as a file held it, without what is damaged or has become untrue."""

from __future__ import annotations

from dataclasses import replace

from whet.image import exif, xmp
from whet.image.colour import profile_fits
from whet.image.metadata import Metadata
from whet.image.notes import damaged_part

__all__ = ["sound"]


def sound(metadata: Metadata) -> Metadata:
    """Return metadata whose EXIF, XMP and profile can be read; notes say what was dropped.

    What XMP says about pictures and films that are not written goes without a note: the
    readers have said that those were left out.
    """
    notes = list(metadata.notes)
    block, packet, icc = metadata.exif, metadata.xmp, metadata.icc
    if block and (directories := exif.read_directories(block)).damaged:
        block = exif.built(replace(directories, damaged=False))
        notes.append(damaged_part("a part of the EXIF" if block else "the EXIF"))
    if packet and not xmp.readable(packet):
        packet = None
        notes.append(damaged_part("the XMP"))
    packet = xmp.without_lies(packet) if packet else None
    if icc and not profile_fits(icc, gray=metadata.gray):
        icc = None
        notes.append("the colour profile does not describe such pixels and was left out")
    return replace(metadata, exif=block, xmp=packet, icc=icc, notes=tuple(notes))
