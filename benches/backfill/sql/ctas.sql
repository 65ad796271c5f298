-- The limit of a rewrite: a new table with the value in it, and the same indexes. No live writes are possible meanwhile.
CREATE TABLE trades_new AS SELECT t.*, u.tenant_id FROM trades t LEFT JOIN users u ON u.id = t.user_id;
ALTER TABLE trades_new ADD PRIMARY KEY (id);
CREATE INDEX trades_new_user_id ON trades_new (user_id);
CREATE INDEX trades_new_instrument ON trades_new (instrument, created_at);
