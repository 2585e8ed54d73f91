"""The fast way through for plain frames: no full TOML parse, nothing written again.

A plain frame is an `[[m]]` or `[[a]]` in the order of keys that clients write, whose strings need no escape and
whose numbers are short. It is already what the server would write, so its bytes are passed on as they are; all
else takes the full way in `frames.read_any`, which gives byte for byte the same for plain frames (a property
test holds the two together).
"""

from __future__ import annotations

import re
from typing import Final

_S: Final = rb'[^"\\\x00-\x1f\x7f]'
_PLAIN: Final = re.compile(
    rb'\[\[(?:m\]\]\nid = "(%b{1,128})"\nt = "%b{1,64}"\nc = "%b*"\nto = (0|[1-9][0-9]{0,15})'
    rb'|a\]\]\nid = "(%b{1,128})")(?:\nd = "(%b*)")?\n?' % (_S, _S, _S, _S, _S)
)

_match: Final = _PLAIN.fullmatch
_QUOTE: Final = ord('"')

Plain = tuple[bytes, int, bytes]
"""The id, the addressee (-1 for an acknowledgement), and the bytes that the recipient gets before what the server
adds. A bare tuple: one with names takes four times as long to make."""


def read(frame: bytes, device: bytes) -> Plain | None:
    """The frame's id, addressee and bytes with `d` as `device`, or None where it is not plain."""
    match = _match(frame)
    if match is None or not (frame.isascii() or _is_utf8(frame)):
        return None
    id_, to, ack_id, d = match.groups()
    if ack_id is not None:
        return ack_id, -1, b""
    if d == device and frame[-1] == _QUOTE:
        return id_, int(to), frame + b"\n"
    return id_, int(to), b'%b\nd = "%b"\n' % (frame[: match.end(2)], device)


def _is_utf8(frame: bytes) -> bool:
    try:
        frame.decode()
    except UnicodeDecodeError:
        return False
    return True
