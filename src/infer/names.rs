//! What the name of a table or column suggests.

use crate::sql::Ident;

/// Words for those to whom rows belong, and how strongly each says so: in a shop's database the customers have a shop.
const TENANTS: &[(&str, i64)] = &[
    ("tenant", 100),
    ("organization", 90),
    ("organisation", 90),
    ("org", 90),
    ("workspace", 85),
    ("company", 80),
    ("firm", 75),
    ("agency", 75),
    ("clinic", 75),
    ("practice", 75),
    ("hospital", 75),
    ("school", 75),
    ("merchant", 75),
    ("shop", 70),
    ("store", 70),
    ("account", 65),
    ("team", 60),
    ("customer", 55),
    ("client", 55),
];

/// Words for lists that everybody reads.
const LOOKUPS: &[&str] = &[
    "country",
    "currency",
    "language",
    "locale",
    "region",
    "state",
    "city",
    "category",
    "type",
    "kind",
    "status",
    "role",
    "permission",
    "plan",
    "unit",
    "time_zone",
    "timezone",
    "tag",
    "color",
    "size",
    "tax_rate",
    "exchange_rate",
];

/// Words for values that are looked up before anybody knows the tenant, and that are unique by chance, not by rule.
const SECRETS: &[&str] = &["token", "secret", "hash", "api_key", "uuid", "guid", "fingerprint", "session"];

/// Tables in which tools keep what they did to the schema.
const BOOKS: &[&str] = &[
    "alembic_version",
    "schema_migrations",
    "ar_internal_metadata",
    "flyway_schema_history",
    "databasechangelog",
    "databasechangeloglock",
    "django_migrations",
    "knex_migrations",
    "knex_migrations_lock",
    "goose_db_version",
    "sequelizemeta",
    "refinery_schema_history",
    "_prisma_migrations",
    "_sqlx_migrations",
    "__diesel_schema_migrations",
    "__efmigrationshistory",
];

/// The word in the singular, in lower case.
pub(super) fn singular(word: &str) -> String {
    let word = word.to_lowercase();
    if let Some(stem) = word.strip_suffix("ies") {
        return format!("{stem}y");
    }
    for end in ["sses", "xes", "ches", "shes", "uses"] {
        if word.ends_with(end) {
            return word[..word.len() - 2].to_owned();
        }
    }
    match word.strip_suffix('s') {
        Some(stem) if !stem.ends_with('s') && !stem.ends_with('u') && stem.len() > 1 => stem.to_owned(),
        _ => word,
    }
}

/// Whether `name` is `word`, or ends in it as a word of its own: `app_tenants`, `ShopCountry` is not looked into.
fn is(name: &str, word: &str) -> bool {
    name == word || name.strip_suffix(word).is_some_and(|before| before.ends_with('_'))
}

/// How strongly a table's name says that its rows are the tenants; 0 where it does not.
pub(super) fn tenant_weight(name: &Ident) -> i64 {
    let name = singular(name.as_str());
    // The whole word says more than the last of several: `tenants` more than `cloud_accounts`.
    let weigh = |(word, weight): &(&str, i64)| match () {
        () if name == *word => *weight,
        () if is(&name, word) => weight - 25,
        () => 0,
    };
    TENANTS.iter().map(weigh).max().unwrap_or(0)
}

/// Whether a table's name is that of a list which everybody reads.
pub(super) fn is_lookup(name: &Ident) -> bool {
    let name = singular(name.as_str());
    LOOKUPS.iter().any(|word| is(&name, word))
}

/// Whether a table is one of those in which tools keep what they did to the schema.
pub(super) fn is_book(name: &Ident) -> bool {
    BOOKS.contains(&name.as_str().to_lowercase().as_str())
}

/// Whether a column holds what nobody chose.
pub(super) fn is_secret(name: &Ident) -> bool {
    let name = name.as_str().to_lowercase();
    SECRETS.iter().any(|word| is(&name, word))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_told() {
        for (many, one) in [
            ("Companies", "company"),
            ("addresses", "address"),
            ("boxes", "box"),
            ("statuses", "status"),
            ("users", "user"),
            ("status", "status"),
            ("address", "address"),
            ("staff", "staff"),
            ("cities", "city"),
            ("branches", "branch"),
        ] {
            assert_eq!(singular(many), one, "{many}");
        }
    }

    #[test]
    fn a_word_at_the_end_counts_less_than_the_whole() {
        let weight = |name: &str| tenant_weight(&Ident::new(name).unwrap());
        assert_eq!((weight("tenants"), weight("app_tenants"), weight("Organization")), (100, 75, 90));
        assert_eq!((weight("restore"), weight("users"), weight("accounting")), (0, 0, 0));
        assert!(is_lookup(&Ident::new("countries").unwrap()) && is_lookup(&Ident::new("product_categories").unwrap()));
        assert!(is_book(&Ident::new("__EFMigrationsHistory").unwrap()) && !is_book(&Ident::new("migrations").unwrap()));
        assert!(is_secret(&Ident::new("reset_token").unwrap()) && !is_secret(&Ident::new("email").unwrap()));
    }
}
