//! Makes a global UNIQUE one within each tenant: (email) becomes (tenant_id, email), whether a constraint or a unique index,
//! of columns or expressions, whole or partial. What the old one has besides its keys the new one has too.
//!
//! Lock: the new index is built CONCURRENTLY (SHARE UPDATE EXCLUSIVE; readers and writers go on). Then, in one transaction and
//! for a moment under ACCESS EXCLUSIVE, it becomes the constraint and the old one is dropped: at no moment is neither there.
//! From then on `ON CONFLICT (email)` fails (42P10) and `ON CONFLICT (tenant_id, email)` works; both work between the two units.
//! A partitioned table: an index is built CONCURRENTLY on each partition, and the exchange takes them in from the partitions upwards
//! (ACCESS EXCLUSIVE on all of them, for a moment). The tenant's column need not be in the partition key.
//! Refused before anything is touched: an old one that foreign keys or other objects need, and one that is the replica identity
//! while the tenant may be NULL. A primary key is never taken for it.
//! Undo: builds the old one CONCURRENTLY again, then gives it back its name, comment and marks and drops the new one, in one
//! transaction. Once tenants share keys that would fail: a rollback looks for such keys first, and is refused.

mod exchange;
mod state;

use serde::Deserialize;

use super::{Object, StepKind, create_index::Part};
use crate::{
    checks::{CheckKind, Gate, Guard, Measure, invalid_indexes::InvalidIndexes},
    plan::{Deals, Lowering, Site},
    sql,
    sql::{Expr, Ident, List, Literal, QName, Stmt},
    unit::{Down, Due, Growth, Hold, IndexShape, Lock, LockLevel, Op, Unit},
};
use state::State;

/// A step of the kind `scope_unique`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeUnique {
    table: QName,
    /// What is unique now: names, or `{ expr = "lower(email)" }`, in the order of the index.
    columns: Vec<Part>,
    /// The condition of a partial index.
    r#where: Option<Expr>,
    /// The tenant column, where it is not [tenancy]'s.
    column: Option<Ident>,
    /// The old one's name; needed where it has an expression or a condition, or where several have the same columns.
    constraint: Option<Ident>,
    /// The new one's name; without it, the one that PostgreSQL would give a constraint: `table_tenant_column_key`.
    name: Option<Ident>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind    = "scope_unique"
table   = "app.members"
columns = ["email"]
column  = "tenant_id"
"#;

impl StepKind for ScopeUnique {
    fn default_id(&self) -> String {
        let words = self.columns.iter().map(Part::word);
        let parts: Vec<&str> = [self.table.name.as_str()].into_iter().chain(words).chain(["scoped"]).collect();
        parts.join("-")
    }

