//! What EXPLAIN (ANALYZE, FORMAT JSON) says of a plan, without a value of anybody's.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sql::mask;

/// A plan: what it read, and how well the server knew that beforehand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// By table.
    pub scans: BTreeMap<String, Scan>,
    /// Whether something is evaluated once a query: the context, where it is written as a sub-select.
    pub once: bool,
    /// The worst estimate.
    pub skew: Option<Skew>,
}

/// How one table was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// Rows that were looked at, also those that a condition then refused.
    pub read: u64,
    /// Whether all of it was read from its beginning.
    pub sequential: bool,
    pub indexes: BTreeSet<String>,
    /// The operators of conditions that an index served, and of what was then filtered: `~~`.
    pub operators: BTreeSet<String>,
}

/// Rows that were expected, and rows that came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skew {
    pub node: String,
    pub expected: f64,
    pub came: f64,
}

/// Below, a wrong estimate costs nothing.
const SKEW_ROWS_MIN: f64 = 1_000.0;

impl Scan {
    /// In words.
    pub fn told(&self) -> String {
        let how = match (self.sequential, self.indexes.iter().map(String::as_str).collect::<Vec<_>>().join(", ")) {
            (true, indexes) if indexes.is_empty() => "sequentially".to_owned(),
            (true, indexes) => format!("sequentially and by {indexes}"),
            (false, indexes) => format!("by {indexes}"),
        };
        format!("{} rows {how}", self.read)
    }
}

impl Skew {
    /// By how much they differ.
    pub fn factor(&self) -> f64 {
        let (expected, came) = (self.expected.max(1.0), self.came.max(1.0));
        (expected / came).max(came / expected)
    }
}

impl Shape {
    /// Reads what the server answered; nothing where it is of another form.
    pub fn read(explained: &Value) -> Self {
        let mut shape = Self::default();
        let root = &explained[0]["Plan"];
        let limited = has_limit(root);
        shape.node(root, limited);
        shape
    }

    fn node(&mut self, node: &Value, limited: bool) {
        let text = |key: &str| node[key].as_str().unwrap_or_default();
        let number = |key: &str| node[key].as_f64().unwrap_or(0.0);
        self.once |= text("Parent Relationship") == "InitPlan";
        if !text("Relation Name").is_empty() {
            let table = format!("{}.{}", text("Schema"), text("Relation Name"));
            let scan = self.scans.entry(table.clone()).or_default();
            let refused = ["Rows Removed by Filter", "Rows Removed by Index Recheck"].map(number).iter().sum::<f64>();
            scan.read = scan.read.saturating_add(whole((number("Actual Rows") + refused) * number("Actual Loops")));
            scan.sequential |= text("Node Type") == "Seq Scan";
            find(node, scan);
            let skew = Skew { node: table, expected: number("Plan Rows"), came: number("Actual Rows") };
            // Under a LIMIT fewer rows come than there are.
            if skew.expected.max(skew.came) >= SKEW_ROWS_MIN && !(limited && skew.came < skew.expected) {
                self.skewed(Some(skew));
            }
        }
        for inner in node["Plans"].as_array().into_iter().flatten() {
            self.node(inner, limited);
        }
    }

    fn skewed(&mut self, other: Option<Skew>) {
        let more = |skew: &Option<Skew>| skew.as_ref().map_or(0.0, Skew::factor);
        if more(&other) > more(&self.skew) {
            self.skew = other;
        }
    }

    /// Of two plans of the same query, the worse of each table.
    pub fn worst(&mut self, other: Self) {
        for (table, scan) in other.scans {
            let mine = self.scans.entry(table).or_default();
            if scan.read > mine.read || mine.indexes.is_empty() && !mine.sequential {
                *mine = scan;
            }
        }
        self.once |= other.once;
        self.skewed(other.skew);
    }

    /// How a table was read.
    pub fn rows_of(&self, table: &str) -> u64 {
        self.scans.get(table).map_or(0, |scan| scan.read)
    }
}

/// The indexes and operators of a scan; a bitmap's indexes are nodes below it.
fn find(node: &Value, scan: &mut Scan) {
    if let Some(index) = node["Index Name"].as_str() {
        scan.indexes.insert(index.to_owned());
    }
    // A filter on top of an index that was walked for its order says nothing of the index.
    let conditions = ["Index Cond", "Recheck Cond"].iter().any(|key| node[*key].is_string());
    for key in ["Index Cond", "Recheck Cond", "Filter"].into_iter().filter(|_| conditions) {
        let masked = mask(node[key].as_str().unwrap_or_default());
        let operators = masked.split(|c: char| !"+-*/<>=~!@#%^&|`?".contains(c)).filter(|part| !part.is_empty());
        scan.operators.extend(operators.map(str::to_owned));
    }
    let bitmaps = node["Plans"].as_array().into_iter().flatten();
    bitmaps
        .filter(|inner| inner["Node Type"].as_str().is_some_and(|kind| kind.starts_with("Bitmap")))
        .for_each(|n| find(n, scan));
}

fn has_limit(node: &Value) -> bool {
    node["Node Type"] == "Limit" || node["Plans"].as_array().into_iter().flatten().any(has_limit)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // rounded, and `as` stops at the bounds
fn whole(rows: f64) -> u64 {
    rows.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_without_its_values() {
        let plan = serde_json::json!([{ "Plan": { "Node Type": "Limit", "Plans": [
            { "Node Type": "Result", "Parent Relationship": "InitPlan" },
            { "Node Type": "Bitmap Heap Scan", "Schema": "app", "Relation Name": "t", "Plan Rows": 10, "Actual Rows": 3000, "Actual Loops": 2,
              "Rows Removed by Filter": 7, "Filter": "(name ~~ 'secret%'::text)", "Recheck Cond": "(name ~>=~ 'secret'::text)",
              "Plans": [{ "Node Type": "Bitmap Index Scan", "Index Name": "t_name", "Index Cond": "(name ~>=~ 'secret'::text)" }] },
        ] } }]);
        let shape = Shape::read(&plan);
        let scan = &shape.scans["app.t"];
        assert_eq!((scan.read, scan.sequential, shape.once), (6_014, false, true));
        assert_eq!(scan.told(), "6014 rows by t_name");
        assert!(scan.operators.contains("~~") && scan.operators.contains("~>=~"), "{scan:?}");
        assert_eq!(shape.skew.as_ref().map(Skew::factor), Some(300.0));
        assert!(!format!("{shape:?}").contains("secret"));
        assert_eq!(Shape::read(&serde_json::json!("nothing")), Shape::default());
    }
}
