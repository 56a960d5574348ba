//! Where a payment was made, between the wire and the domain.

use std::net::IpAddr;
use std::str::FromStr;

use arus_engine::ledger::notes::RiskContext;
use arus_proto::common::v1::PaymentContext;
use iso_country::Country;

use super::{Fields, bounds::CONTEXT_TEXT_MAX};

/// Where a payment was made, each text bounded.
pub(super) fn take(fields: &mut Fields, context: Option<PaymentContext>) -> RiskContext {
    let Some(context) = context else { return RiskContext::default() };
    let mut text = |name: &str, value: String| {
        if value.chars().any(char::is_control) {
            fields.beyond(format_args!("context.{name}"), &value, "must have no control characters");
        }
        fields.text(format_args!("context.{name}"), value, CONTEXT_TEXT_MAX)
    };
    let context = RiskContext {
        ip: text("ip", context.ip),
        device_id: text("device_id", context.device_id),
        country: text("country", context.country),
        billing_country: text("billing_country", context.billing_country),
        channel: text("channel", context.channel),
        mcc: text("mcc", context.mcc),
    };
    let mut check = |name: &str, value: &str, is_one: bool, rule: &str| {
        if !value.is_empty() && !is_one {
            fields.beyond(format_args!("context.{name}"), value, rule);
        }
    };
    check("ip", &context.ip, context.ip.parse::<IpAddr>().is_ok(), "must be an IP address, such as 203.0.113.7");
    let rule = "must be a country's ISO 3166-1 alpha-2 code, such as ID";
    check("country", &context.country, is_country(&context.country), rule);
    check("billing_country", &context.billing_country, is_country(&context.billing_country), rule);
    let is_mcc = context.mcc.len() == 4 && context.mcc.bytes().all(|b| b.is_ascii_digit());
    check("mcc", &context.mcc, is_mcc, "must be a merchant category code of four digits (ISO 18245), such as 5411");
    context
}

fn is_country(code: &str) -> bool {
    Country::from_str(code).is_ok_and(|country| country != Country::Unspecified)
}

/// For the wire; nothing where nothing was said.
pub(super) fn for_wire(context: &RiskContext) -> Option<PaymentContext> {
    (*context != RiskContext::default()).then(|| PaymentContext {
        ip: context.ip.clone(),
        device_id: context.device_id.clone(),
        country: context.country.clone(),
        billing_country: context.billing_country.clone(),
        channel: context.channel.clone(),
        mcc: context.mcc.clone(),
    })
}
