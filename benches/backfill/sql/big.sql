-- What a careless DBA types: one statement, one transaction, every row lock until its end.
UPDATE trades t SET tenant_id = u.tenant_id FROM users u WHERE t.user_id = u.id;
