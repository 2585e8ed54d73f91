-- Messages that one device sent one after the other to the same people share a row: a row costs what many messages do.

-- Every message of the retention time, once, however many people it is for.
CREATE TABLE run (
    seq    INTEGER PRIMARY KEY,             -- of its last message; the others have the numbers right below
    first  INTEGER NOT NULL,                -- of its first
    ts     INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    device TEXT NOT NULL,                   -- the device that sent them
    ids    TEXT NOT NULL,                   -- the device's ids for them, a JSON array of what stands between quotes on the wire
    users  TEXT NOT NULL,                   -- whose inboxes they are in: a JSON array of ids
    wire   BLOB NOT NULL                    -- the frames that recipients get, each with its blank line
);
INSERT INTO run (seq, first, ts, sender, device, ids, users, wire)
    SELECT seq, seq, ts, sender, device, json_array(CAST(id AS TEXT)), '[' || replace(users, ' ', ',') || ']', wire
    FROM entry;
CREATE INDEX run_by_age ON run (ts);

-- The same messages by their ids, so that one that comes again is known.
CREATE TABLE message (
    sender INTEGER NOT NULL,
    device TEXT NOT NULL,
    id     TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (sender, device, id, seq)
) WITHOUT ROWID;
INSERT INTO message (sender, device, id, seq) SELECT sender, device, CAST(id AS TEXT), seq FROM entry;

-- `inbox` has the `seq` of runs.
DROP TABLE entry;

-- `inbox` and `message` have what is in the runs up to `indexed`; see store/inbox_sql.py.
ALTER TABLE node ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
UPDATE node SET indexed = coalesce((SELECT max(seq) FROM run), 0);
