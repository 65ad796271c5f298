-- For those who do not add the column themselves: metadata only, and not measured.
ALTER TABLE trades ADD COLUMN tenant_id bigint;
