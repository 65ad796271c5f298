//! The catalogue as facts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio_postgres::{Client, Row, types::Type};

use super::queries;
use crate::{
    infer::{Column, Facts, Index, Other, OtherKind, Reference, Role, Shape, Table},
    pg::{Bounds, Class, Fault, connect::Connection, in_transaction},
    sql::{Ident, QName},
};

/// Only the size of a table that was never analysed waits for a lock, and only while somebody changes that table.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Some ten thousand tables take seconds.
const QUERY_MAX: Duration = Duration::from_secs(60);

/// Names come out qualified; nothing can be written.
const SETTINGS: &str = "SET TRANSACTION READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL jit = off";

/// Reads the tables of `schemas` (all where it is empty) but those of the schemas `without`.
pub async fn facts(session: &Connection, without: &[Ident], schemas: &[Ident]) -> Result<Facts, Fault> {
    let bounds = Bounds { lock: LOCK_WAIT, statement: QUERY_MAX };
    in_transaction(session, bounds, async |client| {
        client.batch_execute(SETTINGS).await?;
        read(client, without, schemas).await
    })
    .await
}

/// A relation before partitions and children are put to their topmost table.
struct Relation {
    kind: String,
    rows: i64,
    bytes: i64,
    parents: Vec<u32>,
}

async fn read(client: &Client, without: &[Ident], schemas: &[Ident]) -> Result<Facts, Fault> {
    let without: Vec<&str> = without.iter().map(Ident::as_str).collect();
    let schemas: Vec<&str> = schemas.iter().map(Ident::as_str).collect();
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&without, Type::TEXT_ARRAY), (&schemas, Type::TEXT_ARRAY)];
    let rows = client.query_typed(queries::RELATIONS, &params).await?;
    let mut out = Facts { database: database(client).await?, ..Facts::default() };
    let mut all: BTreeMap<u32, Relation> = BTreeMap::new();
    let mut places: BTreeMap<u32, usize> = BTreeMap::new();
    for row in &rows {
        let (oid, kind): (u32, String) = (row.try_get(0)?, row.try_get(3)?);
        all.insert(
            oid,
            Relation { kind: kind.clone(), rows: row.try_get(5)?, bytes: row.try_get(6)?, parents: row.try_get(10)? },
        );
        let name = QName::new(ident(row.try_get(1)?)?, ident(row.try_get(2)?)?);
        match kind.as_str() {
            "r" | "p" => {
                places.insert(oid, out.tables.len());
                out.tables.push(table(row, name)?);
            }
            _ => out.others.push(Other { name, kind: other(&kind, row.try_get(9)?) }),
        }
    }
    let kept = fold(&mut out, &all, &mut places);
    let oids: Vec<u32> = kept.into_iter().collect();
    let place = |oid: u32| places.get(&oid).copied();
    columns(client, &oids, &mut out, place).await?;
    indexes(client, &oids, &mut out, place).await?;
    references(client, &oids, &mut out, place).await?;
    for row in client.query_typed(queries::POLICIES, &[(&oids, Type::OID_ARRAY)]).await? {
        if let Some(at) = place(row.try_get(0)?) {
            out.tables[at].policies.push(row.try_get(1)?);
        }
    }
    out.roles = roles(client, &oids).await?;
    Ok(out)
}

async fn database(client: &Client) -> Result<String, Fault> {
    Ok(client.query_typed_one("SELECT current_database()::text", &[]).await?.try_get(0)?)
}

/// Names of the catalogue are names; an error says otherwise.
fn ident(name: String) -> Result<Ident, Fault> {
    Ident::new(name).map_err(|error| Fault::new(Class::Fatal, error.to_string()))
}

fn idents(names: Vec<String>) -> Result<Vec<Ident>, Fault> {
    names.into_iter().map(ident).collect()
}

fn table(row: &Row, name: QName) -> Result<Table, Fault> {
    Ok(Table {
        name,
        shape: Shape::Plain,
        rows: None,
        bytes: 0,
        owner: ident(row.try_get(4)?)?,
        columns: Vec::new(),
        primary: Vec::new(),
        indexes: Vec::new(),
        references: Vec::new(),
        rls: row.try_get(7)?,
        forced: row.try_get(8)?,
        policies: Vec::new(),
    })
}

fn other(kind: &str, invoker: bool) -> OtherKind {
    match (kind, invoker) {
        ("m", _) => OtherKind::MaterializedView,
        ("f", _) => OtherKind::ForeignTable,
        (_, true) => OtherKind::InvokerView,
        (_, false) => OtherKind::View,
    }
}

