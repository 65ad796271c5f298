-- A chain of SHA-256 over the run's own row and all its events: each event's link is taken over the link before it and its own
-- row, in the event's own statement. A log in which somebody edited a row, or that was cut, does not lead to its head.
ALTER TABLE events ADD COLUMN link text;

-- How far the log of a run goes. A run that an earlier version began has no row here until its next event, and is not judged
-- before.
CREATE TABLE event_heads (
    run_id      uuid PRIMARY KEY REFERENCES runs,
    -- The newest event, and its link.
    number      bigint NOT NULL CHECK (number >= 0),
    digest      text NOT NULL,
    -- The events up to this one are judged as a whole, with the run's own row: an earlier version wrote them, or somebody
    -- accepted them as they stand. 0: only the run's own row.
    base        bigint NOT NULL DEFAULT 0 CHECK (base BETWEEN 0 AND number),
    base_digest text NOT NULL
);

-- What the holder works on, and on which server it took the lease: a copy of the database elsewhere has another system
-- identifier, and an old primary that came back an older timeline.
ALTER TABLE lease
    ADD COLUMN run_id            uuid,
    ADD COLUMN system_identifier bigint,
    ADD COLUMN timeline          bigint;

-- What can be asked of a holder.
ALTER TABLE requests DROP CONSTRAINT requests_kind_check;
ALTER TABLE requests ADD CONSTRAINT requests_kind_check CHECK (kind IN ('retune', 'pause'));
