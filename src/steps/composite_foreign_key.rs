//! Points a foreign key at a row of the same tenant: (user_id) → (id) becomes (tenant_id, user_id) → (tenant_id, id), with the
//! actions and the deferrability of the one that it replaces.
//!
//! Lock: the parent's unique index over (tenant_id, id) is built CONCURRENTLY where there is none (SHARE UPDATE EXCLUSIVE on the
//! parent). The key is added NOT VALID (SHARE ROW EXCLUSIVE on both tables for a moment), and its rows are read under SHARE
//! UPDATE EXCLUSIVE, which lets readers and writers go on. Then the old key is dropped (ACCESS EXCLUSIVE on both for a moment),
//! so that no row is ever unchecked. With `replace = false` it stays.
//! ON DELETE SET NULL clears the columns that the old key had and not the tenant, which needs PostgreSQL 15; before, and with
//! ON UPDATE SET NULL, it is refused. A partitioned table takes no NOT VALID foreign key before 18: there each partition gets it,
//! VALIDATE reads one after the other, and then the table's own key takes them in without reading a row.
//! Undo: adds the old key NOT VALID under its name and with its comment, validates it, then drops the new key and the index.

mod state;

use serde::Deserialize;

use super::{
    Object, StepKind,
    add_foreign_key::{Action, NOT_VALID_ON_PARTITIONED, leaves},
    create_index::CreateIndex,
};
use crate::{
    checks::{CheckKind, Gate, Guard, Measure, invalid_indexes::InvalidIndexes},
    plan::{Deals, Lowering, Site},
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{Down, Due, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};
use state::State;

/// A step of the kind `composite_foreign_key`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompositeForeignKey {
    table: QName,
    /// Without the tenant's.
    columns: Vec<Ident>,
    references: References,
    /// The tenant column, where it is not [tenancy]'s.
    column: Option<Ident>,
    /// The new key's name; without it, the one that PostgreSQL would choose: `table_tenant_column_fkey`.
    name: Option<Ident>,
    /// The old key's name, where several lead the same way.
    constraint: Option<Ident>,
    /// Those of the old key where they are left out.
    on_delete: Option<Action>,
    on_update: Option<Action>,
    /// The old key goes when the new one is valid.
    #[serde(default = "yes")]
    replace: bool,
}

/// What the key points at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct References {
    table: QName,
    columns: Vec<Ident>,
    /// The parent's tenant column; the same name where it is left out.
    column: Option<Ident>,
}

