//! One `[[table]]`: a table of the tenants' rows, and what is to become of it.

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, de::IgnoredAny};
use toml::{
    Spanned,
    de::{DeValue, Deserializer},
};

use super::{
    line::text,
    way::{Way, way},
};
use crate::{
    diag::{Diag, Diags},
    plan::{
        mend::Node,
        section::{self, Table},
        wording::a,
    },
    sql::{Expr, Ident, QName},
};

/// A `[[table]]` as it was read.
#[derive(Debug)]
pub struct Entry<'i> {
    pub name: QName,
    /// Of the name.
    pub named: Range<usize>,
    /// Of the header.
    pub place: Range<usize>,
    /// `None` where it is wrong or not decided, which has been told.
    pub way: Option<Way<'i>>,
    /// Each a `create_index` without its table; `None` where the plan says nothing.
    pub index: Option<Vec<Table<'i>>>,
    /// Each a `scope_unique` without its table.
    pub unique: Vec<Table<'i>>,
    /// Each a `composite_foreign_key` without its table.
    pub composite: Vec<Table<'i>>,
    pub write_path: WritePath,
    pub on_orphan: Option<Orphans>,
    /// What the backfill leaves as it is though the application's triggers would set it.
    pub keep: Option<Node<'i>>,
    pub foreign_key: bool,
    pub on_delete: Option<Node<'i>>,
    pub not_null: bool,
    pub enforce: bool,
    /// A condition of its policies beyond the tenant.
    pub extra: Option<Node<'i>>,
    /// The places of the keys that it writes.
    pub keys: BTreeMap<String, Range<usize>>,
    /// Another table has the same name in another schema, so that the ids of its steps carry the schema.
    pub homonym: bool,
}

/// Who gives a row that is written meanwhile its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WritePath {
    /// A trigger, for an application that knows no tenant.
    #[default]
    Trigger,
    /// The column's default, for one that sets the context.
    Default,
    /// The application itself.
    App,
}

/// What becomes of rows for which no tenant is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orphans {
    Stop,
    Quarantine,
    Skip,
}

/// The plain keys. Those that hold tables are looked at for their shape only: the steps that they become judge them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: Spanned<QName>,
    #[serde(rename = "tenant")]
    _tenant: IgnoredAny,
    #[serde(rename = "index")]
    _index: Option<Vec<IgnoredAny>>,
    #[serde(rename = "unique")]
    _unique: Option<Vec<BTreeMap<String, IgnoredAny>>>,
    #[serde(rename = "composite")]
    _composite: Option<Vec<BTreeMap<String, IgnoredAny>>>,
    write_path: Option<WritePath>,
    on_orphan: Option<Orphans>,
    #[serde(rename = "keep")]
    _keep: Option<Vec<Ident>>,
    foreign_key: Option<bool>,
    #[serde(rename = "on_delete")]
    _on_delete: Option<IgnoredAny>,
    not_null: Option<bool>,
    enforce: Option<bool>,
    #[serde(rename = "extra")]
    _extra: Option<Expr>,
}

impl<'i> Entry<'i> {
    /// Reads one; `None` where not even its name is known.
    pub fn read(table: &Table<'i>, diags: &mut Diags) -> Option<Self> {
        let form = section::read(table.clone(), diags, |t| Form::deserialize(Deserializer::from(t)))?;
        let keys = section::places(table);
        let name = form.name.get_ref().clone();
        let way = table.get_ref().get("tenant").and_then(|value| way(&name, value, diags));
        let list = |key: &str| -> Vec<Node<'i>> {
            let items = table.get_ref().get(key).and_then(|value| value.get_ref().as_array());
            items.map_or_else(Vec::new, |items| items.iter().cloned().collect())
        };
        let index =
            keys.contains_key("index").then(|| list("index").iter().filter_map(|i| one_index(i, diags)).collect());
        Some(Self {
            named: form.name.span(),
            place: table.span(),
            way,
            index,
            unique: list("unique").iter().filter_map(keys_of).collect(),
            composite: list("composite").iter().filter_map(keys_of).collect(),
            write_path: form.write_path.unwrap_or_default(),
            on_orphan: form.on_orphan,
            foreign_key: form.foreign_key.unwrap_or(true),
            keep: table.get_ref().get("keep").cloned(),
            on_delete: table.get_ref().get("on_delete").cloned(),
            not_null: form.not_null.unwrap_or(true),
            enforce: form.enforce.unwrap_or(true),
            extra: table.get_ref().get("extra").cloned(),
            keys,
            homonym: false,
            name,
        })
    }

    /// The place of a key that it writes; of the header where it does not.
    pub fn at(&self, key: &str) -> &Range<usize> {
        self.keys.get(key).unwrap_or(&self.place)
    }

    /// Whether it is the registry, whose key is the tenant.
    pub fn is_registry(&self) -> bool {
        matches!(self.way, Some(Way::Registry { .. }))
    }

    /// Whether its rows get their tenant one by one.
    pub fn is_filled(&self) -> bool {
        matches!(self.way, Some(Way::Parent { .. } | Way::Sql { .. }))
    }

    /// The name of the table as a value at the table's place.
    pub fn table(&self) -> Node<'i> {
        text(self.name.to_string(), &self.named)
    }

    /// An id for a step that would else have the id of another table's; `None` where its kind gives a good one.
    pub fn id(&self, what: &str) -> Option<Node<'i>> {
        let odd = self.homonym || self.name.name.as_str().contains('/');
        let schema = self.name.schema.as_str();
        odd.then(|| text(format!("{schema}.{}-{what}", self.name.name.as_str()).replace('/', "_"), &self.place))
    }
}

/// An index: the columns alone, or the keys of a `create_index`.
fn one_index<'i>(item: &Node<'i>, diags: &mut Diags) -> Option<Table<'i>> {
    match item.get_ref() {
        DeValue::Array(_) => {
            let columns = [(Spanned::new(item.span(), "columns".into()), item.clone())];
            Some(Spanned::new(item.span(), columns.into_iter().collect()))
        }
        DeValue::Table(_) => keys_of(item),
        other @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)) => {
            diags.push(
                Diag::error("TM0103", item.span(), format!("an index is a list of columns, not {}", a(other)))
                    .help("write index = [[\"tenant_id\", \"id\"]], or a table with the keys of create_index"),
            );
            None
        }
    }
}

fn keys_of<'i>(item: &Node<'i>) -> Option<Table<'i>> {
    item.get_ref().as_table().map(|keys| Spanned::new(item.span(), keys.clone()))
}
