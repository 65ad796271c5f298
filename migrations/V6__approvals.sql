-- Who let a phase begin, or what it did stay. Only ever added to; which of them counts, the events decide: one that was given
-- before something was undone does not, nor one that came after its time.
CREATE TABLE approvals (
    approval_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      uuid NOT NULL REFERENCES runs,
    phase       text NOT NULL,
    approved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor       text NOT NULL DEFAULT session_user,
    host        text NOT NULL,
    reason      text
);
CREATE INDEX approvals_of ON approvals (run_id, phase, approved_at);
