//! `Idempotency-Key`: the key of a command over HTTP, one value however it is spelled.
//!
//! The IETF draft has it as a Structured Field String, in quotes, with parameters that say nothing to us; Stripe and
//! most clients send it bare. Both are the tx_id of the command, and errors name the header.

use axum::http::HeaderValue;
use sfv::{Item, Parser};

use super::{key_name::NAME, problem::Problem};

/// The key in a header.
pub(super) fn of_header(given: &HeaderValue) -> Result<String, Problem> {
    let given = given.to_str().map_err(|_| Problem::field(NAME, "must be visible ASCII, such as order-1001"))?;
    value(given)
}

/// The key, bare or in quotes.
pub(super) fn value(given: &str) -> Result<String, Problem> {
    if !given.starts_with('"') {
        return Ok(given.to_owned());
    }
    let item: Option<Item> = Parser::new(given).parse().ok();
    let key = item.and_then(|item| item.bare_item.as_string().map(|key| key.as_str().to_owned()));
    key.ok_or_else(|| {
        Problem::field(NAME, format!("{given} is no string in quotes (RFC 8941), such as \"order-1001\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_in_all_its_spellings() {
        for spelled in ["k-1", "\"k-1\"", "\"k-1\";v=1", "\"k-1\"; a; b=\"x\""] {
            assert_eq!(value(spelled).ok().as_deref(), Some("k-1"), "{spelled}");
        }
        assert_eq!(value(r#""a\"b\\c""#).ok().as_deref(), Some(r#"a"b\c"#));
        // Bare, it is taken as it is.
        assert_eq!(value("k;v=1").ok().as_deref(), Some("k;v=1"));
        for broken in ["\"", "\"k", "\"k\" x", "\"k\", \"l\"", "\"a\\b\""] {
            assert!(value(broken).is_err(), "{broken}");
        }
    }
}
