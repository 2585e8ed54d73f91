-- The retention goes through entries from the oldest seq on: an index by age would only cost every message its upkeep.

DROP INDEX entry_by_age;
