"""The kinds of media: how large each may be, and which content each is, told by the content itself.

The signatures are those of the formats' own specifications; there are few enough to need no library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

KINDS: Final = ("audio", "video", "image")
MEBIBYTE: Final = 1_048_576
DEFAULT_SIZES: Final[Mapping[str, int]] = {"audio": 2 * MEBIBYTE, "video": 100 * MEBIBYTE, "image": 10 * MEBIBYTE}
HEAD_SIZE: Final = 64
"""How much of a file tells what it is."""


@dataclass(frozen=True, slots=True)
class Format:
    """A media type, the ending of its files' names, and how its content begins."""

    media_type: str
    ending: str
    signature: re.Pattern[bytes]


def _format(media_type: str, ending: str, signature: bytes) -> Format:
    return Format(media_type, ending, re.compile(signature, re.DOTALL))


_FORMATS: Final[Mapping[str, tuple[Format, ...]]] = {
    "audio": (
        _format("audio/amr", "amr", rb"#!AMR(-WB)?\n"),
        _format("audio/mp4", "m4a", rb"\x00\x00..ftyp(M4A |M4B |mp4[12]|iso[m2-9])"),
        _format("audio/aac", "aac", rb"\xff[\xf0\xf1\xf8\xf9]"),
        _format("audio/ogg", "ogg", rb"OggS\x00"),
        _format("audio/mpeg", "mp3", rb"ID3[\x02-\x04]|\xff[\xe2\xe3\xf2\xf3\xfa\xfb](?![\xf0-\xff])"),
    ),
    "video": (
        _format("video/mp4", "mp4", rb"\x00\x00..ftyp(iso[m2-9]|mp4[12]|avc1|M4V |MSNV|qt  |3gp[0-9a-z]|dash|f4v )"),
        _format("video/webm", "webm", rb"\x1a\x45\xdf\xa3(?!.{0,56}matroska)"),
    ),
    "image": (
        _format("image/png", "png", rb"\x89PNG\r\n\x1a\n"),
        _format("image/jpeg", "jpg", rb"\xff\xd8\xff"),
        _format("image/gif", "gif", rb"GIF8[79]a"),
        _format("image/webp", "webp", rb"RIFF....WEBP"),
    ),
}
_TYPES: Final = {f.ending: f.media_type for formats in _FORMATS.values() for f in formats}


def recognized(kind: str, head: bytes) -> Format | None:
    """The format of a file of this kind that begins with `head`, or None where it is none of the kind."""
    return next((f for f in _FORMATS[kind] if f.signature.match(head)), None)


def names(kind: str) -> str:
    """The formats of a kind, for people."""
    return ", ".join(f.ending.upper() for f in _FORMATS[kind])


def media_type(name: str) -> str:
    """The media type of a stored file, from the ending that it was given by its content."""
    return _TYPES[name.rpartition(".")[2]]
