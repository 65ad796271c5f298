//! The statements that move rows away and back. Which columns and keys a table has is the server's to say, so they are blocks
//! that ask its catalogue.

use crate::{
    sql,
    sql::{Ident, Literal, QName, Stmt, block, percent, private},
};

/// The table beside: the columns with their types and NOT NULL, no defaults, no keys, and privileges for its owner alone,
/// whatever the default privileges of the schema say.
pub fn make(table: &QName, to: &QName, mark: &Literal) -> Vec<Stmt> {
    vec![
        sql!("CREATE TABLE {} (LIKE {})", to, table),
        sql!(
            "ALTER TABLE {} ADD COLUMN quarantine_reason text NOT NULL, ADD COLUMN quarantined_at timestamptz NOT NULL DEFAULT clock_timestamp()",
            to
        ),
        sql!("COMMENT ON TABLE {} IS {}", to, mark),
        private(to),
    ]
}

/// Drops the table beside. Rows in it were not moved back, and are nobody's to lose.
pub fn drop(to: &QName) -> Stmt {
    let name = Literal::new(to.to_string());
    block(&sql!(
        "
DECLARE filled boolean;
BEGIN
    IF to_regclass({}) IS NULL THEN RETURN; END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', to_regclass({}));
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', to_regclass({})) INTO filled;
    IF filled THEN RAISE EXCEPTION 'rows are left in %', {} USING HINT = 'they did not come from this step: move them away'; END IF;
    EXECUTE format('DROP TABLE %s', to_regclass({}));
END ",
        name,
        name,
        name,
        name,
        name
    ))
}

/// Moves the rows away, unless somebody points at one of them. The rows are locked before it is asked who does: a new
/// reference then waits for us and finds its row gone. What is added meanwhile without a tenant makes the counts differ, and
/// the whole is tried again.
pub fn away(table: &QName, to: &QName, which: &Stmt, reason: &str, full: &Literal) -> Stmt {
    block(&sql!(
        "
DECLARE
    home regclass := {}::regclass;
    which text := {};
    columns text;
    wanted bigint;
    moved bigint;
    held text := '';
    key record;
    found bigint;
BEGIN
    SELECT string_agg(format('%I', attname), ', ' ORDER BY attnum) INTO columns
      FROM pg_attribute WHERE attrelid = home AND attnum > 0 AND NOT attisdropped;
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s AS row WHERE %s FOR UPDATE) AS locked', home, which) INTO wanted;
    COMMENT ON TABLE {} IS {};
    IF wanted = 0 THEN RETURN; END IF;
    IF (SELECT relkind = 'r' FROM pg_class WHERE oid = home) THEN
        EXECUTE format('SELECT count(*) FROM %s AS row WHERE tableoid <> %s AND (%s)', home, home::oid, which) INTO found;
        IF found > 0 THEN
            RAISE EXCEPTION '% rows are in children of %, which have columns of their own', found, home
                USING HINT = 'quarantine each child by a step of its own, before its parent';
        END IF;
    END IF;
    FOR key IN SELECT c.conname, c.conrelid::regclass AS child,
                 (SELECT string_agg(format('child.%I = row.%I', f.attname, p.attname), ' AND ' ORDER BY k.n)
                    FROM unnest(c.conkey, c.confkey) WITH ORDINALITY AS k (f, p, n)
                    JOIN pg_attribute f ON f.attrelid = c.conrelid AND f.attnum = k.f
                    JOIN pg_attribute p ON p.attrelid = c.confrelid AND p.attnum = k.p) AS pairs
            FROM pg_constraint c WHERE c.contype = 'f' AND c.confrelid = home AND c.conparentid = 0 ORDER BY c.conname
    LOOP
        EXECUTE format('SELECT count(*) FROM %s AS child WHERE EXISTS (SELECT FROM %s AS row WHERE (%s) AND %s)%s',
            key.child, home, which, key.pairs,
            CASE WHEN key.child = home THEN
                format(' AND NOT EXISTS (SELECT FROM %s AS row WHERE row.ctid = child.ctid AND row.tableoid = child.tableoid AND (%s))', home, which)
                ELSE '' END) INTO found;
        IF found > 0 THEN held := held || format('; %s of %s: %s rows', key.conname, key.child, found); END IF;
    END LOOP;
    IF held <> '' THEN
        RAISE EXCEPTION 'rows of % that are to be quarantined are referenced%', home, held
            USING HINT = 'quarantine the rows that point at them first, by a step before this one';
    END IF;
    EXECUTE format('WITH gone AS (DELETE FROM %s AS row WHERE %s RETURNING %s)
                    INSERT INTO {} SELECT gone.*, %L FROM gone', home, which, columns, {});
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved > wanted THEN
        RAISE EXCEPTION 'rows without a tenant were added meanwhile' USING ERRCODE = 'serialization_failure';
    ELSIF moved < wanted THEN
        RAISE EXCEPTION 'a trigger kept % rows of % from being moved', wanted - moved, home;
    END IF;
END ",
        Literal::new(table.to_string()),
        Literal::new(which.as_str()),
        to,
        full,
        percent(to),
        Literal::new(reason)
    ))
}

