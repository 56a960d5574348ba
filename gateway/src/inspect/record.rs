//! What `arus inspect` found, once, for two readers: people read it as lines and tables, programs as JSON with the same
//! keys in the same order. Amounts are decimal, times RFC 3339, both in UTC and major units.

use std::fmt::Write;

use arus_engine::{ledger::time::Timestamp, money::Money};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::convert;

/// Keys with their values, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record(Vec<(String, Value)>);

/// One value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A text.
    Text(String),
    /// A count or a position.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// An amount.
    Amount {
        /// ISO 4217.
        currency: &'static str,
        /// In major units.
        amount: String,
    },
    /// Texts.
    List(Vec<String>),
    /// More keys.
    Record(Record),
    /// Rows with the same keys.
    Table(Vec<Record>),
}

impl Record {
    /// With one more key.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.push((key.into(), value.into()));
        self
    }

    /// With one more key, if there is a value.
    #[must_use]
    pub fn with_some(self, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// The lines for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.lines(&mut text, 0);
        text
    }

    fn lines(&self, text: &mut String, indent: usize) {
        let width = self.0.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
        for (key, value) in &self.0 {
            // Writing into a string does not fail.
            let _ = match value {
                Value::Record(record) => {
                    let _ = writeln!(text, "{:indent$}{key}", "");
                    record.lines(text, indent + 2);
                    continue;
                }
                Value::Table(rows) if !rows.is_empty() => {
                    let _ = writeln!(text, "{:indent$}{key}", "");
                    table(text, rows, indent + 2);
                    continue;
                }
                plain => writeln!(text, "{:indent$}{key:<width$}  {}", "", plain.cell()),
            };
        }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl Value {
    /// On one line. A control character is never shown as it is: a terminal would obey it.
    fn cell(&self) -> String {
        match self {
            Self::Text(text) if text.is_empty() => "\"\"".to_owned(),
            Self::Text(text) => text.chars().map(shown).collect(),
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Self::Amount { currency, amount } => format!("{amount} {currency}"),
            Self::List(texts) if texts.is_empty() => "none".to_owned(),
            Self::List(texts) => texts.join(", ").chars().map(shown).collect(),
            Self::Table(_) => "none".to_owned(),
            Self::Record(record) => {
                let cells = record.0.iter().map(|(key, value)| format!("{key} {}", value.cell()));
                cells.collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn is_figure(&self) -> bool {
        matches!(self, Self::Amount { .. } | Self::Number(_))
    }
}

fn shown(c: char) -> String {
    // Also what turns the direction of a line, or is not seen.
    let is_plain = c.is_ascii_graphic() || c == ' ' || c.escape_debug().eq([c]);
    if is_plain { c.to_string() } else { c.escape_default().to_string() }
}

/// Rows under their keys; figures stand to the right.
fn table(text: &mut String, rows: &[Record], indent: usize) {
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in rows.iter().flat_map(|row| &row.0) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let columns: Vec<(Vec<String>, bool)> = keys
        .iter()
        .map(|key| {
            let values = || rows.iter().map(|row| row.get(key));
            let cells = values().map(|value| value.map_or_else(String::new, Value::cell));
            let is_figures = values().flatten().all(Value::is_figure);
            (std::iter::once((*key).to_owned()).chain(cells).collect(), is_figures)
        })
        .collect();
    for row in 0..=rows.len() {
        let mut line = " ".repeat(indent);
        for (cells, is_figures) in &columns {
            let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or_default();
            let cell = cells.get(row).map_or("", String::as_str);
            let _ = match is_figures {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Money> for Value {
    fn from(money: Money) -> Self {
        Self::Amount { currency: money.currency.code(), amount: money.decimal() }
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Text(convert::rfc3339(at))
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::List(texts)
    }
}

impl From<Record> for Value {
    fn from(record: Record) -> Self {
        Self::Record(record)
    }
}

impl From<Vec<Record>> for Value {
    fn from(rows: Vec<Record>) -> Self {
        Self::Table(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_lines_and_tables_and_programs_the_same_as_json() {
        let amount = |text: &str| Money::parse(text, arus_engine::money::Currency::from_code("USD").expect("USD"));
        let row =
            |name: &str, is: &str| Record::default().with("account", name).with("amount", amount(is).expect("one"));
        let record = Record::default()
            .with("lsn", 7)
            .with("at", Timestamp(1_700_000_000_000_001))
            .with("request", Record::default().with("note", "a\u{1b}[2Jb").with_some("gone", None::<u64>))
            .with("postings", vec![row("shop-usd", "1234.50"), row("ann", "0.07")]);
        let expected = "\
lsn       7
at        2023-11-14T22:13:20.000001Z
request
  note  a\\u{1b}[2Jb
postings
  account        amount
  shop-usd  1234.50 USD
  ann          0.07 USD
";
        assert_eq!(record.text(), expected);
        let json = serde_json::to_string(&record).expect("it serialises");
        assert!(json.starts_with(r#"{"lsn":7,"at":"2023-11-14T22:13:20.000001Z","request":{"note":"#), "{json}");
        assert!(json.ends_with(r#"{"account":"ann","amount":{"currency":"USD","amount":"0.07"}}]}"#), "{json}");
    }
}
