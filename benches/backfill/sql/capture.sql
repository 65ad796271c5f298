-- What keeps rows that come or change hands meanwhile in step, before the backfill begins. No BEFORE UPDATE trigger: one locks
-- each row before the update proper, which costs WAL for every row of the backfill, even when its WHEN is false.
-- The bodies are read when they run, so the column may come later.
CREATE FUNCTION trades_tenant_of_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.tenant_id IS NULL THEN
        NEW.tenant_id := (SELECT u.tenant_id FROM users u WHERE u.id = NEW.user_id);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER trades_tenant_of_new BEFORE INSERT ON trades
    FOR EACH ROW EXECUTE FUNCTION trades_tenant_of_new();

CREATE FUNCTION trades_tenant_of_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE trades SET tenant_id = (SELECT u.tenant_id FROM users u WHERE u.id = NEW.user_id) WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER trades_tenant_of_moved AFTER UPDATE OF user_id ON trades
    FOR EACH ROW WHEN (OLD.user_id IS DISTINCT FROM NEW.user_id) EXECUTE FUNCTION trades_tenant_of_moved();