/// Moves the rows back. Constraints that were never validated would refuse them, although they stood there before: those are
/// made anew as they were, not validated. `column` may have got a value by the application's triggers; nothing else may differ.
pub fn back(table: &QName, to: &QName, column: &Ident, empty: &Literal) -> Stmt {
    block(&sql!(
        "
DECLARE
    home regclass := {}::regclass;
    beside regclass := to_regclass({});
    columns text;
    compared text;
    missing text;
    loose text[] := '{{}}';
    key record;
    stmt text;
    changed bigint;
BEGIN
    IF beside IS NULL THEN RETURN; END IF;
    EXECUTE format('COMMENT ON TABLE %s IS %L', beside, {});
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s FOR UPDATE) AS locked', beside) INTO changed;
    IF changed = 0 THEN RETURN; END IF;
    SELECT string_agg(format('%I', b.attname), ', ' ORDER BY b.attnum) FILTER (WHERE h.attgenerated = ''),
           string_agg(format('%I', b.attname), ', ' ORDER BY b.attnum) FILTER (WHERE h.attgenerated = '' AND h.attname <> {}),
           string_agg(format('%I', b.attname), ', ' ORDER BY b.attnum) FILTER (WHERE h.attname IS NULL)
      INTO columns, compared, missing
      FROM pg_attribute b LEFT JOIN pg_attribute h ON h.attrelid = home AND h.attname = b.attname AND h.attnum > 0 AND NOT h.attisdropped
     WHERE b.attrelid = beside AND b.attnum > 0 AND NOT b.attisdropped
       AND b.attname NOT IN ('quarantine_reason', 'quarantined_at');
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION '% has no column % any more, which quarantined rows have', home, missing;
    END IF;
    FOR key IN SELECT c.oid, c.conname, c.conrelid::regclass AS of, pg_get_constraintdef(c.oid) AS def,
                      obj_description(c.oid, 'pg_constraint') AS said
                 FROM pg_constraint c WHERE c.contype IN ('c', 'f') AND NOT c.convalidated AND c.conparentid = 0 AND c.conislocal
                  AND (c.conrelid = home OR c.conrelid IN (SELECT relid FROM pg_partition_tree(home)))
    LOOP
        loose := loose || format('ALTER TABLE %s ADD CONSTRAINT %I %s', key.of, key.conname, key.def);
        IF key.said IS NOT NULL THEN
            loose := loose || format('COMMENT ON CONSTRAINT %I ON %s IS %L', key.conname, key.of, key.said);
        END IF;
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', key.of, key.conname);
    END LOOP;
    EXECUTE format('WITH came AS (INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s RETURNING ROW(%s)::text AS r)
                    SELECT count(*) FROM (SELECT ROW(%s)::text FROM %s EXCEPT ALL SELECT r FROM came) AS other',
                   home, columns, columns, beside, compared, compared, beside) INTO changed;
    IF changed > 0 THEN
        RAISE EXCEPTION 'a trigger of % changed % of the rows that come back', home, changed
            USING HINT = 'disable the trigger while the step is undone: ALTER TABLE … DISABLE TRIGGER …';
    END IF;
    EXECUTE format('DELETE FROM %s', beside);
    FOREACH stmt IN ARRAY loose LOOP EXECUTE stmt; END LOOP;
END ",
        Literal::new(table.to_string()),
        Literal::new(to.to_string()),
        empty,
        Literal::new(column.as_str())
    ))
}
