/**
 * The store's tables. People query them: what is said here and in `synprobe help history` stays true of every version, and a
 * change is a further migration.
 *
 * All times are milliseconds since the Unix epoch. Tested by test/runtime/store/database.test.ts.
 */

/** "synp", in SQLite's header: file(1) and we ourselves know the file by it. */
export const APPLICATION_ID = 0x73796e70;

/** The names of a version 3, of each host the last. */
const NAMES = `
  SELECT name, hosts.id, max(last_ms) FROM hosts JOIN ports ON ports.host = hosts.id JOIN intervals ON intervals.port = ports.id
  WHERE name IS NOT NULL GROUP BY hosts.id`;

/** A store of this version that nobody may write is read as if it had the names that the next would take from it. */
export const WITHOUT_NAMES = 3;
export const NAMES_OF_HOSTS = `CREATE TEMP VIEW names (name, host, last_ms) AS ${NAMES}`;

/** From version 0, an empty file, on: number n makes version n + 1. Applied in one transaction. */
export const MIGRATIONS: readonly string[] = [
  `
-- Every run that was put in. ending: complete, interrupted, cut-off (its file has no end) or unknown.
CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  started_ms INTEGER NOT NULL,
  ended_ms INTEGER NOT NULL,
  source TEXT NOT NULL,        -- the command line, or the file it was imported from
  ending TEXT NOT NULL,
  ports INTEGER NOT NULL,      -- ports with a result
  open INTEGER NOT NULL,       -- of these
  changed INTEGER NOT NULL,    -- ports whose state was another before
  loss REAL,                   -- of the round trip, 0 to 1; NULL where it is not known
  UNIQUE (started_ms, source)
) STRICT;
CREATE TABLE hosts (
  id INTEGER PRIMARY KEY,
  ip TEXT NOT NULL UNIQUE,     -- canonical, RFC 5952
  name TEXT                    -- as a target named it, last
) STRICT;
CREATE TABLE ports (
  id INTEGER PRIMARY KEY,
  host INTEGER NOT NULL REFERENCES hosts,
  proto TEXT NOT NULL,         -- tcp; nmap's files may have others
  port INTEGER NOT NULL,
  service TEXT,
  UNIQUE (host, proto, port)
) STRICT;
CREATE TABLE verdicts (
  id INTEGER PRIMARY KEY,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  UNIQUE (state, reason)
) STRICT;
-- A port was seen with this verdict at first_ms and at last_ms, and by no run between them with another.
CREATE TABLE intervals (
  port INTEGER NOT NULL REFERENCES ports,
  first_ms INTEGER NOT NULL,
  last_ms INTEGER NOT NULL,
  verdict INTEGER NOT NULL REFERENCES verdicts,
  doubt REAL,                  -- of the first result: the chance that an answer was lost; NULL unless no-response
  PRIMARY KEY (port, first_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX intervals_by_first ON intervals (first_ms);
-- The same with every name filled in.
CREATE VIEW history AS
  SELECT ip, name, proto, ports.port AS port, service, state, reason, first_ms, last_ms, doubt
  FROM intervals JOIN ports ON ports.id = intervals.port JOIN hosts ON hosts.id = ports.host
    JOIN verdicts ON verdicts.id = intervals.verdict;
`,
  `
-- What a watch has told. kind: changed, flapping, settled.
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  port INTEGER NOT NULL REFERENCES ports,
  old_state TEXT NOT NULL,     -- as it was told last
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  doubt REAL NOT NULL          -- chance that the change is none
) STRICT;
-- The outbox: who is still to be told of an event (exec, webhook), and what came of it.
CREATE TABLE deliveries (
  event INTEGER NOT NULL REFERENCES events,
  target TEXT NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0,
  next_ms INTEGER NOT NULL DEFAULT 0,
  done_ms INTEGER,             -- NULL while it is under way
  error TEXT,                  -- of the last try; NULL when it was taken
  PRIMARY KEY (event, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_pending ON deliveries (target, event) WHERE done_ms IS NULL;
-- Ports that have changed lately: the penalty as of at_ms, and of those held down the state that was told last.
CREATE TABLE flaps (
  port INTEGER PRIMARY KEY REFERENCES ports,
  penalty REAL NOT NULL,
  at_ms INTEGER NOT NULL,
  told TEXT
) STRICT;
`,
  `
-- Of a watched policy. kind may be violation or restored, too.
ALTER TABLE events ADD COLUMN expected TEXT; -- NULL without a policy, and where it says nothing of the port any more
ALTER TABLE events ADD COLUMN rule TEXT;     -- file:line:column
-- Ports that are not what the policy wants, as it was told.
CREATE TABLE violations (
  port INTEGER PRIMARY KEY REFERENCES ports,
  since_ms INTEGER NOT NULL
) STRICT;
`,
  `
-- Every name that targets gave to an address; last_ms: when a run that gave it began, last.
CREATE TABLE names (
  name TEXT NOT NULL,
  host INTEGER NOT NULL REFERENCES hosts,
  last_ms INTEGER NOT NULL,
  PRIMARY KEY (name, host)
) STRICT, WITHOUT ROWID;
INSERT INTO names ${NAMES};
`,
];
