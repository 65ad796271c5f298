//! A foreign key of a partitioned table before PostgreSQL 18, which takes none NOT VALID there: the key on each leaf NOT VALID,
//! VALIDATE leaf by leaf, and then the key on the table itself. PostgreSQL attaches the leaves' keys to that one, since they are
//! equal and valid, and reads no row. Which leaves there are is known to the server alone, so the deed is a block that looks.

use crate::{
    sql,
    sql::{Ident, Literal, QName, Stmt},
};

/// A key, and what is done where the table is not partitioned.
pub(super) struct Leaves<'a> {
    pub table: &'a QName,
    pub name: &'a Ident,
    /// Everything behind the constraint's name.
    pub definition: Stmt,
}

/// No leaf has the key any more. On the table itself it is gone already, and took along what was attached to it; a table that is
/// not partitioned has no leaf.
pub(in crate::steps) fn drop(table: &QName, name: &Ident) -> Stmt {
    Stmt::block(&sql!(
        "DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree({}) t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || {};
    END LOOP;
END",
        Literal::new(table.to_string()),
        Literal::new(sql!(" DROP CONSTRAINT IF EXISTS {}", name).as_str())
    ))
}

/// VALIDATE of a key whose definition stands on the leaves alone, and the same on the table itself, which a leaf that came
/// meanwhile gets from there; of a table that is not partitioned, or has it itself, just VALIDATE.
pub(in crate::steps) fn take_in(table: &QName, name: &Ident) -> Stmt {
    let validate = Literal::new(sql!(" VALIDATE CONSTRAINT {}", name).as_str());
    Stmt::block(&sql!(
        "DECLARE leaf regclass; def text;
BEGIN
    IF EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = {0}::regclass AND c.conname = {1}) THEN
        EXECUTE 'ALTER TABLE ' || {0}::regclass || {2};
        RETURN;
    END IF;
    FOR leaf, def IN SELECT t.relid, pg_get_constraintdef(c.oid) FROM pg_partition_tree({0}) t
                       JOIN pg_constraint c ON c.conrelid = t.relid AND c.conname = {1} WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || {2};
    END LOOP;
    EXECUTE 'ALTER TABLE ' || {0}::regclass || {3} || regexp_replace(def, ' NOT VALID$', '');
END",
        Literal::new(table.to_string()),
        Literal::new(name.as_str()),
        validate,
        Literal::new(sql!(" ADD CONSTRAINT {} ", name).as_str())
    ))
}

impl Leaves<'_> {
    /// The key on each leaf that has none, not validated.
    pub fn add(&self) -> Stmt {
        let plain = sql!("ALTER TABLE {} ADD CONSTRAINT {} {} NOT VALID", self.table, self.name, self.definition);
        self.either(&self.missing(), &Stmt::raw(""), &plain)
    }

    /// VALIDATE on each leaf, also on those that came meanwhile, and the key on the table itself.
    pub fn validate(&self) -> Stmt {
        let each = sql!(
            "{}
            EXECUTE 'ALTER TABLE ' || leaf || {};",
            self.missing(),
            Literal::new(sql!(" VALIDATE CONSTRAINT {}", self.name).as_str())
        );
        let attach = sql!(
            "
        ALTER TABLE {} ADD CONSTRAINT {} {};",
            self.table,
            self.name,
            self.definition
        );
        self.either(&each, &attach, &sql!("ALTER TABLE {} VALIDATE CONSTRAINT {}", self.table, self.name))
    }

    /// See the function.
    pub fn drop(&self) -> Stmt {
        drop(self.table, self.name)
    }

    fn missing(&self) -> Stmt {
        sql!(
            "IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = {}) THEN
                EXECUTE 'ALTER TABLE ' || leaf || {};
            END IF;",
            Literal::new(self.name.as_str()),
            Literal::new(sql!(" ADD CONSTRAINT {} {} NOT VALID", self.name, self.definition).as_str())
        )
    }

    fn either(&self, each: &Stmt, after: &Stmt, plain: &Stmt) -> Stmt {
        let table = Literal::new(self.table.to_string());
        Stmt::block(&sql!(
            "DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = {0}::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree({0}) t WHERE t.isleaf LOOP
            {1}
        END LOOP;{2}
    ELSE
        {3};
    END IF;
END",
            table,
            each,
            after,
            plain
        ))
    }

    /// A query of one row about the leaves of `k`, of which the key `c` is `same` or not: what is in the way, `has`: whether each
    /// has it, `restore`: what brings back those of them that were valid, or had a comment.
    pub fn state(&self, same: &Stmt) -> Stmt {
        sql!(
            "SELECT coalesce(bool_and(c.oid IS NOT NULL), true) AS has, coalesce(bool_or(c.oid IS NOT NULL), false) AS begun,
                    CASE WHEN bool_or(l.relkind = 'f') THEN 'a foreign table among its partitions, which takes no foreign key: ' || string_agg(n.tab, ', ') FILTER (WHERE l.relkind = 'f')
                         ELSE coalesce(string_agg(format('constraint %I of %s: %s', c.conname, n.tab, pg_get_constraintdef(c.oid)), '; ') FILTER (WHERE ({0}) IS NOT TRUE AND c.oid IS NOT NULL),
                                       string_agg(e.equal, '; ')) END AS why,
                    array_remove(array_agg(CASE WHEN c.convalidated THEN format('ALTER TABLE %s VALIDATE CONSTRAINT %I', n.tab, c.conname) END)
                              || array_agg(format('COMMENT ON CONSTRAINT %I ON %s IS %L', c.conname, n.tab, obj_description(c.oid, 'pg_constraint')))
                                 FILTER (WHERE obj_description(c.oid, 'pg_constraint') IS NOT NULL), NULL) AS restore
               FROM pg_partition_tree(k.oid) p JOIN pg_class l ON l.oid = p.relid CROSS JOIN LATERAL (SELECT format('%s.%I', l.relnamespace::regnamespace, l.relname) AS tab) n
               LEFT JOIN pg_constraint c ON c.conrelid = l.oid AND c.conname = {1}
               LEFT JOIN LATERAL (SELECT format('constraint %I of %s, which that of the parent would take along', c.conname, n.tab) AS equal
                                    FROM pg_constraint c WHERE c.conrelid = l.oid AND c.conname <> {1} AND c.conparentid = 0 AND ({0})) e ON true
              WHERE p.isleaf AND k.relkind = 'p'",
            same,
            Literal::new(self.name.as_str())
        )
    }
}
