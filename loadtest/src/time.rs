//! Times of files, read as leniently as they are written.

use prost_types::Timestamp;

/// Reads RFC 3339, and what programs write instead of it: a space for the `T`, no zone (UTC is meant), an offset without
/// its colon, an offset *and* a `Z` (Python's `isoformat() + "Z"`; the offset counts), a fraction of any length, of which
/// nanoseconds are kept.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim().to_ascii_uppercase();
    let (date, rest) = text.split_once(['T', ' '])?;
    let rest = rest.strip_suffix('Z').unwrap_or(rest).trim_end();
    let (clock, offset) = rest.split_at(rest.find(['+', '-']).unwrap_or(rest.len()));
    let (clock, fraction) = match clock.trim_end().split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, format!(".{}", nanoseconds(fraction)?)),
        None => (clock.trim_end(), String::new()),
    };
    format!("{date}T{clock}{fraction}{}", zone(offset)?).parse().ok()
}

/// The first nine digits of a fraction.
fn nanoseconds(fraction: &str) -> Option<&str> {
    let is_number = !fraction.is_empty() && fraction.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| fraction.get(..9).unwrap_or(fraction))
}

/// `+07:00` out of `+07:00`, `+0700` or `+07`; nothing is UTC.
fn zone(offset: &str) -> Option<String> {
    let digits: String = offset.chars().skip(1).filter(|c| *c != ':').collect();
    match (offset.get(..1), digits.len()) {
        (None, _) => Some("Z".into()),
        (Some(sign), 2) => Some(format!("{sign}{digits}:00")),
        (Some(sign), 4) => Some(format!("{sign}{}:{}", digits.get(..2)?, digits.get(2..)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_is_read_in_every_spelling() {
        let moment = parse("2025-09-16T10:28:31.427875Z").expect("RFC 3339");
        assert_eq!((moment.seconds, moment.nanos), (1_758_018_511, 427_875_000));
        for text in [
            "2025-09-16T10:28:31.427875+00:00Z",
            "2025-09-16T10:28:31.427875+00:00",
            "2025-09-16T10:28:31.427875-00:00Z",
            "2025-09-16T10:28:31.427875",
            "2025-09-16 10:28:31.427875",
            "2025-09-16 10:28:31.427875 Z",
            "2025-09-16t10:28:31.427875z",
            "2025-09-16T17:28:31.427875+07:00",
            "2025-09-16T17:28:31.427875+07:00Z",
            "2025-09-16 17:28:31.427875 +0700",
            "2025-09-16T17:28:31,427875+07",
            "2025-09-16T10:28:31.42787500000000000",
        ] {
            assert_eq!(parse(text), Some(moment), "{text}");
        }
        let whole = Timestamp { nanos: 0, ..moment };
        for text in ["2025-09-16T10:28:31Z", "2025-09-16T10:28:31+00:00Z", "2025-09-16 10:28:31"] {
            assert_eq!(parse(text), Some(whole), "{text}");
        }
        assert_eq!(parse("2025-09-16T10:28:31.123456789999Z").map(|at| at.nanos), Some(123_456_789));
        assert_eq!(parse("2025-09-16T10:28:31.4Z").map(|at| at.nanos), Some(400_000_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2025-09-16",
            "2025-13-16T10:28:31Z",
            "2025-09-16T25:28:31Z",
            "2025-09-16T10:28:31.Z",
            "2025-09-16T10:28:31.4x",
            "2025-09-16T10:28:31+0",
            "2025-09-16T10:28:31+00:00:00:00",
            "2025-09-16T10:28:31ZZ",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
