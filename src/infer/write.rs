//! The draft as TOML that a person reads: each decision below its reason.

use crate::sql::{Ident, QName};

use super::draft::{Draft, Entry, Gate, Made, Shared, Way};

/// Comments are wrapped here.
const WIDTH: usize = 118;

/// What the plan is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    /// The database that it was written from.
    pub database: String,
    /// What in the database bites when it becomes multi-tenant, line by line.
    pub hazards: Vec<String>,
}

/// The plan's text. The same draft gives the same text.
pub fn write(header: &Header, draft: &Draft) -> String {
    let mut out = String::new();
    head(&mut out, header, draft);
    tenancy(&mut out, draft);
    if let Some(made) = &draft.made {
        registry(&mut out, draft, made);
    }
    rule(&mut out, "Tables whose rows belong to a tenant, each after those that it gets its tenant from");
    for entry in &draft.entries {
        table(&mut out, entry);
    }
    if !draft.shared.is_empty() {
        rule(&mut out, "Tables that every tenant reads");
        for one in &draft.shared {
            shared(&mut out, one);
        }
    }
    if !draft.gates.is_empty() {
        rule(
            &mut out,
            "Other ways to the tenant: they led to the same one when this was written, and must when it is carried out",
        );
        for one in &draft.gates {
            gate(&mut out, draft, one);
        }
    }
    if !header.hazards.is_empty() {
        rule(&mut out, "Hazards in the database, the worst first; docs/hazards.md explains each");
        for line in &header.hazards {
            let text = line.trim_start();
            hang(&mut out, line.len() - text.len(), text);
        }
    }
    if !draft.others.is_empty() {
        rule(&mut out, "Not in this plan");
        for other in &draft.others {
            comment(&mut out, other);
        }
    }
    out
}

fn head(out: &mut String, header: &Header, draft: &Draft) {
    let questions = draft.questions().count();
    let (own, all) = (draft.entries.len(), draft.entries.len() + draft.shared.len());
    comment(out, &format!("{}: written by `tenantmig init` from the database {}.", header.name, header.database));
    out.push_str("#\n");
    let open = match questions {
        0 => "Nothing was left open.".to_owned(),
        1 => "1 table waits for an answer: search for `question`.".to_owned(),
        n => format!("{n} tables wait for an answer: search for `question`."),
    };
    comment(out, &format!("{all} tables: {own} belong to tenants, {} are shared. {open}", draft.shared.len()));
    comment(
        out,
        "A unique key that is scoped to the tenant takes ON CONFLICT (…) over the old columns away: see `unique`.",
    );
    if !header.hazards.is_empty() {
        comment(out, "What bites in this database when it becomes multi-tenant is listed at the end.");
    }
    out.push_str("\nformat      = 1\n");
    out.push_str(&["name        = ", &quoted(&header.name), "\n"].concat());
    let description = format!("{} in {own} tables, and row-level security for them", draft.column);
    out.push_str(&["description = ", &quoted(&description), "\n\n"].concat());
}

