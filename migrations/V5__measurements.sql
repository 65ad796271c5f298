-- How long queries of the application took when a gate measured them: percentiles and numbers of rows, no row of anybody's. What they
-- took before the run is in runs.baselines. Rows are only ever added, a few a run.
CREATE TABLE measurements (
    measurement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id         uuid NOT NULL REFERENCES runs,
    phase          text NOT NULL,
    gate           text NOT NULL,
    probe          text NOT NULL,
    -- Whether it was over its budget.
    over           boolean NOT NULL,
    measured       jsonb NOT NULL,
    measured_at    timestamptz NOT NULL DEFAULT now(),
    measured_by    text NOT NULL DEFAULT session_user
);
CREATE INDEX ON measurements (run_id, measurement_id);
