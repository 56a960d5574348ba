//! The commands that clients send, drawn from a number and from what there is.

use std::time::Duration;

use arus_engine::{
    ledger::{
        commands::{
            Capture, CapturePayment, CreatePayment, CreateTransfer, Deposit, OpenAccount, PostTransfer, PublishRates,
            RefundPayment, Release, RemoveRates, Request, Reserve, ReverseOperation, UpdateAccount, UpdatePayment,
            VoidPayment, VoidTransfer, Withdraw, create_payment::Manual, create_transfer::HoldFor, funds::Funds,
            publish_rates::PublishedRate,
        },
        fx::{Pair, RateSource},
        notes::{Notes, NotesText},
        refund::{NamedSplit, RefundRate},
        reservation::Finality,
        settings::{AccountStatus, DailyLimit, SettingsChange},
        splits::{Fee, Portion, Sharing, Split},
        transfer::Leg,
    },
    money::{AccountId, Money, OpId, OwnerId, Rate},
};

use crate::{
    script::Draw,
    support::{account, currency, money},
};

/// Who has accounts. The first is the house's merchant.
pub const OWNERS: [&str; 4] = ["A", "B", "C", "D"];
/// In what.
pub const CURRENCIES: [&str; 3] = ["USD", "EUR", "JPY"];

/// What the world begins with: rates, and most accounts with money. `D` comes later, if at all.
pub fn beginnings() -> Vec<Request> {
    let mut requests = vec![rates(1)];
    for owner in &OWNERS[..3] {
        for code in CURRENCIES {
            let overdraft = if *owner == "C" { 5_000 } else { 0 };
            requests.push(open(account(owner, code), owner, code, overdraft));
            let transfer = Funds { account: account(owner, code), amount: money(100_000, code) };
            requests.push(Request::Deposit(Deposit(transfer)));
        }
    }
    requests
}

/// A set of rates that belong together: both follow from `k`, so that prices of two sets can be told apart.
pub fn rates(k: u64) -> Request {
    let row = |base, quote, mid: String| PublishedRate {
        base: currency(base),
        quote: currency(quote),
        mid: Rate::parse(&mid).expect("a rate"),
        spread_bps: Some(100),
    };
    let rates =
        vec![row("EUR", "USD", format!("{}.{:02}", 1 + k / 100, k % 100)), row("USD", "JPY", format!("{}", 100 + k))];
    Request::PublishRates(PublishRates { source: RateSource::Ecb, as_of: None, rates })
}

fn open(id: AccountId, owner: &str, code: &str, overdraft_limit: i128) -> Request {
    Request::OpenAccount(OpenAccount {
        account: Some(id),
        owner: owner_id(owner),
        currency: currency(code),
        overdraft_limit,
        minimum_balance: None,
        daily_debit_limit: None,
    })
}

fn owner_id(id: &str) -> OwnerId {
    OwnerId::parse(id).expect("an id")
}

/// What commands can be about.
#[derive(Default)]
pub struct Objects {
    pub reservations: Vec<OpId>,
    pub payments: Vec<OpId>,
    pub transfers: Vec<OpId>,
    /// What may be reversed, transfers included.
    pub operations: Vec<OpId>,
}

/// A command, and the notes that come with it: some are so long that a block takes several pages.
pub fn command(number: u64, objects: &Objects) -> (Request, Notes) {
    let mut draw = Draw::from(number);
    let request = request(&mut draw, objects);
    let length = if draw.below(3) == 0 { draw.below(3_000) } else { 0 };
    let description = "x".repeat(usize::try_from(length).expect("it is small"));
    (request, NotesText { description, ..NotesText::default() }.into())
}

