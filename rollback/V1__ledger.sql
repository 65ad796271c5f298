-- The twin of migrations/V1__ledger.sql: takes everything away that it made. The history of all runs is lost.
DROP TABLE lease;
DROP TABLE migration_progress;
DROP TABLE events;
DROP FUNCTION events_are_append_only();
DROP TABLE runs;
