//! A fingerprint: catalogue and data together.

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::{CatalogPrint, ColumnName, DataPrint, FingerprintError, data, diff, snapshot};

/// A database's catalogue and rows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// What the catalogue says.
    pub catalog: CatalogPrint,
    /// What the tables hold.
    pub data: DataPrint,
}

impl Fingerprint {
    /// Takes both of one and the same snapshot; the conditions are those of [`super::catalog`] and [`super::data`].
    pub async fn take(
        client: &Client,
        exclude_schemas: &[String],
        ignore_columns: &[ColumnName],
    ) -> Result<Self, FingerprintError> {
        let read = match snapshot::begin(client, exclude_schemas).await {
            Ok(scope) => Self::read(client, &scope, ignore_columns).await,
            Err(error) => Err(error),
        };
        snapshot::end(client, read).await
    }

    async fn read(
        client: &Client,
        scope: &snapshot::Scope,
        ignore_columns: &[ColumnName],
    ) -> Result<Self, FingerprintError> {
        let catalog = super::catalog::read(client, scope).await?;
        let data = data::read(client, scope, None, ignore_columns).await?;
        Ok(Self { catalog, data })
    }

    /// The catalogue's facts, then the tables' rows.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.catalog.lines.clone();
        lines.extend(self.data.lines());
        lines
    }

    /// SHA-256 over all facts, 64 hexadecimal digits. Each fact ends with a NUL byte, which PostgreSQL's text cannot hold.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for line in self.lines() {
            hasher.update(line.as_bytes());
            hasher.update([0]);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What became different from `self` to `after` (see [`diff`]), or `None`. Rows that could not be read compare as equal:
    /// look at [`DataPrint::unreadable`] as well.
    #[must_use]
    pub fn diff(&self, after: &Self) -> Option<String> {
        diff::diff(&self.lines(), &after.lines())
    }
}
