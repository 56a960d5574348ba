//! Which payments a run makes: the `n`th is a function of the seed and `n` alone, so that callers need not agree on
//! anything, and the oracle can say afterwards what each was.

use std::{
    fmt::{self, Display},
    sync::Arc,
};

use arus_proto::{common::v1::Money, payments::v1::CreatePaymentRequest};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rand_distr::{Distribution, Zipf};

use crate::{
    accounts::{self, Given},
    options::{Options, Workload},
};

/// In the mixed workload one payment in so many is declined, and one is sent twice.
const ODD_ONE_IN: u64 = 20;
/// Of each such number of payments the one that repeats, the one that is repeated, the one that is declined.
const REPEATS: u64 = 7;
const REPEATED: u64 = 6;
const DECLINED: u64 = 13;
/// How far back a payment is sent again: a multiple of [`ODD_ONE_IN`].
const REPEAT_BACK: u64 = 1_000;
/// Above what the default risk rules let one payment be.
const TOO_MUCH_CENTS: u64 = 490_000_000;
/// The rate of the cross-currency workload: rupiah for one dollar, and the spread that goes on top of it.
pub(crate) const MID_IDR: &str = "16250.5";
pub(crate) const SPREAD_BPS: u32 = 25;
/// The ask of that rate, (16250.5 x 1.0025), in hundred-thousandths.
const ASK_IDR_E5: i128 = 1_629_112_625;

/// One payment of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The payment whose tx_id and body this is: itself, or an earlier one that is sent again.
    pub(crate) of: u64,
    /// The paying customer's account, by number.
    pub(crate) payer: u64,
    /// The credited account, by number.
    pub(crate) payee: u64,
    /// How much, in hundredths of the payee's currency.
    pub(crate) cents: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Names accounts and keys, so that runs on one server do not meet.
    pub(crate) run: String,
    /// What the load is.
    pub(crate) workload: Workload,
    /// How many accounts there are.
    pub(crate) accounts: u64,
    /// Accounts that somebody else opened, in place of the run's own.
    given: Option<Arc<Vec<Given>>>,
    seed: u64,
    zipf: Option<Zipf<f64>>,
}

impl Plan {
    /// The plan of a run.
    pub(crate) fn new(options: &Options, run: String) -> anyhow::Result<Self> {
        let given = options.accounts_file.as_deref().map(accounts::read).transpose()?;
        let accounts = given.as_ref().map_or(options.accounts, |given| given.len() as u64);
        let zipf = match options.workload {
            Workload::Zipf => Some(Zipf::new(accounts as f64, options.theta)?),
            _ => None,
        };
        Ok(Self { run, workload: options.workload, accounts, given: given.map(Arc::new), seed: options.seed, zipf })
    }

    /// The `n`th payment.
    pub(crate) fn payment(&self, n: u64) -> Planned {
        if self.workload == Workload::Mixed && n % ODD_ONE_IN == REPEATS && n >= REPEAT_BACK {
            // What is sent again was not itself a repetition: those are a fixed share of the numbers.
            return self.payment(n - REPEAT_BACK - REPEATS + REPEATED);
        }
        let mut random = SmallRng::seed_from_u64(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n);
        let mut cents = random.random_range(100..1_000);
        if self.workload == Workload::Mixed && n % ODD_ONE_IN == DECLINED {
            cents = TOO_MUCH_CENTS;
        }
        let (payer, payee) = self.parties(&mut random);
        Planned { of: n, payer, payee, cents }
    }

    fn parties(&self, random: &mut SmallRng) -> (u64, u64) {
        let other = |random: &mut SmallRng, than: u64| (than + random.random_range(1..self.accounts)) % self.accounts;
        match (self.workload, &self.zipf) {
            (Workload::HotPayee, _) => (random.random_range(1..self.accounts), 0),
            (Workload::HotPayer, _) => (0, random.random_range(1..self.accounts)),
            (Workload::CrossCurrency, _) => {
                let half = self.accounts / 2;
                (random.random_range(0..half) * 2, random.random_range(0..half) * 2 + 1)
            }
            (_, Some(zipf)) => {
                let draw = |random: &mut SmallRng| (zipf.sample(random) as u64).saturating_sub(1) % self.accounts;
                let (payer, payee) = (draw(random), draw(random));
                if payer == payee { (payer, other(random, payer)) } else { (payer, payee) }
            }
            (_, None) => {
                let payer = random.random_range(0..self.accounts);
                (payer, other(random, payer))
            }
        }
    }

    /// Whether a payment is sent again later, in a run that is long enough.
    pub(crate) fn is_repeated(&self, n: u64) -> bool {
        self.workload == Workload::Mixed && n % ODD_ONE_IN == REPEATED
    }

