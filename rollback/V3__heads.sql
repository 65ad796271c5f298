-- Takes away what V3__heads.sql made.
DELETE FROM requests WHERE kind = 'pause';
ALTER TABLE requests DROP CONSTRAINT requests_kind_check;
ALTER TABLE requests ADD CONSTRAINT requests_kind_check CHECK (kind IN ('retune'));
ALTER TABLE lease DROP COLUMN timeline, DROP COLUMN system_identifier, DROP COLUMN run_id;
DROP TABLE event_heads;
ALTER TABLE events DROP COLUMN link;
