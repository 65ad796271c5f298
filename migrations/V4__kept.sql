-- What an undo would have destroyed. The rows themselves are in a table of their own, in this schema, named by `relation`.
CREATE TABLE preimages (
    preimage_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      uuid NOT NULL REFERENCES runs,
    unit        text NOT NULL,
    -- Of which table, which column; without a column, whole rows.
    table_name  text NOT NULL,
    column_name text,
    -- The columns by which a row is found again.
    key_columns text[] NOT NULL,
    relation    text NOT NULL UNIQUE,
    -- Every row was looked at. Until the column is gone a trigger follows what is written meanwhile.
    complete    boolean NOT NULL DEFAULT false,
    rows_kept   bigint NOT NULL DEFAULT 0 CHECK (rows_kept >= 0),
    kept_at     timestamptz NOT NULL DEFAULT now(),
    -- When a later apply brought them back.
    restored_at timestamptz
);

-- What the objects that a plan touches were like when a phase was over, as lines of the catalogue's fingerprint: what another
-- one changed since is told before the next phase begins. The phase 'start' is the state before the first.
CREATE TABLE phase_prints (
    run_id   uuid NOT NULL REFERENCES runs,
    phase    text NOT NULL,
    -- How the facts are worded: two of different formats, or of servers of different majors, cannot be compared.
    format   integer NOT NULL,
    server   integer NOT NULL,
    lines    jsonb NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    -- Since then the run is on its way, and the print measures nothing. At most one of a run has none.
    spent_at timestamptz,
    PRIMARY KEY (run_id, phase)
);
