-- A good loop by hand: ranges of 1,000 keys, a commit after each, and no parallel or paused work.
-- Without force_custom_plan the sixth batch on gets a generic plan, which hashes all users each time; the loop is given the better one.
SET plan_cache_mode = force_custom_plan;
DO $$
DECLARE
    step  CONSTANT bigint := 1000;
    low   bigint := 0;
    high  bigint;
    began timestamptz;
    ms    float8[] := '{}';
BEGIN
    SELECT max(id) INTO high FROM trades;
    WHILE low < high LOOP
        began := clock_timestamp();
        UPDATE trades t SET tenant_id = u.tenant_id FROM users u
         WHERE t.user_id = u.id AND t.tenant_id IS NULL AND t.id > low AND t.id <= low + step;
        COMMIT;
        ms := array_append(ms, extract(epoch FROM clock_timestamp() - began) * 1000);
        low := low + step;
    END LOOP;
    RAISE NOTICE 'batches_ms %', array_to_string(ms, ' ');
END $$;
