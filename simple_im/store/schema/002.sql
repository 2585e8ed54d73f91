-- Contacts, groups, and the notices of what is done to them over HTTPS.

-- The version of a user's contact list: raised by one with each change.
ALTER TABLE user ADD COLUMN contact_version INTEGER NOT NULL DEFAULT 0;

-- A user's list: one row a contact and side; a removed one stays, so that clients can be told.
CREATE TABLE contact (
    user    INTEGER NOT NULL REFERENCES user (id),
    other   INTEGER NOT NULL REFERENCES user (id),
    version INTEGER NOT NULL,               -- of the user's list, when this row last changed
    removed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user, other)
) WITHOUT ROWID;
CREATE INDEX contact_by_version ON contact (user, version);
CREATE INDEX contact_by_other ON contact (other);

-- Who has asked whom and was not answered.
CREATE TABLE pre_contact (
    user    INTEGER NOT NULL REFERENCES user (id),
    asker   INTEGER NOT NULL REFERENCES user (id),
    message TEXT NOT NULL,
    ts      INTEGER NOT NULL,
    PRIMARY KEY (user, asker)
) WITHOUT ROWID;

CREATE TABLE "group" (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT NOT NULL,
    creator INTEGER NOT NULL REFERENCES user (id),
    g_key   TEXT NOT NULL,
    created INTEGER NOT NULL
);

-- Members; `id` grows, so the smallest of a group is its oldest.
CREATE TABLE member (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    g_id  INTEGER NOT NULL REFERENCES "group" (id),
    user  INTEGER NOT NULL REFERENCES user (id),
    UNIQUE (g_id, user)
);
CREATE INDEX member_by_user ON member (user, g_id);

-- Notices that are stored with the change they tell of and are not in any inbox yet; normally empty.
CREATE TABLE outgoing (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    sender INTEGER NOT NULL,
    device TEXT NOT NULL,
    name   BLOB NOT NULL,                   -- the notice's id, as it stands between quotes on the wire
    users  TEXT NOT NULL,
    head   BLOB NOT NULL,
    tail   BLOB NOT NULL
);

-- Media, and who may have them: the sender and those they were sent to.
CREATE TABLE file (
    kind    TEXT NOT NULL,
    name    TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE INDEX file_by_age ON file (created);

CREATE TABLE file_user (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    user INTEGER NOT NULL,
    PRIMARY KEY (kind, name, user)
) WITHOUT ROWID;
