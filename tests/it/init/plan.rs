//! A plan that `init` wrote, read again.

/// The parts of it that the tests look at.
#[derive(Debug)]
pub struct Written {
    pub text: String,
    /// The registry's table, its key, and the type of the key.
    pub registry: (String, String, String),
    pub column: String,
    pub setting: String,
    pub roles: Vec<String>,
    /// Every table of tenants with its way, as TOML.
    pub tables: Vec<(String, String)>,
    pub shared: Vec<String>,
}

impl Written {
    #[track_caller]
    pub fn read(text: &str) -> Self {
        let plan: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
        let string = |value: &toml::Value| value.as_str().unwrap().to_owned();
        let list = |key: &str| plan.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let tenancy = plan["tenancy"].as_table().unwrap();
        let registry = |key: &str| string(&tenancy["registry"][key]);
        Self {
            text: text.to_owned(),
            registry: (registry("table"), registry("key"), registry("type")),
            column: string(&tenancy["column"]),
            setting: string(&tenancy["setting"]),
            roles: tenancy["roles"].as_array().unwrap().iter().map(string).collect(),
            tables: list("table").iter().map(|t| (string(&t["name"]), t["tenant"].to_string())).collect(),
            shared: list("shared").iter().map(|t| string(&t["name"])).collect(),
        }
    }

    #[track_caller]
    pub fn has_way(&self, table: &str, part: &str) {
        let way = self.tables.iter().find(|(name, _)| name == table);
        assert!(way.is_some_and(|(_, way)| way.contains(part)), "{table}: {way:?}");
    }

    #[track_caller]
    pub fn is_shared(&self, table: &str) {
        assert!(self.shared.iter().any(|name| name == table), "{table}: {:?}", self.shared);
    }

    /// The column that carries the tenant in a table.
    pub fn column_of(&self, table: &str) -> &str {
        if table == self.registry.0 { &self.registry.1 } else { &self.column }
    }
}
