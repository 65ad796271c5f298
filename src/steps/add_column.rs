//! Adds a column.
//!
//! Lock: ACCESS EXCLUSIVE for a moment; the catalogue changes, no row is written. A constant default is stored in the
//! catalogue (`attmissingval`), so even a table of any size keeps its rows. A default that PostgreSQL would have to evaluate
//! for each row (or a generated or identity column) rewrites the table under that lock and is refused unless
//! `allow_rewrite = true`.
//! Undo: drops the column, unless it was there before. The values that would not come again by themselves (those that the
//! application wrote, where they are not what a backfill of the plan gives) are kept in the ledger's schema first, by primary key
//! (or a unique one that is NOT NULL) and in batches, while a trigger follows what is written; the next apply writes them back. A
//! table without a key can keep none: there the rollback is refused while such values are there (`--allow-data-loss`).

pub mod keep;

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    checks::Guard,
    plan::{Lowering, Site},
    sql,
    sql::{Expr, Ident, Literal, QName, Stmt, TypeName, mask},
    unit::{Down, Growth, Hold, KeepSpec, Lock, LockLevel, Op, Probe, Twin, Unit},
};

/// A step of the kind `add_column`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddColumn {
    table: QName,
    column: Ident,
    r#type: TypeName,
    /// An expression, as DEFAULT takes it: `'x'`, `0`, `now()`.
    default: Option<Expr>,
    #[serde(default)]
    not_null: bool,
    /// The default may be evaluated once for each row, under the lock.
    #[serde(default)]
    allow_rewrite: bool,
    comment: Option<String>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind   = "add_column"
table  = "app.users"
column = "tenant_id"
type   = "uuid"
"#;

impl StepKind for AddColumn {
    fn default_id(&self) -> String {
        format!("{}-{}", self.table.name.as_str(), self.column.as_str())
    }

