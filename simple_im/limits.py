"""Every limit that keeps the network from growing something without bound, in one place.

Sizes are bytes, times are seconds unless a name says otherwise.
"""

from typing import Final

DAY: Final = 86_400

# Frames on the IM door.
FRAME_SIZE: Final = 65_536
"""A frame with its blank line; a larger one is refused and the connection closed."""
RECORD_SIZE: Final = 16_384
"""The plain text that one TLS record can hold."""
ID_SIZE: Final = 128
"""A message's `id`, in UTF-8 bytes."""
TYPE_SIZE: Final = 64
"""A message's `t`, in UTF-8 bytes."""
NESTING: Final = 32
"""How deep tables, arrays and dotted keys may nest in a frame."""
BAD_FRAMES: Final = 20
"""Bad frames in a row until the connection is closed."""

# Connections.
LOGIN_DEADLINE: Final = 10
"""From connecting to the login frame, the TLS handshake included."""
WRITE_STALL: Final = 600
"""How long nothing can be written to a connection until it is closed."""
CLOSE_GRACE: Final = 5
"""How long a peer may take to close after `bye` until it is cut off."""
RECENT_ACKS: Final = 1_024
"""Ids of acknowledgements remembered on a compact connection, whose client acknowledges them too."""
RECENT_REVOCATIONS: Final = 256
"""Revoked tokens remembered for logins with them that are under way."""
KEEPALIVE: Final = (60, 15, 4)
"""TCP keepalive: idle time, interval, probes; a dead peer is found after two minutes."""

# A device.
WINDOW_ENTRIES: Final = 1_024
"""Entries in flight to a device: sent and not acknowledged."""
WINDOW_BYTES: Final = 1_048_576
"""The same in bytes; one entry is always allowed."""
DEVICES: Final = 32
"""Devices of a user."""
DEVICE_LIFE: Final = 30 * DAY
"""A device not seen for this long is forgotten."""
HOLES: Final = 8
"""Ranges of entries that a device has only been shown over HTTPS; more are merged, which is safe:
what lies in one is sent again rather than lost."""

# The inbox.
UNCOMMITTED_BYTES: Final = 16 * 1_048_576
"""What may wait for the disk; connections are not read from while more does."""
UNCOMMITTED_ROWS: Final = 2_048
"""The same, counted once for each inbox: what takes a commit some tens of milliseconds, for which senders wait."""
UNINDEXED_BYTES: Final = 16 * 1_048_576
"""What may be on disk and not indexed yet; more is indexed with the next commit."""
UNINDEXED_ROWS: Final = 1_536
"""The same, counted once for each inbox."""
OFFLINE_ENTRIES: Final = 1_000
"""`GET /offline` without a `limit`."""
OFFLINE_BYTES: Final = 1_048_576
"""The entries in one answer to `GET /offline`."""

# Tokens.
TOKEN_TRIAL: Final = 100
"""A token's life until an IM login uses it."""
TOKEN_LIFE: Final = 30 * DAY
"""A token's life from its last use after that."""
TOKEN_TOUCH: Final = 3_600
"""A use is written down when the one on record is this old."""

# HTTP.
BODY_SIZE: Final = 65_536
"""A form in a request."""
HTTP_IDLE: Final = 60
"""A connection on the HTTPS door with no request."""
PASSWORD_QUEUE: Final = 256
"""Passwords waiting to be hashed; one more is answered with 429."""
KNOWN_USERS: Final = 100_000
"""User ids remembered as existing."""

# Groups and media.
KNOWN_GROUPS: Final = 1_000
"""Groups whose members are remembered."""
UPLOAD_BUFFER: Final = 262_144
"""What of an upload may wait for the disk; its connection is not read from while more does."""
UPLOAD_FIELD: Final = 1_024
"""A field of an upload that is no file."""
UPLOAD_FIELDS: Final = 16
"""Fields in an upload."""
