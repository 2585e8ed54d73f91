"""What a file is, told by its content."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.media import HEAD_SIZE, KINDS, media_type, names, recognized
from tests.web.media_door import AAC, MP3, PNG, SAMPLES

OTHERS = {
    "nothing": b"",
    "text": b"Hello, I am an image.\n" * 10,
    "HTML": b"<!DOCTYPE html><script>alert(1)</script>" + bytes(64),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>' + bytes(64),
    "XML": b'<?xml version="1.0"?><svg/>' + bytes(64),
    "PDF": b"%PDF-1.7\n" + bytes(64),
    "ZIP": b"PK\x03\x04" + bytes(64),
    "ELF": b"\x7fELF\x02\x01\x01" + bytes(64),
    "a script": b"#!/bin/sh\necho\n" + bytes(64),
    "Matroska": b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska" + bytes(64),
    "HEIC": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64),
    "AVI": b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(64),
    "UTF-16": b"\xff\xfeh\x00i\x00" + bytes(64),
    "words that begin like a tag": b"ID3 is what tags are called" + bytes(64),
    "an MPEG header with rates that there are not": b"\xff\xfb\xff\xff" + bytes(64),
    "a PNG behind a space": b" " + PNG,
}


class RecognizedTests(SynchronousTestCase):
    def test_every_format(self) -> None:
        """Each format of each kind is known by its first bytes, and has its ending and media type."""
        for kind, ending, of_type, content in SAMPLES:
            found = recognized(kind, content[:HEAD_SIZE])
            assert found is not None, ending
            self.assertEqual((found.ending, found.media_type), (ending, of_type))
            self.assertEqual(media_type(f"0123.{ending}"), of_type)

    def test_other_kinds(self) -> None:
        """A file of one kind is none of another, but for MP4, which may hold sound alone."""
        for kind, ending, _, content in SAMPLES:
            for other in set(KINDS) - {kind}:
                found = recognized(other, content[:HEAD_SIZE])
                is_mp4 = ending == "mp4" and other == "audio" and content[8:12] == b"isom"
                self.assertEqual(found is not None, is_mp4, (ending, other))

    def test_none(self) -> None:
        """What is none of the formats is of no kind, whatever it says that it is."""
        for name, content in OTHERS.items():
            for kind in KINDS:
                self.assertIsNone(recognized(kind, content[:HEAD_SIZE]), (name, kind))

    def test_truncated(self) -> None:
        """A head that ends before it says what follows is none."""
        for kind, ending, _, content in SAMPLES:
            for size in range(2):
                self.assertIsNone(recognized(kind, content[:size]), (ending, size))
        for kind, content, size in (("image", PNG, 7), ("audio", AAC, 1), ("audio", b"#!AMR\n", 5)):
            self.assertIsNone(recognized(kind, content[:size]), content)

    def test_mpeg_headers(self) -> None:
        """A frame of MPEG sound has a bit rate that there is."""
        good = {rates for rates in range(256) if recognized("audio", b"\xff\xfb" + bytes([rates]) + MP3[3:])}
        self.assertEqual(good, set(range(0xF0)))

    def test_names(self) -> None:
        """People are told which formats there are."""
        self.assertEqual(names("audio"), "AMR, M4A, AAC, OGG, MP3")
        self.assertEqual(names("video"), "MP4, WEBM")
        self.assertEqual(names("image"), "PNG, JPG, GIF, WEBP")
