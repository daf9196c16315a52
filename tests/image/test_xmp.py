"""XMP packets are edited as documents: what is not meant stays as it was."""

import pytest

from whet.image.xmp import marked, merged, orientation_of, readable, turned, without_lies

RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
TIFF = 'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'


def packet(attributes: str, body: str = "") -> bytes:
    return (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF {RDF}><rdf:Description rdf:about="urn:1" {attributes}>{body}</rdf:Description>'
        f"</rdf:RDF></x:xmpmeta>   <?xpacket end='w'?>"
    ).encode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_orientation_as_attribute_and_as_element_in_any_encoding(encoding):
    for text in (
        packet(f'{TIFF} tiff:Orientation="6"'),
        packet(TIFF, "<tiff:Orientation>6</tiff:Orientation>"),
    ):
        assert orientation_of(text.decode().encode(encoding)) == 6
        assert orientation_of(turned(text, 6)) == 1


def test_what_is_not_meant_stays_as_it_was():
    text = packet(f'{DC} dc:format="image/jpeg"', "<dc:title>Gr\u00fc\u00dfe &amp; more</dc:title>")
    assert without_lies(text) == text
    assert turned(text, 1) == text
    done = marked(text, "whet 1", "model small").decode()
    assert 'dc:format="image/jpeg"' in done
    assert "<dc:title>Gr\u00fc\u00dfe &amp; more</dc:title>" in done
    assert done.count('rdf:about="urn:1"') == 2, "the history is about another subject"


def test_an_extension_brings_its_namespaces():
    more = packet("", "<dc:rights>all</dc:rights>").replace(
        b"<x:xmpmeta ", f"<x:xmpmeta {DC} ".encode()
    )
    whole = merged(packet('xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="0"'), more)
    assert whole is not None
    assert readable(whole)
    assert b"<dc:rights>all</dc:rights>" in whole
    assert b"HasExtendedXMP" not in whole


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0\0",
        b"<x/>",
        b"no xml",
        packet("")[:-60],
        b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + packet(""),
    ],
)
def test_what_is_no_xmp_is_told(text):
    assert not readable(text)
    assert orientation_of(text) is None
    assert readable(marked(text, "whet 1", "model small"))
