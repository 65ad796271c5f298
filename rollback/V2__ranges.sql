ALTER TABLE migration_progress DROP COLUMN pace;
DROP TABLE requests;
DROP TABLE backfill_ranges;
