-- tenantmig's own tables. They stand in the schema that the search_path names (tenantmig by default).
-- Each migration here has its hand-written twin of the same name under rollback/.

-- One row a run: a plan as it was when the run began. Rollback reads the program from here, never from a file.
CREATE TABLE runs (
    run_id       uuid PRIMARY KEY,
    plan         text NOT NULL,
    plan_path    text,
    plan_text    text NOT NULL,
    fingerprint  text NOT NULL,
    program      jsonb NOT NULL,
    -- Measured before the first unit: {"gate id": rows}.
    baselines    jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by   text NOT NULL DEFAULT session_user,
    host         text NOT NULL,
    tool_version text NOT NULL
);

-- What happened, in order. A run's state is the fold of its events and nothing else.
CREATE TABLE events (
    run_id uuid NOT NULL REFERENCES runs,
    -- 1, 2, 3 …: a gap means that somebody cut the log, a collision that somebody else writes it.
    number bigint NOT NULL,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    epoch  bigint NOT NULL,
    actor  text NOT NULL DEFAULT session_user,
    host   text NOT NULL,
    kind   text NOT NULL,
    unit   text,
    event  jsonb NOT NULL,
    PRIMARY KEY (run_id, number)
);

CREATE FUNCTION events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only: a run''s state is computed from them'
        USING HINT = 'use tenantmig repair, resume or rollback';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_are_append_only();

-- One row a unit, for people and for the cursor of a backfill. Status is a projection of the events;
-- `cursor` and `rows_done` are the truth of a backfill and commit with its rows.
CREATE TABLE migration_progress (
    run_id         uuid NOT NULL REFERENCES runs,
    unit           text NOT NULL,
    ordinal        integer NOT NULL,
    phase          text NOT NULL,
    step           text NOT NULL,
    title          text NOT NULL,
    status         text NOT NULL DEFAULT 'pending'
                   CHECK (status IN ('pending', 'running', 'done', 'failed', 'undoing', 'stuck')),
    rows_done      bigint NOT NULL DEFAULT 0,
    rows_estimated bigint,
    cursor         jsonb,
    attempts       integer NOT NULL DEFAULT 0,
    started_at     timestamptz,
    finished_at    timestamptz,
    updated_at     timestamptz,
    error          text,
    PRIMARY KEY (run_id, unit)
);

-- Who may write. One row; the epoch fences every transaction of an earlier holder. A row instead of an advisory lock,
-- because a session lock excludes nobody behind a transaction pooler and dies with its connection.
CREATE TABLE lease (
    one_row       boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    epoch         bigint NOT NULL DEFAULT 0,
    holder        uuid,
    host          text,
    pid           integer,
    purpose       text,
    role          text,
    backend_pid   integer,
    backend_start timestamptz,
    acquired_at   timestamptz,
    heartbeat_at  timestamptz,
    expires_at    timestamptz
);
INSERT INTO lease DEFAULT VALUES;