    fn check(&mut self, site: &mut Site<'_>) {
        if self.columns.is_empty() {
            site.error("columns", "TM0365", "a unique constraint has at least one column");
        }
        if self.columns.iter().any(|part| !part.is_plain()) {
            site.error("columns", "TM0366", "order, operator class and collation are taken over from the old index")
                .help("name the column, or write { expr = \"…\" }");
        }
        let odd = self.r#where.is_some() || self.columns.iter().any(|part| part.column().is_none());
        if odd && self.constraint.is_none() {
            site.error("columns", "TM0362", "an index over an expression or with a condition is found by its name")
                .help("write constraint = \"…\" with the name of the unique index");
        }
        if self.column.is_none() {
            self.column = site.tenancy().map(|tenancy| tenancy.column.clone());
            if self.column.is_none() && site.lacks_tenancy() {
                site.error("column", "TM0363", "the step does not know the tenant's column: the plan has no [tenancy]")
                    .help("write [tenancy], or column = \"tenant_id\"");
            }
        }
        if let Some(tenant) = &self.column
            && self.columns.iter().any(|part| part.column() == Some(tenant))
        {
            site.error("columns", "TM0364", format!("`{}` is among the columns already", tenant.as_str()))
                .help("name the columns that are unique over all tenants now");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let Some(state) = self.state() else { return Vec::new() };
        let (table, keys) = (&self.table, self.keys());
        let (old, new) = (self.usual_name(), state.new.clone());
        let scratch = table.sibling(state.scratch.clone());
        let drop_scratch = sql!("DROP INDEX CONCURRENTLY IF EXISTS {}", scratch);
        let due = |query: Stmt, restores: bool| Some(Due { table: table.clone(), query, restores });
        let build = Unit {
            id: cx.unit("index"),
            title: format!("build the unique index of {table} ({}, {keys}) concurrently", state.tenant),
            up: Op::Autocommit {
                stmt: self.build(&state.scratch, &sql!("{}, {}", state.tenant, keys)),
                repair: vec![drop_scratch.clone()],
                due: due(state.build(), false),
            },
            down: Down::Op(Op::Autocommit { stmt: drop_scratch, repair: Vec::new(), due: due(state.unbuild(), false) }),
            probe: state.built(),
            lock: Lock::on(LockLevel::ShareUpdateExclusive, table, Hold::Scan),
            loses: None,
            guards_rows: false,
            grows: Growth::Index(Box::new(self.shape(&state))),
        };
        // Which one goes the catalogue says, where the plan does not.
        let given = self.constraint.as_ref().map_or(String::new(), |old| format!(" for {old}"));
        let swap = Unit {
            id: cx.unit("swap"),
            title: format!("make {table} ({keys}) unique within a tenant, and no longer over all: {new}{given}"),
            up: Op::Autocommit {
                stmt: self.exchange(&state.scratch, &new, &old),
                repair: Vec::new(),
                due: due(state.swap(), false),
            },
            down: Down::Op(Op::Autocommit {
                stmt: sql!("{};\n{}", self.build(&state.returning, &keys), self.exchange(&state.returning, &old, &new)),
                repair: Vec::new(),
                due: due(state.unswap(), true),
            }),
            probe: state.swapped(),
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        };
        vec![build, swap]
    }

    fn gates(&self, _cx: &Lowering<'_>) -> Vec<Gate> {
        vec![InvalidIndexes { tables: vec![self.table.clone()] }.lower()]
    }

    fn guards(&self, cx: &Lowering<'_>) -> Vec<Guard> {
        let guard = |state| Guard { gate: self.shared(&state), of: Some(cx.unit("swap")), consent: None };
        self.state().map(guard).into_iter().collect()
    }

    fn deals(&self) -> Option<Deals> {
        let columns = self.columns.iter().filter_map(|part| part.column().cloned()).collect();
        Some(Deals::UniqueKey { table: self.table.clone(), columns, name: self.constraint.clone() })
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let keys = self.columns.iter().filter_map(|part| part.column().map(|column| ("columns", column)));
        let all = keys.chain(self.column.iter().map(|column| ("column", column)));
        let columns = all.map(|(key, column)| (key, Object::Column(self.table.clone(), column.clone())));
        [("table", Object::Table(self.table.clone()))].into_iter().chain(columns).collect()
    }
}

impl ScopeUnique {
    /// The queries about it; `check` left no step without a tenant column.
    fn state(&self) -> Option<State<'_>> {
        let tenant = self.column.as_ref()?;
        let words = self.columns.iter().map(Part::word);
        let parts: Vec<&str> =
            [self.table.name.as_str(), tenant.as_str()].into_iter().chain(words).chain(["key"]).collect();
        let new = self.name.clone().unwrap_or_else(|| Ident::derived(&parts));
        Some(State {
            table: &self.table,
            tenant,
            keys: self.columns.iter().map(Part::column).collect(),
            partial: self.r#where.is_some(),
            constraint: self.constraint.as_ref(),
            scratch: Ident::derived(&[new.as_str(), "tenantmig"]),
            returning: Ident::derived(&[new.as_str(), "tenantmig_old"]),
            new,
        })
    }

    fn keys(&self) -> Stmt {
        sql!("{}", List(&self.columns.iter().map(Part::sql).collect::<Vec<_>>(), ", "))
    }

    /// The old one's name as far as the plan knows it: as PostgreSQL would have chosen it.
    fn usual_name(&self) -> Ident {
        let words = self.columns.iter().map(Part::word);
        let parts: Vec<&str> = [self.table.name.as_str()].into_iter().chain(words).chain(["key"]).collect();
        self.constraint.clone().unwrap_or_else(|| Ident::derived(&parts))
    }

    /// What the build usually reads as. The server's own text of the old index says what is run.
    fn build(&self, name: &Ident, keys: &Stmt) -> Stmt {
        let condition = self.r#where.as_ref().map_or(Stmt::raw(""), |condition| sql!(" WHERE {}", condition));
        sql!("CREATE UNIQUE INDEX CONCURRENTLY {} ON {} ({}){}", name, self.table, keys, condition)
    }

