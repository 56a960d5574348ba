//! Accounts from a CSV file, opened and funded by somebody else.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Given {
    /// The account.
    pub(crate) account_id: String,
    /// Who pays out of it.
    pub(crate) owner_id: String,
    /// Its currency, the same in all rows.
    pub(crate) currency: String,
}

/// Payments need more than a pair of accounts to be told apart from a hot one.
const ACCOUNTS_MIN: usize = 4;

/// Reads a file; a bad row is named.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Given>> {
    let name = path.display();
    let mut file = csv::Reader::from_path(path).with_context(|| format!("{name} cannot be read"))?;
    let rows = (1..).zip(file.deserialize()).map(|(n, row)| {
        row.with_context(|| format!("row {n} of {name}; the columns are account_id,owner_id,currency"))
    });
    let rows = rows.collect::<anyhow::Result<Vec<Given>>>()?;
    ensure!(rows.len() >= ACCOUNTS_MIN, "{name} has {} accounts; allowed: {ACCOUNTS_MIN} and more", rows.len());
    let currency = rows.first().map(|row| &row.currency);
    if let Some(other) = rows.iter().find(|row| Some(&row.currency) != currency) {
        anyhow::bail!(
            "{name} has accounts in more than one currency, such as {} in {}",
            other.account_id,
            other.currency
        );
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rows_and_names_bad_ones() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let read_back = |text: &str| {
            std::fs::write(file.path(), text).expect("written");
            read(file.path()).map_err(|error| format!("{error:#}"))
        };
        let header = "account_id,owner_id,currency\n";
        let four = "a,o,USD\nb,o,USD\nc,o,USD\nd,p,USD\n";
        assert_eq!(read_back(&format!("{header}{four}")).expect("four rows")[3].owner_id, "p");
        assert!(read_back(&format!("{header}{four}e,o,EUR\n")).unwrap_err().contains("e in EUR"));
        assert!(read_back(&format!("{header}a,o\n")).unwrap_err().contains("row 1"));
        assert!(read_back(header).unwrap_err().contains("0 accounts"));
    }
}
