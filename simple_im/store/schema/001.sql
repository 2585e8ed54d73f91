-- The embedded node's database, version 1. Times are unix seconds.

-- The people. `place` is how far any device of theirs, also a forgotten one, had acknowledged everything: where the
-- cursor of a new device stands.
CREATE TABLE user (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    phone    TEXT NOT NULL UNIQUE,
    name     TEXT NOT NULL,
    avatar   TEXT NOT NULL DEFAULT '',
    password TEXT NOT NULL,                 -- argon2id, in PHC form
    created  INTEGER NOT NULL,
    place    INTEGER NOT NULL DEFAULT 0
);

-- The devices of a user, and what each has acknowledged: everything up to `cursor`, and single entries in `acked`.
CREATE TABLE device (
    user    INTEGER NOT NULL REFERENCES user (id),
    name    TEXT NOT NULL,
    cursor  INTEGER NOT NULL,
    sent    INTEGER NOT NULL DEFAULT 0,     -- the last seq sent to it on the IM door
    shown   INTEGER NOT NULL DEFAULT 0,     -- the last seq that GET /offline showed it
    offered INTEGER NOT NULL DEFAULT 0,     -- the same since its last IM login
    holes   TEXT NOT NULL DEFAULT '[]',     -- ranges [after, to] up to `sent` that it was only shown
    expired INTEGER NOT NULL DEFAULT 0,     -- entries that went past the retention unread
    seen    INTEGER NOT NULL,
    PRIMARY KEY (user, name)
) WITHOUT ROWID;
CREATE INDEX device_by_age ON device (seen);

-- Entries above a device's cursor that it has acknowledged one by one.
CREATE TABLE acked (
    user   INTEGER NOT NULL,
    device TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    UNIQUE (user, device, seq)
);

-- Every message of the retention time, once, however many people it is for.
CREATE TABLE entry (
    seq    INTEGER PRIMARY KEY,
    ts     INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    device TEXT NOT NULL,                   -- the device that sent it
    id     BLOB NOT NULL,                   -- the device's id for it, as it stands between quotes on the wire
    users  TEXT NOT NULL,                   -- whose inboxes it is in: ids, with spaces between them
    wire   BLOB NOT NULL                    -- the frame that recipients get
);
CREATE INDEX entry_by_id ON entry (sender, device, id);
CREATE INDEX entry_by_age ON entry (ts);

-- Whose inbox has which entry.
CREATE TABLE inbox (
    user INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (user, seq)
) WITHOUT ROWID;

-- Tokens: only their SHA-256 is here.
CREATE TABLE token (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    hash    BLOB NOT NULL UNIQUE,
    user    INTEGER NOT NULL REFERENCES user (id),
    device  TEXT NOT NULL,
    lasting INTEGER NOT NULL DEFAULT 0,     -- 1 once an IM login has used it
    used    INTEGER NOT NULL,               -- its last use, to the hour
    expires INTEGER NOT NULL
);
CREATE INDEX token_by_device ON token (user, device);
CREATE INDEX token_by_age ON token (expires);

-- One row: the epoch of the running node, the upper half of every seq it gives out.
CREATE TABLE node (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
);
INSERT INTO node (id, epoch) VALUES (1, 0);
