//! Times on the wire: `google.protobuf.Timestamp` with its JSON as the standard has it.
//!
//! RFC 3339 in UTC that ends in Z, with 0, 3, 6 or 9 fraction digits; any offset and up to nine digits are read.
//! (The mapping of `pbjson_types` writes an offset, which strict readers refuse, and drops digits.)

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IntoDeserializer, value},
};

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds on top, 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z: all that a timestamp may be.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// What a text must be to be a time.
pub const TIME: &str = "a time of RFC 3339 with at most 9 fraction digits, such as 2026-01-31T09:30:00Z";

impl Timestamp {
    /// Reads a time as JSON has it.
    pub fn parse(text: &str) -> Option<Self> {
        read(text).filter(Self::is_valid)
    }

    /// Whether both parts are within what a timestamp may be.
    pub fn is_valid(&self) -> bool {
        SECONDS.contains(&self.seconds) && (0..1_000_000_000).contains(&self.nanos)
    }
}

/// As JSON has it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        prost_types::Timestamp { seconds: self.seconds, nanos: self.nanos }.fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("\"{text}\" must be {TIME}")))
    }
}

fn read(text: &str) -> Option<Timestamp> {
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    let digits = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
    let text: value::StrDeserializer<'_, value::Error> = text.into_deserializer();
    let read = pbjson_types::Timestamp::deserialize(text).ok()?;
    (digits <= 9).then_some(Timestamp { seconds: read.seconds, nanos: read.nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_in_utc_and_ends_in_z() {
        for (seconds, nanos, text) in [
            (1_767_225_600, 0, "2026-01-01T00:00:00Z"),
            (1_767_225_600, 500_000_000, "2026-01-01T00:00:00.500Z"),
            (1_767_225_600, 1_000, "2026-01-01T00:00:00.000001Z"),
            (1_767_225_600, 1, "2026-01-01T00:00:00.000000001Z"),
            (-1, 0, "1969-12-31T23:59:59Z"),
        ] {
            let at = Timestamp { seconds, nanos };
            assert_eq!(at.to_string(), text);
            assert_eq!(read(text), Some(at), "{text}");
        }
    }

    #[test]
    fn any_offset_is_read_and_what_is_beyond_range_is_not() {
        let read = |text| read(text).filter(Timestamp::is_valid);
        let noon = Some(Timestamp { seconds: 1_767_268_800, nanos: 0 });
        for text in ["2026-01-01T12:00:00Z", "2026-01-01T12:00:00+00:00", "2026-01-01T19:00:00.000+07:00"] {
            assert_eq!(read(text), noon, "{text}");
        }
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T12:00:00",
            "2026-01-01T12:00:00.0000000001Z",
            "2016-12-31T23:59:60Z",
            "0000-01-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
