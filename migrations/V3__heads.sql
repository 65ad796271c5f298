-- How far the log of a run goes: the number of its newest event, and the last link of a chain of SHA-256 over the run's own row
-- and all its events. Each link is written in the transaction of its event. A log that was cut, or in which somebody edited a
-- row, does not lead to it. A run that an earlier version began has no row here until its next event, and is not judged before.
CREATE TABLE event_heads (
    run_id uuid PRIMARY KEY REFERENCES runs,
    number bigint NOT NULL CHECK (number >= 0),
    digest text NOT NULL
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
