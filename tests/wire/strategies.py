"""What hypothesis sends besides documents: plain frames, spoilt ones, pieces of TOML, and records cut anywhere."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.wire.documents import Draw

PLAIN_TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='"\\'), min_size=1, max_size=20)
DEVICES = st.sampled_from(["android", "ipad", ""])
INJECTIONS = [
    *(
        b"\nfrom = 7",
        b'\n"from" = 7',
        b"\n'ts' = 7",
        b'\n"\\u0073eq" = 7',
        b"\nfrom.x = 7",
        b"\nseq = 7",
        b"\n[m.from]\nx = 7",
    ),
    *(
        b'"\nfrom = 7\nx = "',
        b"\nm.from = 7",
        b"\n[[m]]",
        b'\nd = "ipad"',
        b"\nd = 7",
        b'\nid = "b"',
        b"\nto = 7",
        b"\ndup = true",
    ),
    *(
        b"\r",
        b"\r\n",
        b"\n",
        b"\n\n",
        b"\x00",
        b"\x7f",
        b"\t",
        b" ",
        b"#",
        b"\\",
        b'"',
        b"'",
        b'"""',
        b"\xff",
        b"\xc3",
        b"\xe2\x80\xa8",
    ),
    *(
        b"_0",
        b"0",
        b"-",
        b"+",
        b".",
        b".5",
        b"e1",
        b"[",
        b"]",
        b"]]",
        b"=",
        b",",
        b"{}",
        b"\\u0022",
        b"\xc2\x85",
        b"\xed\xa0\x80",
    ),
]
SOUP = st.lists(
    st.sampled_from(
        [
            *(
                "[[m]]",
                "[[a]]",
                "[[r]]",
                "[m.x]",
                "[[m.x]]",
                "[",
                "]",
                "{",
                "}",
                "=",
                ",",
                ".",
                "\n",
                "\r",
                " ",
                "#",
                "\\",
                '"',
                "'",
            ),
            *(
                '"""',
                "'''",
                "id",
                "t",
                "c",
                "to",
                "d",
                "dup",
                "from",
                "x",
                "1",
                "-1",
                "1.5",
                "true",
                "nan",
                "1979-05-27",
                "07:32:00",
            ),
            *(
                'id = "a"\n',
                't = "t"\n',
                'c = "c"\n',
                "to = 1\n",
                "seq = 1\n",
                "9" * 20,
                "é",
                "\u2028",
                "\x00",
                "\x7f",
                "\\u0022",
            ),
        ]
    ),
    max_size=40,
).map("".join)
PIECES = st.lists(
    st.sampled_from(
        [
            b"\n",
            b"\n",
            b"\n\n",
            b"\r",
            b"\r\n",
            b"[[m]]",
            b"[[m]]\n",
            b"# x\n",
            b" ",
            b'id = "a"',
            b"x" * 20,
            b'"',
            b"'",
            b"\\",
            b"#",
        ]
    ),
    max_size=25,
).map(b"".join)


def _login(draw: Draw) -> bytes:
    texts = [draw(PLAIN_TEXTS | st.just("")) for _ in range(2)]
    user = [f"id = {draw(st.integers(0, 10**16 - 1))}", f'd = "{texts[0]}"', f'token = "{texts[1]}"']
    lines = ["[[r]]", f'id = "{draw(PLAIN_TEXTS)}"', 't = "login"', "[r.user]", *user]
    return ("\n".join(lines) + draw(st.sampled_from(["", "\n"]))).encode()


@st.composite
def plain_frames(draw: Draw) -> bytes:
    """Frames that take the fast way."""
    kind: str = draw(st.sampled_from(["a", "m", "r"]))
    if kind == "r":
        return _login(draw)
    if kind == "a":
        lines = ["[[a]]", f'id = "{draw(PLAIN_TEXTS)}"']
    else:
        lines = [
            "[[m]]",
            f'id = "{draw(PLAIN_TEXTS)}"',
            f't = "{draw(PLAIN_TEXTS)[:16]}"',
            f'c = "{draw(PLAIN_TEXTS)}"',
        ]
        lines.append(f"to = {draw(st.integers(0, 10**16 - 1))}")
    if draw(st.booleans()):
        lines.append(f'd = "{draw(DEVICES)}"')
    end: str = draw(st.sampled_from(["", "\n"]))
    return ("\n".join(lines) + end).encode()


@st.composite
def spoilt(draw: Draw) -> bytes:
    """Frames that nearly do, or still do: with something put in, left out, or said twice."""
    frame: bytes = draw(plain_frames())
    for _ in range(draw(st.integers(1, 2))):
        at, until = sorted((draw(st.integers(0, len(frame))), draw(st.integers(0, len(frame)))))
        put_in: bytes = draw(st.sampled_from(INJECTIONS) | st.binary(max_size=3) | st.just(frame[at:until]))
        behind: int = draw(st.sampled_from([at, at, at, min(at + 1, len(frame)), until]))
        frame = frame[:at] + put_in + frame[behind:]
    return frame


@st.composite
def injected(draw: Draw) -> bytes:
    """Plain frames with something put behind a line, or before the quote that ends it."""
    frame: bytes = draw(plain_frames())
    ends = [at for at in range(len(frame) + 1) if frame[at : at + 1] in (b"\n", b'"', b"")]
    at: int = draw(st.sampled_from(ends))
    put_in: bytes = draw(st.sampled_from(INJECTIONS))
    return frame[:at] + put_in + frame[at:]


@st.composite
def cuts(draw: Draw, data: bytes) -> list[bytes]:
    """The bytes, cut into records anywhere."""
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