    /// Whether payments go across currencies.
    pub(crate) fn is_converting(&self) -> bool {
        self.workload == Workload::CrossCurrency
    }

    /// Whether a payment may end so, given why it was declined if it was.
    pub(crate) fn allows(&self, planned: &Planned, declined: Option<&str>) -> bool {
        match declined {
            None => planned.cents != TOO_MUCH_CENTS,
            // What somebody else funded may not be enough.
            Some("FAILURE_CODE_INSUFFICIENT_FUNDS") => planned.cents == TOO_MUCH_CENTS || self.given.is_some(),
            Some(_) => planned.cents == TOO_MUCH_CENTS,
        }
    }

    /// Whether a payment may move these amounts, in minor units: what was asked for is credited, and debited at the
    /// ask, rounded to one minor unit.
    pub(crate) fn may_move(&self, planned: &Planned, debited: i128, credited: i128) -> bool {
        let cents = i128::from(planned.cents);
        let exact_e5 = if self.is_converting() { cents * ASK_IDR_E5 } else { cents * 100_000 };
        let off_e5 = (debited * 100_000 - exact_e5).abs();
        credited == cents && if self.is_converting() { off_e5 < 100_000 } else { off_e5 == 0 }
    }

    /// The currency of an account.
    pub(crate) fn currency(&self, account: u64) -> &str {
        if let Some(first) = self.given.as_ref().and_then(|given| given.first()) {
            return &first.currency;
        }
        if self.is_converting() && account.is_multiple_of(2) { "IDR" } else { "USD" }
    }

    /// An account that somebody else opened.
    pub(crate) fn given(&self, n: u64) -> Option<&Given> {
        self.given.as_ref()?.get(usize::try_from(n).ok()?)
    }

    /// An account's id.
    pub(crate) fn account(&self, n: u64) -> String {
        self.account_id(n).to_string()
    }

    /// The same, to be compared without a copy.
    pub(crate) fn account_id(&self, n: u64) -> impl Display {
        fmt::from_fn(move |f| match self.given(n) {
            Some(given) => f.write_str(&given.account_id),
            None => write!(f, "load-{}-{n:06}", self.run),
        })
    }

    /// Whose it is.
    pub(crate) fn owner_id(&self, n: u64) -> impl Display {
        fmt::from_fn(move |f| match self.given(n) {
            Some(given) => f.write_str(&given.owner_id),
            None => write!(f, "LOAD-{}-{n:06}", self.run),
        })
    }

    /// A payment's key.
    pub(crate) fn tx_id(&self, n: u64) -> impl Display {
        fmt::from_fn(move |f| write!(f, "load-{}-{n:010}", self.run))
    }

    /// Which payment a key belongs to; `None` if it is none of the run's.
    pub(crate) fn number(&self, tx_id: &str) -> Option<u64> {
        let n = tx_id.rsplit_once('-')?.1.parse().ok()?;
        is(tx_id, &self.tx_id(n)).then_some(n)
    }

    /// A payment for the wire.
    pub(crate) fn request(&self, planned: &Planned) -> CreatePaymentRequest {
        CreatePaymentRequest {
            tx_id: self.tx_id(planned.of).to_string(),
            customer_id: self.owner_id(planned.payer).to_string(),
            // An owner's own accounts need no name; somebody else's owners may have several.
            source_account: self.given(planned.payer).map_or_else(String::new, |given| given.account_id.clone()),
            amount: Some(money(self.currency(planned.payee), planned.cents.into())),
            destination_account: self.account(planned.payee),
            ..Default::default()
        }
    }
}

/// Whether a text is what something displays as; makes no copy of either.
pub(crate) fn is(text: &str, expected: &impl Display) -> bool {
    struct Rest<'a>(&'a str);
    impl fmt::Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(text);
    fmt::write(&mut rest, format_args!("{expected}")).is_ok() && rest.0.is_empty()
}

/// Minor units of a currency with two decimal places.
pub(crate) fn money(currency: &str, minor: i128) -> Money {
    let (sign, minor) = (if minor < 0 { "-" } else { "" }, minor.unsigned_abs());
    Money { currency: currency.into(), amount: format!("{sign}{}.{:02}", minor / 100, minor % 100) }
}

/// Decimal places of the currencies that runs pay in.
pub(crate) const PLACES: u32 = 2;
/// The most decimal places of any currency.
pub(crate) const PLACES_MAX: u32 = 4;

/// An amount in units of so many decimal places; `None` if it is none, or has more places than that.
pub(crate) fn units(money: &Money, places: u32) -> Option<i128> {
    let text = money.amount.strip_prefix('-').unwrap_or(&money.amount);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let missing = places.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let mut units = 0_i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
        units = units.checked_mul(10)?.checked_add(digit)?;
    }
    let units = units.checked_mul(10_i128.pow(missing))?;
    (!whole.is_empty()).then_some(if text.len() < money.amount.len() { -units } else { units })
}

