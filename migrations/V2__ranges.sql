-- The ranges of a backfill, one row each: what a worker has claimed, and how many of its interleaved batches are committed.
-- A row is written in the transaction of its batch, so rows and progress commit together or not at all. One worker's batches
-- write one row, so workers do not wait for each other.
CREATE TABLE backfill_ranges (
    run_id       uuid NOT NULL REFERENCES runs,
    unit         text NOT NULL,
    -- 0 is the main walk; later ones sweep up what was locked or moved.
    sweep        integer NOT NULL,
    -- 1, 2, 3 … in the order of claiming.
    number       integer NOT NULL,
    -- The table, or its partition or child.
    heap         text NOT NULL,
    -- Blocks from lo up to, and without, hi.
    lo           bigint NOT NULL,
    hi           bigint NOT NULL CHECK (lo < hi),
    -- So many batches, each of every n-th row; 1 is a plain range.
    stripes      integer NOT NULL CHECK (stripes > 0),
    stripes_done integer NOT NULL DEFAULT 0 CHECK (stripes_done BETWEEN 0 AND stripes),
    rows_done    bigint NOT NULL DEFAULT 0,
    -- Of these, how many new versions went into the same page, without index entries.
    rows_hot     bigint NOT NULL DEFAULT 0,
    -- Locked rows were passed by, which a sweep takes up.
    skipping     boolean NOT NULL DEFAULT false,
    claimed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, unit, sweep, number)
);

-- What an operator asked of a run from any host. Whoever holds the lease makes an event of it.
CREATE TABLE requests (
    request_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id       uuid NOT NULL REFERENCES runs,
    asked_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor        text NOT NULL DEFAULT session_user,
    host         text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('retune')),
    body         jsonb NOT NULL,
    -- The number of the event that it became.
    event        bigint,
    -- Why it became none.
    refused      text
);
CREATE INDEX requests_open ON requests (run_id, request_id) WHERE event IS NULL AND refused IS NULL;

-- How fast the unit goes now, for people: workers, target, stripes, what it waits for.
ALTER TABLE migration_progress ADD COLUMN pace jsonb;