    /// What the exchange usually reads as: of constraints, unless only an index can be so.
    fn exchange(&self, built: &Ident, comes: &Ident, goes: &Ident) -> Stmt {
        let table = &self.table;
        if self.r#where.is_some() || self.columns.iter().any(|part| part.column().is_none()) {
            let (built, goes) = (table.sibling(built.clone()), table.sibling(goes.clone()));
            return sql!("BEGIN;\nALTER INDEX {} RENAME TO {};\nDROP INDEX {};\nCOMMIT", built, comes, goes);
        }
        sql!(
            "BEGIN;\nALTER TABLE {0} ADD CONSTRAINT {1} UNIQUE USING INDEX {2};\nALTER TABLE {0} DROP CONSTRAINT {3};\nCOMMIT",
            table,
            comes,
            built,
            goes
        )
    }

    fn shape(&self, state: &State<'_>) -> IndexShape {
        let columns = self.columns.iter().filter_map(|part| part.column().cloned());
        IndexShape {
            table: self.table.clone(),
            name: state.scratch.clone(),
            method: Ident::derived(&["btree"]),
            unique: true,
            columns: [state.tenant.clone()].into_iter().chain(columns).collect(),
            exprs: self.columns.iter().filter_map(Part::expr).cloned().collect(),
            included: 0,
            condition: self.r#where.clone(),
            fillfactor: None,
            tablespace: None,
        }
    }

    /// The keys that more than one row has: with them, no index over the keys alone can be unique. NULLs count as equal only
    /// where the index that stands there says so (its column came with 15, and is read through JSON).
    fn shared(&self, state: &State<'_>) -> Gate {
        let (table, tenant) = (&self.table, state.tenant);
        let exprs: Vec<Stmt> = self.columns.iter().map(Part::sql).collect();
        let filled: Vec<Stmt> = exprs.iter().map(|expr| sql!("{} IS NOT NULL", expr)).collect();
        let condition = self.r#where.as_ref().map_or(Stmt::raw("true"), |condition| sql!("({})", condition));
        let keys = self.keys();
        let query = sql!(
            "SELECT {} AS what, count(*) AS found,
                    (array_agg(format('(%s) in the tenants %s', s.key, s.tenants) ORDER BY s.key COLLATE \"C\"))[1] AS example
               FROM (SELECT concat_ws(', ', {}) AS key,
                            (SELECT string_agg(coalesce(e.tenant, 'NULL'), ', ' ORDER BY e.tenant)
                               FROM unnest((array_agg(DISTINCT {}::text))[:3]) AS e (tenant)) AS tenants
                       FROM {} WHERE {} AND ({} OR {})
                      GROUP BY {} HAVING count(*) > 1) s
             HAVING count(*) > 0",
            Literal::new(format!("keys of {table} ({keys}) that more than one row has")),
            List(&exprs, ", "),
            tenant,
            table,
            condition,
            List(&filled, " AND "),
            state.nulls_alike(),
            List(&exprs, ", ")
        );
        Gate {
            id: format!("shared_keys:{table} ({keys})"),
            kind: "shared_keys".to_owned(),
            title: format!("no two tenants share a key of {table} ({keys})"),
            query,
            baseline: None,
            tables: vec![table.clone()],
            wait: None,
            measure: Measure::Query,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{finds, lower};

    #[test]
    fn what_the_step_cannot_do_is_found() {
        let step = |rest: &str| format!("kind = \"scope_unique\"\ntable = \"app.t\"\n{rest}");
        finds(super::EXAMPLE, &[]);
        finds(&step("columns = [\"email\"]"), &["TM0363"]);
        finds(&step("columns = []\ncolumn = \"t\""), &["TM0365"]);
        finds(&step("columns = [\"t\"]\ncolumn = \"t\""), &["TM0364"]);
        finds(&step("columns = [{ column = \"a\", order = \"desc\" }]\ncolumn = \"t\""), &["TM0366"]);
        finds(&step("columns = [{ expr = \"lower(a)\" }]\ncolumn = \"t\""), &["TM0362"]);
        finds(&step("columns = [{ expr = \"lower(a)\" }]\ncolumn = \"t\"\nconstraint = \"i\""), &[]);
    }

    #[test]
    fn the_new_one_has_the_name_of_a_constraint() {
        let (units, _) = lower(super::EXAMPLE, 150_000);
        let titles: Vec<&str> = units.iter().map(|unit| unit.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "build the unique index of app.members (tenant_id, email) concurrently",
                "make app.members (email) unique within a tenant, and no longer over all: members_tenant_id_email_key",
            ]
        );
    }
}