/// Puts partitions and children to the topmost tables, whose OIDs are returned. A foreign table that is a partition stays
/// among the others.
fn fold(out: &mut Facts, all: &BTreeMap<u32, Relation>, places: &mut BTreeMap<u32, usize>) -> BTreeSet<u32> {
    let mut below: BTreeMap<u32, (u32, i64, i64, bool)> = BTreeMap::new();
    for (oid, relation) in all.iter().filter(|(_, relation)| ["r", "p"].contains(&relation.kind.as_str())) {
        let mut top = *oid;
        // A loop of parents cannot be; its bound is the number of relations.
        for _ in 0..all.len() {
            match all.get(&top).and_then(|at| at.parents.iter().find(|parent| all.contains_key(*parent))) {
                Some(parent) => top = *parent,
                None => break,
            }
        }
        let sum = below.entry(top).or_default();
        sum.0 += u32::from(top != *oid);
        sum.1 += relation.rows.max(0);
        sum.2 += relation.bytes;
        sum.3 |= relation.rows > 0;
    }
    let tops: BTreeSet<u32> = below.keys().copied().collect();
    let old = std::mem::take(&mut out.tables);
    let by_place: BTreeMap<usize, u32> = places.iter().map(|(oid, place)| (*place, *oid)).collect();
    places.clear();
    for (place, mut table) in old.into_iter().enumerate() {
        let Some(oid) = by_place.get(&place).filter(|oid| tops.contains(oid)) else { continue };
        let (count, rows, bytes, known) = below.get(oid).copied().unwrap_or_default();
        let partitioned = all.get(oid).is_some_and(|relation| relation.kind == "p");
        table.shape = match (partitioned, count) {
            (true, below) => Shape::Partitioned { below },
            (false, 0) => Shape::Plain,
            (false, below) => Shape::Inherited { below },
        };
        table.rows = known.then_some(rows);
        table.bytes = bytes;
        places.insert(*oid, out.tables.len());
        out.tables.push(table);
    }
    tops
}

async fn columns(
    client: &Client,
    oids: &[u32],
    out: &mut Facts,
    place: impl Fn(u32) -> Option<usize>,
) -> Result<(), Fault> {
    for row in client.query_typed(queries::COLUMNS, &[(&oids, Type::OID_ARRAY)]).await? {
        let Some(at) = place(row.try_get(0)?) else { continue };
        out.tables[at].columns.push(Column {
            name: ident(row.try_get(1)?)?,
            r#type: row.try_get(2)?,
            not_null: row.try_get(3)?,
            default: row.try_get(4)?,
            generated: row.try_get(5)?,
            identity: row.try_get(6)?,
        });
    }
    Ok(())
}

async fn indexes(
    client: &Client,
    oids: &[u32],
    out: &mut Facts,
    place: impl Fn(u32) -> Option<usize>,
) -> Result<(), Fault> {
    for row in client.query_typed(queries::INDEXES, &[(&oids, Type::OID_ARRAY)]).await? {
        let Some(at) = place(row.try_get(0)?) else { continue };
        let keys: Vec<Option<String>> = row.try_get(3)?;
        let index = Index {
            name: ident(row.try_get(1)?)?,
            method: ident(row.try_get(2)?)?,
            keys: keys.into_iter().map(|key| key.map(ident).transpose()).collect::<Result<_, _>>()?,
            unique: row.try_get(4)?,
            primary: row.try_get(5)?,
            partial: row.try_get(6)?,
            constraint: row.try_get(7)?,
            deferrable: row.try_get(8)?,
            relied_on: row.try_get(9)?,
        };
        let table = &mut out.tables[at];
        if index.primary {
            table.primary = index.keys.iter().flatten().cloned().collect();
        }
        table.indexes.push(index);
    }
    Ok(())
}

async fn references(
    client: &Client,
    oids: &[u32],
    out: &mut Facts,
    place: impl Fn(u32) -> Option<usize>,
) -> Result<(), Fault> {
    for row in client.query_typed(queries::REFERENCES, &[(&oids, Type::OID_ARRAY)]).await? {
        let Some(at) = place(row.try_get(0)?) else { continue };
        out.tables[at].references.push(Reference {
            name: ident(row.try_get(1)?)?,
            columns: idents(row.try_get(2)?)?,
            table: QName::new(ident(row.try_get(3)?)?, ident(row.try_get(4)?)?),
            to: idents(row.try_get(5)?)?,
            valid: row.try_get(6)?,
            fixed: row.try_get(7)?,
        });
    }
    Ok(())
}

async fn roles(client: &Client, oids: &[u32]) -> Result<Vec<Role>, Fault> {
    let rows = client.query_typed(queries::ROLES, &[(&oids, Type::OID_ARRAY)]).await?;
    let role = |row: &Row| {
        Ok(Role {
            name: ident(row.try_get(0)?)?,
            exempt: row.try_get(1)?,
            login: row.try_get(2)?,
            owns: row.try_get(3)?,
            reads: row.try_get(4)?,
            writes: row.try_get(5)?,
            sessions: row.try_get(6)?,
        })
    };
    rows.iter().map(role).collect()
}