fn request(draw: &mut Draw, Objects { reservations, payments, transfers, operations }: &Objects) -> Request {
    // Few accounts, so that commands meet on them; rarely one that does not exist yet.
    let owners = if draw.below(12) == 0 { &OWNERS[..] } else { &OWNERS[..3] };
    let (payer, payee) = (draw.one_of(owners), draw.one_of(owners));
    let (code, other) = (draw.one_of(&CURRENCIES), draw.one_of(&CURRENCIES));
    let amount = amount(draw, code);
    let transfer = Funds { account: account(payer, code), amount };
    match draw.below(100) {
        0..14 => match one_of_last(draw, payments) {
            Some(payment) => step(draw, payment, amount),
            None => Request::Deposit(Deposit(transfer)),
        },
        14..46 => {
            let sharing = sharing(draw, amount, owners);
            let has_splits = sharing.as_ref().is_some_and(|sharing| !sharing.splits.is_empty());
            Request::CreatePayment(CreatePayment {
                customer: owner_id(payer),
                amount,
                source: (draw.below(2) == 0).then(|| account(payer, draw.one_of(&[code, code, other]))),
                destination: (!has_splits && draw.below(8) > 0).then(|| account(payee, draw.one_of(&[code, other]))),
                manual: manual(draw),
                sharing,
            })
        }
        46..50 => Request::Deposit(Deposit(transfer)),
        50..53 => match one_of_last(draw, operations) {
            Some(operation) => Request::ReverseOperation(ReverseOperation { operation }),
            None => Request::Deposit(Deposit(transfer)),
        },
        53..56 => Request::Withdraw(Withdraw(transfer)),
        56..62 => match one_of_last(draw, transfers).filter(|_| draw.below(2) == 0) {
            Some(transfer) if draw.below(3) == 0 => Request::VoidTransfer(VoidTransfer { transfer }),
            Some(transfer) => Request::PostTransfer(PostTransfer { transfer }),
            None => create_transfer(draw, owners),
        },
        62..76 => Request::Reserve(Reserve {
            account: account(payer, code),
            amount,
            destination: Some(account(payee, code)).filter(|to| *to != account(payer, code)),
            expires_in: Some(Duration::from_secs(draw.one_of(&[1, 60, 600]))),
        }),
        76..84 => match one_of_last(draw, reservations) {
            Some(reservation) => Request::Capture(Capture {
                reservation,
                amount: (draw.below(2) == 0).then_some(amount),
                destination: (draw.below(2) == 0).then(|| account(payee, code)),
                finality: draw.one_of(&[Finality::Partial, Finality::Final]),
            }),
            None => Request::Deposit(Deposit(transfer)),
        },
        84..88 => match one_of_last(draw, reservations) {
            Some(reservation) => Request::Release(Release { reservation }),
            None => Request::Withdraw(Withdraw(transfer)),
        },
        88..91 => {
            let owner = draw.one_of(&["D", "D", "B"]);
            open(account("D", code), owner, code, 0)
        }
        91..96 => update(draw, account(payer, code), code),
        96..99 => rates(1 + draw.below(80)),
        _ => {
            let pair = draw.one_of(&[("EUR", "USD"), ("JPY", "USD")]);
            Request::RemoveRates(RemoveRates { pairs: vec![Pair { base: currency(pair.0), quote: currency(pair.1) }] })
        }
    }
}

/// Up to five legs among few accounts, so that money goes through some.
fn create_transfer(draw: &mut Draw, owners: &[&str]) -> Request {
    let code = draw.one_of(&CURRENCIES);
    let legs = (0..1 + draw.below(5)).map(|_| {
        let code = if draw.below(5) == 0 { draw.one_of(&CURRENCIES) } else { code };
        let from = draw.one_of(owners);
        let others: Vec<&str> = owners.iter().copied().filter(|owner| *owner != from).collect();
        let (from, to) = (account(from, code), account(draw.one_of(&others), code));
        Leg { from, to, amount: amount(draw, code), reference: String::new() }
    });
    let legs = legs.collect();
    let expires_in = Some(Duration::from_secs(draw.one_of(&[1, 60, 600])));
    let hold = (draw.below(2) == 0).then_some(HoldFor { expires_in });
    Request::CreateTransfer(CreateTransfer { legs, hold })
}

/// Of the whole that is there, or so little that many fit.
fn amount(draw: &mut Draw, code: &str) -> Money {
    let most = draw.one_of(&[100, 10_000, 60_000]);
    money(1 + i128::from(draw.below(most)), code)
}

