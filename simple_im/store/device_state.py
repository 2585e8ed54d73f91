"""What one device of a user has been sent, was shown, and has acknowledged."""

from __future__ import annotations

import json

from simple_im.limits import HOLES


class DeviceState:
    """One device's place in its user's inbox; there is one such object for a device in the process.

    Everything up to `cursor` is acknowledged. Above it single entries may be (`scattered` is the highest of them, 0
    for none; the rows are in the database). `sent` is the last seq sent on the IM door, on any connection; `shown` the
    last that `GET /offline` showed, `offered` the same since the last IM login. `holes` are ranges (after, to] below
    `sent` whose entries the device was only shown. `logins` counts those on the IM door, in this process. `is_dirty`
    says that it has changed since it was last written, and will be.
    """

    __slots__ = (
        "__weakref__",
        "cursor",
        "device",
        "holes",
        "is_dirty",
        "logins",
        "offered",
        "scattered",
        "sent",
        "shown",
        "user",
    )

    def __init__(self, user: int, device: str, cursor: int = 0) -> None:
        self.user = user
        self.device = device
        self.cursor = cursor
        self.sent = self.shown = self.offered = self.scattered = self.logins = 0
        self.holes: list[tuple[int, int]] = []
        self.is_dirty = False

    def begin_login(self) -> int:
        """A login on the IM door: give the seq up to which nothing is sent on this connection, 0 for none.

        What a GET has shown since the last login is left out, once (protocol, Receiving).
        """
        self.logins += 1
        left_out, self.offered = self.offered, 0
        if left_out <= self.cursor:
            return 0
        self._add_hole(max(self.sent, self.cursor), left_out)
        self.sent = max(self.sent, left_out)
        return left_out

    def _add_hole(self, after: int, to: int) -> None:
        if after < to:
            self.holes.append((after, to))
        while len(self.holes) > HOLES:
            (start, _), (_, end) = self.holes[:2]
            self.holes[:2] = [(start, end)]

    def fill_holes(self, after: int, to: int) -> None:
        """Everything in (after, to] that was not acknowledged has now been sent on the IM door."""
        if self.holes:
            parts = [part for a, b in self.holes for part in ((a, min(b, after)), (max(a, to), b))]
            self.holes = [(a, b) for a, b in parts if a < b]

    def show(self, seq: int) -> None:
        """A GET has shown, to its last byte, everything up to `seq` that was not acknowledged."""
        self.shown = max(self.shown, seq)
        self.offered = max(self.offered, seq)

    def advance(self, cursor: int) -> None:
        """Everything up to `cursor` is acknowledged."""
        if cursor > self.cursor:
            self.cursor = cursor
            self.fill_holes(0, cursor)

    def sent_ranges(self, to: int) -> list[tuple[int, int]]:
        """The ranges (after, to] above the cursor that were sent on the IM door, up to `to`."""
        ranges, after = [], self.cursor
        for start, end in self.holes:
            if after < min(start, to):
                ranges.append((after, min(start, to)))
            after = max(after, end)
        if after < to:
            ranges.append((after, to))
        return ranges

    def holes_text(self) -> str:
        """`holes` as the database keeps them."""
        return json.dumps(self.holes) if self.holes else "[]"

    def load_holes(self, text: str) -> None:
        """The reverse of `holes_text`."""
        self.holes = [(int(after), int(to)) for after, to in json.loads(text)]