fn yes() -> bool {
    true
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind       = "composite_foreign_key"
table      = "app.badges"
columns    = ["member_id"]
references = { table = "app.members", columns = ["id"] }
column     = "tenant_id"
"#;

impl StepKind for CompositeForeignKey {
    fn default_id(&self) -> String {
        let columns = self.columns.iter().map(Ident::as_str);
        let parts: Vec<&str> = [self.table.name.as_str()].into_iter().chain(columns).chain(["composite"]).collect();
        parts.join("-")
    }

    fn check(&mut self, site: &mut Site<'_>) {
        let parent = &self.references;
        if self.columns.is_empty() {
            site.error("columns", "TM0370", "a foreign key has at least one column beside the tenant's");
        }
        if self.columns.len() != parent.columns.len() {
            let (ours, theirs) = (self.columns.len(), parent.columns.len());
            site.error("references", "TM0371", format!("`columns` names {ours}, and `references` {theirs}")).help(
                "name as many columns in `references` as in `columns`, in the same order, the tenant's in neither",
            );
        }
        for (key, columns) in [("columns", &self.columns), ("references", &parent.columns)] {
            if let Some(twice) = columns.iter().enumerate().find(|(i, c)| columns[..*i].contains(c)) {
                site.error(key, "TM0372", format!("the column `{}` is named twice", twice.1.as_str()));
            }
        }
        if self.on_update.is_some_and(Action::clears) {
            site.error("on_update", "TM0373", "on update would clear the tenant's column too")
                .help("PostgreSQL knows a list of columns for on_delete alone: write \"cascade\", or leave it out");
        }
        if self.column.is_none() {
            self.column = site.tenancy().map(|tenancy| tenancy.column.clone());
            if self.column.is_none() && site.lacks_tenancy() {
                site.error("column", "TM0363", "the step does not know the tenant's column: the plan has no [tenancy]")
                    .help("write [tenancy], or column = \"tenant_id\"");
            }
        }
        if let Some(tenant) = &self.column
            && self.columns.contains(tenant)
        {
            site.error("columns", "TM0364", format!("`{}` is among the columns already", tenant.as_str()))
                .help("name the columns of the key as it is now: the step adds the tenant's on both sides");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let Some(state) = self.state() else { return Vec::new() };
        let mut units = self.index(cx, &state);
        units.push(self.add(cx, &state));
        units.push(self.validate(cx, &state));
        if self.replace {
            units.push(self.drop_old(cx, &state));
        }
        units
    }

    fn gates(&self, _cx: &Lowering<'_>) -> Vec<Gate> {
        vec![InvalidIndexes { tables: vec![self.references.table.clone()] }.lower()]
    }

    fn guards(&self, cx: &Lowering<'_>) -> Vec<Guard> {
        let guard = |state| Guard { gate: self.unchecked(&state), of: Some(cx.unit("replace")), consent: None };
        self.state().filter(|_| self.replace).map(guard).into_iter().collect()
    }

    fn deals(&self) -> Option<Deals> {
        let key = || Deals::ForeignKey { table: self.table.clone(), columns: self.columns.clone() };
        self.replace.then(key)
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let parent = &self.references;
        let ours = self.columns.iter().chain(&self.column).map(|c| ("columns", &self.table, c));
        let tenant = parent.column.as_ref().or(self.column.as_ref());
        let theirs = parent.columns.iter().chain(tenant).map(|c| ("references", &parent.table, c));
        ours.chain(theirs).map(|(key, table, c)| (key, Object::Column(table.clone(), c.clone()))).collect()
    }
}

impl CompositeForeignKey {
    /// The queries about it; `check` left no step without a tenant column.
    fn state(&self) -> Option<State<'_>> {
        let tenant = self.column.as_ref()?;
        let columns = self.columns.iter().map(Ident::as_str);
        let parts: Vec<&str> =
            [self.table.name.as_str(), tenant.as_str()].into_iter().chain(columns).chain(["fkey"]).collect();
        Some(State {
            child: &self.table,
            parent: &self.references.table,
            tenant: (tenant, self.references.column.as_ref().unwrap_or(tenant)),
            pairs: self.columns.iter().zip(&self.references.columns).collect(),
            constraint: self.constraint.as_ref(),
            on_delete: self.on_delete,
            on_update: self.on_update,
            name: self.name.clone().unwrap_or_else(|| Ident::derived(&parts)),
        })
    }

    /// The old key's name as far as the plan knows it: as PostgreSQL would have chosen it.
    fn usual_name(&self) -> Ident {
        let columns = self.columns.iter().map(Ident::as_str);
        let parts: Vec<&str> = [self.table.name.as_str()].into_iter().chain(columns).chain(["fkey"]).collect();
        self.constraint.clone().unwrap_or_else(|| Ident::derived(&parts))
    }

    /// The parent's unique index, which the key needs; another one over the same columns does as well.
    fn index(&self, cx: &Lowering<'_>, state: &State<'_>) -> Vec<Unit> {
        let columns = [state.tenant.1].into_iter().chain(&self.references.columns).cloned();
        let index = CreateIndex::unique_over(&self.references.table, columns.collect());
        let mut units = index.lower(cx);
        for unit in &mut units {
            if let Probe::Catalog { query, .. } = &mut unit.probe {
                *query = state.or_another(query, &index.name());
            }
        }
        units
    }

    fn add(&self, cx: &Lowering<'_>, state: &State<'_>) -> Unit {
        let (table, name, parent) = (&self.table, &state.name, &self.references.table);
        let both = Lock::on(LockLevel::ShareRowExclusive, table, Hold::Moment);
        let keys = state.keys();
        let mut gone = vec![sql!("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}", table, name)];
        if cx.server.version_num < NOT_VALID_ON_PARTITIONED {
            gone.push(leaves::drop(table, name));
        }
        Unit {
            id: cx.unit("add"),
            title: format!("add foreign key {name} from {table} ({}) to {parent}, not validated", keys.0),
            up: Op::Autocommit {
                stmt: sql!("ALTER TABLE {} ADD CONSTRAINT {} {} NOT VALID", table, name, self.usual_definition(state)),
                repair: Vec::new(),
                due: Some(Due { table: table.clone(), query: state.add(), restores: false }),
            },
            down: Down::tx(gone),
            probe: state.added(),
            lock: if parent == table { both } else { both.and(parent) },
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }

    /// What it usually reads as. The old key in the catalogue says what is run.
    fn usual_definition(&self, state: &State<'_>) -> Stmt {
        let (ours, theirs) = state.keys();
        let actions = |event: &str, action: Option<Action>| {
            action.map_or(Stmt::raw(""), |action| sql!(" {} {}", Stmt::raw(event), action.sql().0))
        };
        sql!(
            "FOREIGN KEY ({}) REFERENCES {} ({}){}{}",
            ours,
            self.references.table,
            theirs,
            actions("ON UPDATE", self.on_update),
            actions("ON DELETE", self.on_delete)
        )
    }

    fn validate(&self, cx: &Lowering<'_>, state: &State<'_>) -> Unit {
        let (table, name) = (&self.table, &state.name);
        Unit {
            id: cx.unit("validate"),
            title: format!("validate foreign key {name} of {table}"),
            up: Op::Tx(vec![if cx.server.version_num < NOT_VALID_ON_PARTITIONED {
                leaves::take_in(table, name)
            } else {
                sql!("ALTER TABLE {} VALIDATE CONSTRAINT {}", table, name)
            }]),
            // PostgreSQL cannot take a validation back: the probe's `restore` drops the key and adds it as it was, NOT VALID.
            down: Down::tx([]),
            probe: state.validated(),
            lock: Lock::on(LockLevel::ShareUpdateExclusive, table, Hold::Scan),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }

    fn drop_old(&self, cx: &Lowering<'_>, state: &State<'_>) -> Unit {
        let (table, parent, old) = (&self.table, &self.references.table, self.usual_name());
        let both = Lock::on(LockLevel::AccessExclusive, table, Hold::Moment);
        // Which one it is the catalogue says, where the plan does not.
        let named = self.constraint.as_ref().map_or(String::new(), |name| format!(" {name}"));
        let columns = self.columns.iter().map(Ident::to_string).collect::<Vec<_>>().join(", ");
        let due = |query: Stmt, restores: bool| Some(Due { table: table.clone(), query, restores });
        let again = sql!(
            "ALTER TABLE {0} ADD CONSTRAINT {1} FOREIGN KEY ({2}) REFERENCES {3} ({4}) NOT VALID;\nALTER TABLE {0} VALIDATE CONSTRAINT {1}",
            table,
            old,
            List(&self.columns, ", "),
            parent,
            List(&self.references.columns, ", ")
        );
        Unit {
            id: cx.unit("replace"),
            title: format!("drop the foreign key{named} of {table} ({columns}), which does not look at the tenant"),
            up: Op::Autocommit {
                stmt: sql!("ALTER TABLE {} DROP CONSTRAINT {}", table, old),
                repair: Vec::new(),
                due: due(state.drop_old(), false),
            },
            down: Down::Op(Op::Autocommit { stmt: again, repair: Vec::new(), due: due(state.restore_old(), true) }),
            probe: state.replaced(),
            lock: if parent == table { both } else { both.and(parent) },
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }

    /// A row without a tenant is not looked at by the new key (MATCH SIMPLE), so that it may point at nobody; the old key could
    /// then not be validated again.
    fn unchecked(&self, state: &State<'_>) -> Gate {
        let (table, parent) = (&self.table, &self.references.table);
        let names: Vec<&str> = self.columns.iter().map(Ident::as_str).collect();
        let columns = names.join(", ");
        let (filled, equal): (Vec<Stmt>, Vec<Stmt>) = state
            .pairs
            .iter()
            .map(|(ours, theirs)| (sql!("row.{} IS NOT NULL", ours), sql!("parent.{} = row.{}", theirs, ours)))
            .unzip();
        let shown: Vec<Stmt> = self.columns.iter().map(|column| sql!("row.{}", column)).collect();
        let query = sql!(
            "SELECT {} AS what, count(*) AS found, min(concat_ws(', ', {})) AS example
               FROM {} AS row
              WHERE row.{} IS NULL AND {} AND NOT EXISTS (SELECT FROM {} AS parent WHERE {})
             HAVING count(*) > 0",
            Literal::new(format!("rows of {table} without a tenant whose ({columns}) is not in {parent}")),
            List(&shown, ", "),
            table,
            state.tenant.0,
            List(&filled, " AND "),
            parent,
            List(&equal, " AND ")
        );
        Gate {
            id: format!("unchecked_rows:{table} ({columns})"),
            kind: "unchecked_rows".to_owned(),
            title: format!("no row of {table} without a tenant points at nobody by ({columns})"),
            query,
            baseline: None,
            tables: vec![table.clone(), parent.clone()],
            wait: None,
            measure: Measure::Query,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{finds, lower};

    #[test]
    fn what_cannot_be_a_key_is_found() {
        let key = |columns: &str, references: &str, rest: &str| {
            format!(
                "kind = \"composite_foreign_key\"\ntable = \"app.t\"\ncolumns = {columns}\nreferences = {{ table = \"app.p\", columns = {references} }}\n{rest}"
            )
        };
        let tenant = "column = \"t\"";
        finds(super::EXAMPLE, &[]);
        finds(&key("[]", "[]", tenant), &["TM0370"]);
        finds(&key("[\"a\"]", "[\"a\", \"b\"]", tenant), &["TM0371"]);
        finds(&key("[\"a\", \"a\"]", "[\"b\", \"c\"]", tenant), &["TM0372"]);
        finds(&key("[\"a\"]", "[\"b\"]", "column = \"t\"\non_update = \"set null\""), &["TM0373"]);
        finds(&key("[\"a\"]", "[\"b\"]", ""), &["TM0363"]);
        finds(&key("[\"t\"]", "[\"b\"]", tenant), &["TM0364"]);
    }

    #[test]
    fn the_old_key_may_stay() {
        let parts = |step: &str| lower(step, 150_000).0.iter().map(|unit| unit.id.0.clone()).collect::<Vec<_>>();
        assert_eq!(parts(super::EXAMPLE).len(), 4);
        assert_eq!(parts(&format!("{}\nreplace = false", super::EXAMPLE.trim())).len(), 3);
    }
}