    fn check(&mut self, site: &mut Site<'_>) {
        if let Some(default) = &self.default
            && !self.allow_rewrite
            && !is_constant(default.as_str())
        {
            site.error("default", "TM0201", format!("the default `{default}` may rewrite the whole table under ACCESS EXCLUSIVE"))
                .help("write a constant, or add the column without a default and fill it with a backfill step, or set allow_rewrite = true");
        }
        if self.not_null && self.default.is_none() {
            site.error("not_null", "TM0202", "a NOT NULL column without a default fails on a table that has rows")
                .help("add it without not_null, fill it with a backfill step, then use a set_not_null step");
        }
        let generated = self.r#type.as_str().to_ascii_lowercase();
        if ["serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"].contains(&generated.as_str())
            && !self.allow_rewrite
        {
            site.error(
                "type",
                "TM0201",
                format!("`{generated}` numbers every row, which rewrites the whole table under ACCESS EXCLUSIVE"),
            )
            .help("use bigint and a backfill step, or set allow_rewrite = true");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, column, ty) = (&self.table, &self.column, &self.r#type);
        let default = self.default.as_ref().map_or(Stmt::raw(""), |d| sql!(" DEFAULT {}", d));
        let not_null = Stmt::raw(if self.not_null { " NOT NULL" } else { "" });
        let mut up = vec![sql!("ALTER TABLE {} ADD COLUMN {} {}{}{}", table, column, ty, default, not_null)];
        if let Some(comment) = &self.comment {
            up.push(sql!("COMMENT ON COLUMN {}.{} IS {}", table, column, Literal::new(comment.clone())));
        }
        let rewrites = self.allow_rewrite;
        let spec = Box::new(self.kept(cx));
        let column_unit = Unit {
            id: cx.unit("column"),
            title: format!("add column {column} {ty} to {table}"),
            up: Op::Tx(up),
            down: Down::tx([
                keep::unfollow(table, column),
                sql!("ALTER TABLE {} DROP COLUMN IF EXISTS {}", table, column),
            ]),
            probe: probe(table, column, ty),
            lock: Lock::on(LockLevel::AccessExclusive, table, if rewrites { Hold::Rewrite } else { Hold::Moment }),
            loses: Some(format!(
                "the values of {table}.{column} (what would not come again is kept for the next apply)"
            )),
            guards_rows: false,
            grows: Growth::Little,
        };
        let values = Unit {
            id: cx.unit("values"),
            title: format!("bring back kept values of {table}.{column}, where there are any"),
            up: Op::Restore(spec.clone()),
            down: Down::Op(Op::Keep(spec)),
            probe: Probe::Ledger,
            lock: Lock::on(LockLevel::RowExclusive, table, Hold::Batch),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        };
        vec![column_unit, values]
    }

    fn guards(&self, cx: &Lowering<'_>) -> Vec<Guard> {
        vec![keep::guard(&self.kept(cx))]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        vec![("table", Object::Table(self.table.clone()))]
    }

    fn makes(&self) -> Vec<(Object, &'static str)> {
        vec![(Object::Column(self.table.clone(), self.column.clone()), "column")]
    }
}

impl AddColumn {
    fn kept(&self, cx: &Lowering<'_>) -> KeepSpec {
        let column = Object::Column(self.table.clone(), self.column.clone());
        KeepSpec {
            table: self.table.clone(),
            column: self.column.clone(),
            ty: self.r#type.clone(),
            fresh: self.default.clone(),
            // A row that has the default is not filled.
            again: cx.filled.get(&column).filter(|_| self.default.is_none()).cloned(),
            of: cx.unit("column"),
        }
    }
}

/// A column of that name and type is the deed; one of another type is in its way. The plan may spell the type otherwise
/// than the server does (`int8`, `numeric(12,2)`), so a column that is there is compared with a twin.
fn probe(table: &QName, column: &Ident, ty: &TypeName) -> Probe {
    let state = |here: &str, twin: Stmt| {
        sql!(
            "SELECT CASE WHEN a.attnum IS NULL THEN 'absent' WHEN {} THEN 'present' ELSE {} END,
                    'column of type ' || format_type(a.atttypid, a.atttypmod), NULL::text[]
               FROM (SELECT to_regclass({}) AS rel) t
               LEFT JOIN pg_attribute a ON a.attrelid = t.rel AND a.attname = {} AND a.attnum > 0 AND NOT a.attisdropped",
            twin,
            Literal::new(here),
            Literal::new(table.to_string()),
            Literal::new(column.as_str())
        )
    };
    let same = sql!(
        "EXISTS (SELECT FROM pg_attribute w WHERE w.attrelid = to_regclass('pg_temp.tenantmig_twin') AND w.attnum = 1
                    AND (w.atttypid, w.atttypmod) = (a.atttypid, a.atttypmod))"
    );
    Probe::Catalog {
        query: state("compare", Stmt::raw("false")),
        twin: Some(Twin {
            setup: vec![sql!("CREATE TEMPORARY TABLE tenantmig_twin (c {}) ON COMMIT DROP", ty)],
            query: state("conflict", same),
        }),
    }
}

/// Literals, signed numbers, casts of them, and the constants of the language: what PostgreSQL evaluates once.
/// STABLE functions such as now() are evaluated once too, but stamp the time of the migration on every old row.
pub(super) fn is_constant(default: &str) -> bool {
    let (text, seen) = (default.trim(), mask(default.trim()));
    // Only a type may follow the cast, or an operator after it would be taken for a part of the constant.
    let (end, cast) = seen.find("::").map_or((text.len(), ""), |at| (at, &text[at + 2..]));
    let is_type = |ty: &str| TypeName::parse(ty).is_ok();
    let (value, rest) = (text[..end].trim(), seen[..end].trim());
    let word = value.to_ascii_lowercase();
    let quoted = value.starts_with('\'') && rest.is_empty();
    (cast.is_empty() || cast.split("::").all(is_type))
        && (quoted || ["true", "false", "null"].contains(&word.as_str()) || value.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_constant;

    #[test]
    fn constants_are_told_from_what_rewrites() {
        for yes in [
            "'x'",
            "0",
            "-1.5",
            "true",
            "NULL",
            "'a'::text",
            "'::1'::inet",
            "'a'::text::name",
            "'00000000-0000-0000-0000-000000000001'::uuid",
        ] {
            assert!(is_constant(yes), "{yes}");
        }
        for no in ["gen_random_uuid()", "now()", "nextval('s')", "random()", "current_setting('app.t')::uuid", "id"] {
            assert!(!is_constant(no), "{no}");
        }
        for no in ["'a' || random() || 'b'", "'a'::text || random()", "1::int + nextval('s')", "'a' || f('b')"] {
            assert!(!is_constant(no), "{no}");
        }
    }
}
