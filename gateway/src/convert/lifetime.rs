//! How long money is set aside, as a request says it.

use std::time::Duration;

use super::Fields;

/// `expires_in`: whole seconds, within what the house allows; `Some(None)` if it is left out.
pub(super) fn expires_in(
    fields: &mut Fields,
    duration: Option<&arus_proto::Duration>,
    seconds_max: u64,
) -> Option<Option<Duration>> {
    let Some(duration) = duration else { return Some(None) };
    let rule = format!("must be 1 to {seconds_max} whole seconds, such as 60s");
    match u64::try_from(duration.seconds) {
        Ok(seconds @ 1..) if duration.nanos == 0 => {
            if seconds > seconds_max {
                fields.beyond("expires_in", &format!("{seconds}s"), rule);
            }
            Some(Some(Duration::from_secs(seconds)))
        }
        _ => {
            fields.bad("expires_in", &spelled(duration), rule);
            None
        }
    }
}

/// A duration as JSON spells it (`google.protobuf.Duration`): sign and parts may be in any state here.
pub(super) fn spelled(duration: &arus_proto::Duration) -> String {
    let nanos = i128::from(duration.seconds) * 1_000_000_000 + i128::from(duration.nanos);
    let sign = if nanos < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:09}", nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}