/// Minor units of a currency with two decimal places.
pub(crate) fn minor(money: &Money) -> Option<i128> {
    units(money, PLACES)
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// The plan of a command line.
    pub(crate) fn plan(args: &[&str]) -> Plan {
        let line = Line::parse_from(["x"].iter().chain(args));
        Plan::new(&line.options, "r".into()).expect("a plan")
    }

    #[test]
    fn a_seed_makes_one_plan_and_nobody_pays_himself() {
        for workload in ["uniform", "zipf", "hot-payee", "hot-payer", "cross-currency", "mixed"] {
            let args = ["--workload", workload, "--accounts", "50", "--seed", "9"];
            let (one, two) = (plan(&args), plan(&args));
            let payments: Vec<_> = (0..5_000).map(|n| one.payment(n)).collect();
            assert!(payments.iter().all(|p| p.payer != p.payee && p.payer < 50 && p.payee < 50), "{workload}");
            assert!((0..5_000).all(|n| two.payment(n) == payments[n as usize]), "{workload}");
        }
        let hot = plan(&["--workload", "zipf", "--accounts", "1000"]);
        let first = (0..10_000).filter(|n| hot.payment(*n).payee == 0).count();
        assert!(first > 500, "{first} of 10,000 went to the hottest of 1,000 accounts");
    }

    #[test]
    fn repetitions_repeat_something_else() {
        let mixed = plan(&["--workload", "mixed"]);
        for n in 0..20_000 {
            let planned = mixed.payment(n);
            assert_eq!(mixed.payment(planned.of), planned, "{n}");
        }
        let again = |n: &u64| mixed.payment(*n).of != *n;
        assert!((0..20_000).any(|n| again(&n)));
        assert!((0..20_000).filter(again).all(|n| mixed.is_repeated(mixed.payment(n).of)));
    }

    #[test]
    fn amounts_and_ends_are_held_against_the_plan() {
        let (uniform, cross) = (plan(&[]), plan(&["--workload", "cross-currency"]));
        let of = Planned { of: 0, payer: 0, payee: 1, cents: 1_000 };
        assert!(uniform.may_move(&of, 1_000, 1_000) && !uniform.may_move(&of, 1_001, 1_000));
        // 10.00 USD at 16291.12625 is 162911.2625 IDR.
        assert!(cross.may_move(&of, 16_291_126, 1_000) && cross.may_move(&of, 16_291_127, 1_000));
        assert!(!cross.may_move(&of, 16_291_128, 1_000) && !cross.may_move(&of, 16_291_126, 999));
        let too_much = Planned { cents: TOO_MUCH_CENTS, ..of };
        assert!(uniform.allows(&of, None) && !uniform.allows(&of, Some("FAILURE_CODE_RISK_REJECTED")));
        assert!(!uniform.allows(&too_much, None) && uniform.allows(&too_much, Some("FAILURE_CODE_RISK_REJECTED")));
    }

    #[test]
    fn amounts_round_trip() {
        for minor_units in [0, 5, 100, -105, 123_456_789] {
            assert_eq!(minor(&money("USD", minor_units)), Some(minor_units));
        }
    }

    #[test]
    fn places_of_any_currency_are_exact() {
        let of = |currency: &str, amount: &str, places| {
            units(&Money { currency: currency.into(), amount: amount.into() }, places)
        };
        assert_eq!(of("KWD", "1.005", PLACES_MAX), Some(10_050));
        assert_eq!(of("JPY", "2400", PLACES_MAX), Some(24_000_000));
        assert_eq!((of("USD", "-0.05", PLACES_MAX), of("USD", "-0.05", PLACES)), (Some(-500), Some(-5)));
        assert_eq!(of("KWD", "1.005", PLACES), None, "two places cannot hold it");
        for wrong in ["", "-", ".5", "1.2.3", "+1", "1e3", "--1"] {
            assert_eq!(of("USD", wrong, PLACES), None, "{wrong}");
        }
    }

    #[test]
    fn ids_are_compared_whole_and_read_back() {
        let plan = plan(&[]);
        let key = plan.tx_id(12).to_string();
        assert!(is(&key, &plan.tx_id(12)) && !is(&key, &plan.tx_id(13)));
        assert!(!is(&format!("{key}0"), &plan.tx_id(12)) && !is(key.trim_end_matches('2'), &plan.tx_id(12)));
        assert_eq!(plan.number(&key), Some(12));
        assert_eq!((plan.number("load-r-12"), plan.number("load-s-0000000012"), plan.number("x")), (None, None, None));
    }
}