fn tenancy(out: &mut String, draft: &Draft) {
    let root = &draft.root;
    out.push_str("[tenancy]\n");
    for why in &root.why {
        comment(out, why);
    }
    out.push_str(&format!(
        "registry = {{ table = {}, key = {}, type = {} }}\n",
        sql(&root.table),
        sql(&root.key),
        quoted(&root.r#type)
    ));
    comment(out, &draft.column_why);
    out.push_str(&["column   = ", &sql(&draft.column), "\n"].concat());
    out.push_str(
        &["setting  = ", &quoted(&draft.setting), " # SET LOCAL by the application, in each transaction\n"].concat(),
    );
    for why in &draft.roles_why {
        comment(out, why);
    }
    out.push_str(&["roles    = ", &list(draft.roles.iter().map(sql)), "\n"].concat());
}

/// The phase that makes the registry and its first tenant.
fn registry(out: &mut String, draft: &Draft, made: &Made) {
    let root = &draft.root;
    rule(out, "The table of the tenants, and the one to whom everything belongs that is there");
    out.push_str(&format!("\n[[phase]]\nid   = {}\nstep = [\n", quoted(Made::PHASE)));
    let key = &root.key;
    let readers = made.readers.iter().map(|role| [&self::key(role), " = [\"select\"]"].concat());
    let grant = if made.readers.is_empty() {
        String::new()
    } else {
        format!(", grant = {{ {} }}", readers.collect::<Vec<_>>().join(", "))
    };
    out.push_str(&format!(
        "    {{ kind = \"create_table\", table = {}, primary_key = [{}], columns = [\n\
         \x20       {{ name = {}, type = {}, default = \"gen_random_uuid()\" }},\n\
         \x20       {{ name = \"name\", type = \"text\", not_null = true }},\n\
         \x20   ], seed = [\n        {{ {} = {}, name = {} }},\n    ]{grant} }},\n]\n",
        sql(&root.table),
        sql(key),
        sql(key),
        quoted(&root.r#type),
        self::key(key),
        quoted(&made.first),
        quoted(&made.called)
    ));
}

fn table(out: &mut String, entry: &Entry) {
    out.push_str("\n[[table]]\n");
    let mut lines = Vec::new();
    lines.push(("name", sql(&entry.table)));
    lines.push(("tenant", way(&entry.way)));
    if let Some(index) = &entry.index {
        lines.push(("index", list(index.iter().map(|columns| list(columns.iter().map(sql))))));
    }
    if !entry.unique.is_empty() {
        let each = entry.unique.iter().map(|columns| ["{ columns = ", &list(columns.iter().map(sql)), " }"].concat());
        lines.push(("unique", list(each)));
    }
    if !entry.composite.is_empty() {
        let each = entry.composite.iter().map(|(own, table, theirs)| {
            format!(
                "{{ columns = {}, references = {{ table = {}, columns = {} }} }}",
                list(own.iter().map(sql)),
                sql(table),
                list(theirs.iter().map(sql))
            )
        });
        lines.push(("composite", list(each)));
    }
    let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    for (key, value) in lines {
        let why: Vec<&String> = match key {
            "tenant" => entry.why.iter().collect(),
            "index" => entry.index_why.iter().collect(),
            _ => Vec::new(),
        };
        for why in why {
            comment(out, why);
        }
        out.push_str(&format!("{key:<width$} = {value}\n"));
    }
    for remark in &entry.remarks {
        comment(out, remark);
    }
}

fn way(way: &Way) -> String {
    match way {
        Way::Registry => quoted("self"),
        Way::Parent { table, columns } => ["{ from = ", &sql(table), ", match = ", &pairs(columns), " }"].concat(),
        Way::Sql { text, needs } if needs.is_empty() => ["{ sql = ", &quoted(text), " }"].concat(),
        Way::Sql { text, needs } => {
            ["{ sql = ", &quoted(text), ", needs = ", &list(needs.iter().map(sql)), " }"].concat()
        }
        Way::Value(value) => ["{ value = ", &quoted(value), " }"].concat(),
        Way::Question(text) => ["{ question = ", &quoted(text), " }"].concat(),
    }
}

fn shared(out: &mut String, shared: &Shared) {
    out.push_str(
        &["\n[[shared]]\nname   = ", &sql(&shared.table), "\nreason = ", &quoted(&shared.reason), "\n"].concat(),
    );
}

fn gate(out: &mut String, draft: &Draft, gate: &Gate) {
    let column = gate.column.as_ref().map_or(String::new(), |column| [", column = ", &sql(column)].concat());
    let optional = if gate.optional { ", optional = true" } else { "" };
    out.push_str("\n[[gate]]\nphase  = \"backfill\"\nkind   = \"orphans\"\n");
    out.push_str(&["table  = ", &sql(&gate.table), "\ncolumn = ", &sql(&draft.column), "\n"].concat());
    out.push_str(&format!(
        "parent = {{ table = {}, match = {}{column}{optional} }}\n",
        sql(&gate.parent),
        pairs(&gate.columns)
    ));
}

fn pairs(columns: &[(Ident, Ident)]) -> String {
    let each: Vec<String> = columns.iter().map(|(child, parent)| [&key(child), " = ", &sql(parent)].concat()).collect();
    ["{ ", &each.join(", "), " }"].concat()
}

/// A name as a key of TOML: the name as SQL writes it, quoted once more where TOML asks for it.
fn key(name: &Ident) -> String {
    let text = name.to_string();
    let bare = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { text } else { quoted(&text) }
}

fn sql(name: &impl SqlName) -> String {
    quoted(&name.text())
}

/// Names that a plan writes as SQL does.
trait SqlName {
    fn text(&self) -> String;
}
impl SqlName for Ident {
    fn text(&self) -> String {
        self.to_string()
    }
}
impl SqlName for QName {
    fn text(&self) -> String {
        self.to_string()
    }
}
impl<T: SqlName> SqlName for &T {
    fn text(&self) -> String {
        (*self).text()
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    ["[", &items.collect::<Vec<_>>().join(", "), "]"].concat()
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A heading over what follows.
fn rule(out: &mut String, title: &str) {
    out.push('\n');
    comment(out, &["─── ", title, " ───"].concat());
}

/// A comment, wrapped. What would end it or hide in it is written out.
fn comment(out: &mut String, text: &str) {
    hang(out, 0, text);
}

/// The same, set in by so many columns.
fn hang(out: &mut String, by: usize, text: &str) {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut line = format!("#{:by$}", "");
    for word in plain.split(' ').filter(|word| !word.is_empty()) {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line.len() > 1 {
            out.push_str(&line);
            out.push('\n');
            line = format!("#  {:by$}", "");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}