/// Some payments are shared, as far as the amount goes round.
fn sharing(draw: &mut Draw, amount: Money, owners: &[&str]) -> Option<Box<Sharing>> {
    if draw.below(3) > 0 {
        return None;
    }
    let fee = match draw.below(3) {
        0 => None,
        1 => Some(Fee::BasisPoints(draw.one_of(&[100, 290, 5_000]))),
        _ => Some(Fee::Amount(Money::new(1 + i128::from(draw.below(30)), amount.currency))),
    };
    let count = draw.below(5);
    let destination = |draw: &mut Draw| account(draw.one_of(owners), draw.one_of(&CURRENCIES));
    let mut splits: Vec<Split> = (0..count).map(|_| split(destination(draw), part(draw, amount))).collect();
    if count > 0 {
        let at = usize::try_from(draw.below(count + 1)).expect("it is small");
        splits.insert(at, split(destination(draw), Portion::Remainder));
    }
    let sharing = Sharing { splits, fee };
    let is_shared = !sharing.splits.is_empty() || fee.is_some();
    (is_shared && sharing.divide(amount).is_ok()).then(|| Box::new(sharing))
}

fn split(destination: AccountId, portion: Portion) -> Split {
    Split { destination, portion, reference: String::new() }
}

fn part(draw: &mut Draw, amount: Money) -> Portion {
    match draw.below(2) {
        0 => Portion::BasisPoints(draw.one_of(&[1, 333, 2_500])),
        _ => Portion::Amount(Money::new(
            1 + i128::from(draw.below(1 + amount.minor.unsigned_abs() as u64 / 4)),
            amount.currency,
        )),
    }
}

/// Half of all payments are captured by hand.
fn manual(draw: &mut Draw) -> Option<Manual> {
    let expires_in = Some(Duration::from_secs(draw.one_of(&[1, 60, 600])));
    (draw.below(2) == 0).then_some(Manual { expires_in })
}

/// A step in the life of a payment.
fn step(draw: &mut Draw, payment: OpId, amount: Money) -> Request {
    let amount = (draw.below(3) > 0).then_some(amount);
    match draw.below(10) {
        0..4 => {
            let finality = draw.one_of(&[Finality::Partial, Finality::Partial, Finality::Final]);
            Request::CapturePayment(CapturePayment { payment, amount, finality })
        }
        4 => Request::VoidPayment(VoidPayment { payment }),
        5 if draw.below(2) == 0 => {
            let pair = |draw: &mut Draw| (draw.one_of(&["a", "b"]).to_owned(), draw.one_of(&["", "1", "2"]).to_owned());
            let (metadata, description) = (vec![pair(draw)], Some(draw.one_of(&["", "x"]).to_owned()));
            Request::UpdatePayment(UpdatePayment { payment, metadata, description })
        }
        _ => {
            let rate = draw.one_of(&[RefundRate::Original, RefundRate::Original, RefundRate::Current]);
            let refund_fees = draw.below(2) == 0;
            // Mostly one that is there: one that is not is refused.
            let named = rate == RefundRate::Original && draw.below(5) == 0;
            let splits = if named { vec![NamedSplit { index: draw.one_of(&[0, 0, 1]), amount }] } else { vec![] };
            Request::RefundPayment(RefundPayment { payment, amount, rate, refund_fees, splits })
        }
    }
}

fn one_of_last(draw: &mut Draw, objects: &[OpId]) -> Option<OpId> {
    // The last few: commands about one object shall meet.
    let last = objects.len().saturating_sub(4);
    objects.get(last..).filter(|last| !last.is_empty()).map(|last| draw.one_of(last))
}

fn update(draw: &mut Draw, id: AccountId, code: &str) -> Request {
    let nothing = SettingsChange::default();
    let change = match draw.below(7) {
        0 => SettingsChange { status: Some(AccountStatus::Frozen), ..nothing.clone() },
        1 | 2 => SettingsChange { status: Some(AccountStatus::Active), ..nothing.clone() },
        3 => {
            let limit = DailyLimit::AtMost(money(i128::from(draw.below(120_000)), code));
            SettingsChange { daily_debit_limit: Some(limit), ..nothing.clone() }
        }
        5 => {
            let minimum = money(i128::from(draw.one_of(&[0, 50_000, 200_000])), code);
            SettingsChange { minimum_balance: Some(minimum), ..nothing.clone() }
        }
        4 => SettingsChange { daily_debit_limit: Some(DailyLimit::Unlimited), ..nothing.clone() },
        _ => SettingsChange { status: draw.one_of(&[None, None, Some(AccountStatus::Closed)]), ..nothing.clone() },
    };
    let closes = change.status == Some(AccountStatus::Closed);
    let make_default = !closes && (change == nothing || draw.below(4) == 0);
    Request::UpdateAccount(UpdateAccount { account: id, change: Box::new(change), make_default })
}
