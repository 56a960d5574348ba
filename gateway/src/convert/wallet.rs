//! Accounts, transfers and reservations between the wire and the domain.

use arus_engine::{
    Command, Refusal,
    config::EngineConfig,
    index::HistoryRow,
    ledger::{
        account::Account,
        commands::{Capture, OpenAccount, Release, Request, Reserve, UpdateAccount, funds::Funds},
        entry::Committed,
        notes::{Notes, NotesText},
        reservation::{Finality, Reservation, ReservationStatus},
        settings::{AccountStatus, DailyLimit, SettingsChange},
        wallet::{AccountView, Wallet},
    },
    money::{AccountId, Currency, Money, OpId, OwnerId, PostingKind},
};
use arus_proto::{common::v1 as common, wallet::v1 as wire};

use super::{Fields, PageAsk, bounds::TEXT_MAX, changed, lifetime::expires_in, money, timestamp};

/// An account to open.
pub fn open(request: &wire::OpenAccountRequest) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(&request.tx_id);
    let account = fields.optional_account("account_id", &request.account_id);
    let owner = fields.owner("owner_id", &request.owner_id);
    let currency = fields.currency("currency", &request.currency);
    let overdraft = fields.optional_limit("overdraft_limit", request.overdraft_limit.as_ref());
    let daily = fields.optional_limit("daily_debit_limit", request.daily_debit_limit.as_ref());
    let minimum = fields.optional_limit("minimum_balance", request.minimum_balance.as_ref());
    if let Some(currency) = currency {
        let limits = [("overdraft_limit", overdraft), ("daily_debit_limit", daily), ("minimum_balance", minimum)];
        for (field, limit) in limits {
            check_currency(&mut fields, field, limit.flatten(), currency);
        }
        if currency.is_withdrawn() {
            let rule = "is withdrawn (ISO 4217): accounts in it go on, new ones need a currency in use, such as EUR";
            fields.beyond("currency", currency.code(), rule);
        }
    }
    match (tx_id, account, owner, currency) {
        (Some(tx_id), Some(account), Some(owner), Some(currency)) if fields.is_good() => {
            let open = OpenAccount {
                account,
                owner,
                currency,
                overdraft_limit: overdraft.flatten().map_or(0, |limit| limit.minor),
                daily_debit_limit: daily.flatten().map(|limit| limit.minor),
                minimum_balance: minimum.flatten().map(|minimum| minimum.minor).filter(|minor| *minor > 0),
            };
            Ok(fields.command(tx_id, Request::OpenAccount(open), Notes::default()))
        }
        _ => Err(fields.refuse()),
    }
}

fn check_currency(fields: &mut Fields, field: &str, limit: Option<Money>, currency: Currency) {
    if let Some(limit) = limit.filter(|limit| limit.currency != currency) {
        let rule = format!("must be the account's currency {currency}");
        fields.bad(format_args!("{field}.currency"), limit.currency.code(), rule);
    }
}

/// Settings to change.
pub fn update(request: &wire::UpdateAccountRequest) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(&request.tx_id);
    let account = fields.account("account_id", &request.account_id);
    let overdraft = fields.optional_limit("overdraft_limit", request.overdraft_limit.as_ref());
    let daily = fields.optional_limit("daily_debit_limit", request.daily_debit_limit.as_ref());
    let minimum = fields.optional_limit("minimum_balance", request.minimum_balance.as_ref());
    if request.clear_daily_debit_limit && request.daily_debit_limit.is_some() {
        fields.bad("clear_daily_debit_limit", "true", "does not go together with daily_debit_limit");
    }
    let status = match wire::AccountStatus::try_from(request.status) {
        Ok(wire::AccountStatus::Unspecified) => None,
        Ok(wire::AccountStatus::Active) => Some(AccountStatus::Active),
        Ok(wire::AccountStatus::Frozen) => Some(AccountStatus::Frozen),
        Ok(wire::AccountStatus::Closed) => Some(AccountStatus::Closed),
        Err(_) => {
            fields.bad(
                "status",
                &request.status.to_string(),
                "is not a known AccountStatus, such as ACCOUNT_STATUS_FROZEN",
            );
            None
        }
    };
    let sets_limit = [&request.overdraft_limit, &request.daily_debit_limit, &request.minimum_balance];
    let sets_limit = sets_limit.iter().any(|limit| limit.is_some());
    if !sets_limit && !request.clear_daily_debit_limit && !request.make_default && request.status == 0 {
        fields.miscounted(
            "status",
            "is not given, and nothing else to change; give one of status, overdraft_limit, minimum_balance, \
             daily_debit_limit, clear_daily_debit_limit, make_default",
        );
    }
    match (tx_id, account, overdraft, daily, minimum) {
        (Some(tx_id), Some(account), Some(overdraft_limit), Some(daily), Some(minimum_balance)) if fields.is_good() => {
            let cleared = request.clear_daily_debit_limit.then_some(DailyLimit::Unlimited);
            let update = UpdateAccount {
                account,
                change: Box::new(SettingsChange {
                    status,
                    overdraft_limit,
                    daily_debit_limit: daily.map(DailyLimit::AtMost).or(cleared),
                    minimum_balance,
                }),
                make_default: request.make_default,
            };
            Ok(fields.command(tx_id, Request::UpdateAccount(update), Notes::default()))
        }
        _ => Err(fields.refuse()),
    }
}

/// The parts of a deposit or a withdrawal.
pub fn funds(
    tx_id: &str,
    account: &str,
    amount: Option<&common::Money>,
    reference: &str,
    make: impl FnOnce(Funds) -> Request,
) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(tx_id);
    let account = fields.account("account_id", account);
    let amount = fields.amount("amount", amount);
    let description = fields.text("reference", reference.to_owned(), TEXT_MAX);
    match (tx_id, account, amount) {
        (Some(tx_id), Some(account), Some(amount)) => {
            let notes = NotesText { description, ..NotesText::default() };
            Ok(fields.command(tx_id, make(Funds { account, amount }), notes.into()))
        }
        _ => Err(fields.refuse()),
    }
}

/// Money to set aside.
pub fn reserve(request: &wire::ReserveRequest, config: &EngineConfig) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(&request.tx_id);
    let account = fields.account("account_id", &request.account_id);
    let amount = fields.amount("amount", request.amount.as_ref());
    let destination = fields.optional_account("destination_account", &request.destination_account);
    if let (Some(account), Some(Some(destination))) = (&account, &destination)
        && account == destination
    {
        fields.bad("destination_account", destination, "must not be the account_id");
    }
    let expires_in = expires_in(&mut fields, request.expires_in.as_ref(), config.reservation_max_s);
    match (tx_id, account, amount, destination, expires_in) {
        (Some(tx_id), Some(account), Some(amount), Some(destination), Some(expires_in)) if fields.is_good() => {
            let reserve = Reserve { account, amount, destination, expires_in };
            Ok(fields.command(tx_id, Request::Reserve(reserve), Notes::default()))
        }
        _ => Err(fields.refuse()),
    }
}

/// Which reservation to read.
pub fn get_reservation(request: &wire::GetReservationRequest) -> Result<OpId, Refusal> {
    let mut fields = Fields::default();
    reservation_id(&mut fields, &request.reservation_id).ok_or_else(|| fields.refuse())
}

/// Whose reservations to list, in which status (zero is any), and which page of them.
pub fn list_reservations(request: &wire::ListReservationsRequest) -> Result<(AccountId, i32, PageAsk), Refusal> {
    let mut fields = Fields::default();
    let account = fields.account("account_id", &request.account_id);
    if wire::ReservationStatus::try_from(request.status).is_err() {
        let rule = "is not a known ReservationStatus, such as RESERVATION_STATUS_ACTIVE";
        fields.bad("status", &request.status.to_string(), rule);
    }
    let list = format!("reservations of {} {}", request.account_id, request.status);
    let page = fields.page(request.page_size, &request.page_token, list);
    match (account, page) {
        (Some(account), Some(page)) if fields.is_good() => Ok((account, request.status, page)),
        _ => Err(fields.refuse()),
    }
}

/// Money to take.
pub fn capture(request: &wire::CaptureRequest) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(&request.tx_id);
    let reservation = reservation_id(&mut fields, &request.reservation_id);
    let amount = match &request.amount {
        None => Some(None),
        given => fields.amount("amount", given.as_ref()).map(Some),
    };
    let destination = fields.optional_account("destination_account", &request.destination_account);
    match (tx_id, reservation, amount, destination) {
        (Some(tx_id), Some(reservation), Some(amount), Some(destination)) => {
            let finality = if request.r#final { Finality::Final } else { Finality::Partial };
            let capture = Capture { reservation, amount, destination, finality };
            Ok(fields.command(tx_id, Request::Capture(capture), Notes::default()))
        }
        _ => Err(fields.refuse()),
    }
}

/// Money to free.
pub fn release(request: &wire::ReleaseRequest) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(&request.tx_id);
    let reservation = reservation_id(&mut fields, &request.reservation_id);
    match (tx_id, reservation) {
        (Some(tx_id), Some(reservation)) => {
            Ok(fields.command(tx_id, Request::Release(Release { reservation }), Notes::default()))
        }
        _ => Err(fields.refuse()),
    }
}

fn reservation_id(fields: &mut Fields, value: &str) -> Option<OpId> {
    let rule = "must be a reservation id: a UUID, such as 019a3b1c-7c52-7e5f-8d2a-1b2c3d4e5f60";
    fields.take("reservation_id", value, OpId::parse(value).map_err(|_| rule))
}

/// Which account to read; the house's own too.
pub fn readable_account(value: &str) -> Result<AccountId, Refusal> {
    let mut fields = Fields::default();
    let account = fields.take("account_id", value, AccountId::parse_any(value));
    account.ok_or_else(|| fields.refuse())
}

/// Whose accounts to list, how many, and behind which opening.
pub fn list_accounts(request: &wire::ListAccountsRequest) -> Result<(OwnerId, PageAsk), Refusal> {
    let mut fields = Fields::default();
    let owner = fields.owner("owner_id", &request.owner_id);
    let list = format!("accounts of {}", request.owner_id);
    match (owner, fields.page(request.page_size, &request.page_token, list)) {
        (Some(owner), Some(page)) => Ok((owner, page)),
        _ => Err(fields.refuse()),
    }
}

/// Whose statement to read, how much, and from where.
pub fn list_entries(request: &wire::ListEntriesRequest) -> Result<(AccountId, PageAsk), Refusal> {
    let mut fields = Fields::default();
    let account = fields.take("account_id", &request.account_id, AccountId::parse_any(&request.account_id));
    let list = format!("entries of {}", request.account_id);
    match (account, fields.page(request.page_size, &request.page_token, list)) {
        (Some(account), Some(page)) => Ok((account, page)),
        _ => Err(fields.refuse()),
    }
}

/// An account for the wire.
pub fn account(view: &AccountView) -> wire::Account {
    let account = &view.account;
    let of = |minor| money(Money::new(minor, account.currency));
    let status = match account.status {
        AccountStatus::Active => wire::AccountStatus::Active,
        AccountStatus::Frozen => wire::AccountStatus::Frozen,
        AccountStatus::Closed => wire::AccountStatus::Closed,
    };
    wire::Account {
        account_id: account.id.to_string(),
        owner_id: account.owner.to_string(),
        currency: account.currency.code().to_owned(),
        status: status.into(),
        balance: Some(money(account.balance())),
        available: Some(money(view.available)),
        pending_debits: Some(money(view.pending_debits)),
        pending_credits: Some(money(view.pending_credits)),
        overdraft_limit: Some(of(account.overdraft_limit)),
        minimum_balance: (account.minimum_balance > 0).then(|| of(account.minimum_balance)),
        daily_debit_limit: account.daily_debit_limit.map(of),
        lsn: account.applied_lsn.0,
    }
}

/// The account an entry opened or changed, as the entry knows it; `None` if it was declined.
pub fn decided_account(committed: &Committed) -> Option<wire::Account> {
    let (decided, _) = committed.entry.decision.changed_account()?;
    // The last entry that changed it is this one (P1).
    let decided = Account { applied_lsn: committed.lsn, ..decided.clone() };
    Some(account(&Wallet::new(decided).view()))
}

/// The reservation an entry left behind.
pub fn reservation(committed: &Committed) -> Option<wire::Reservation> {
    let reservation = committed.entry.decision.reservation()?;
    Some(wire::Reservation {
        reservation_id: reservation.id.to_string(),
        status: reservation_status(reservation).into(),
        account_id: reservation.account.to_string(),
        destination_account: reservation.destination.as_ref().map_or_else(String::new, ToString::to_string),
        amount: Some(money(reservation.amount)),
        captured: Some(money(reservation.captured)),
        remaining: Some(money(reservation.remaining)),
        expires_at: Some(timestamp(reservation.expires_at)),
        lsn: changed(committed, reservation.changed).0,
    })
}

fn reservation_status(reservation: &Reservation) -> wire::ReservationStatus {
    match reservation.status {
        ReservationStatus::Active => wire::ReservationStatus::Active,
        ReservationStatus::Captured => wire::ReservationStatus::Captured,
        ReservationStatus::Released => wire::ReservationStatus::Released,
        ReservationStatus::Expired => wire::ReservationStatus::Expired,
        ReservationStatus::Failed => wire::ReservationStatus::Failed,
    }
}

/// One line of an account's statement; `None` for a row on which nothing moved.
pub fn line(
    row: &HistoryRow,
    committed: &Committed,
    (account, currency): (&AccountId, Currency),
) -> Option<wire::StatementLine> {
    let moved = row.moved?;
    let kind = match moved.kind {
        PostingKind::Debit { .. } => wire::LineKind::Debit,
        PostingKind::Credit => wire::LineKind::Credit,
        PostingKind::Authorize { .. } => wire::LineKind::Authorize,
        PostingKind::Settle => wire::LineKind::Settle,
        PostingKind::Void { .. } => wire::LineKind::Void,
        PostingKind::Return => wire::LineKind::Return,
    };
    Some(wire::StatementLine {
        lsn: row.lsn.0,
        at: Some(timestamp(committed.at)),
        kind: kind.into(),
        amount: Some(money(Money::new(moved.amount_minor, currency))),
        balance_after: Some(money(Money::new(moved.balance_minor, currency))),
        operation_id: about(committed).to_string(),
        tx_id: committed.entry.tx_id.to_string(),
        method: committed.entry.request.method().to_owned(),
        reference: reference(committed, account, row.line.into()),
    })
}

/// What an entry is about; a reversal is one of its own.
fn about(committed: &Committed) -> OpId {
    let entry = &committed.entry;
    let own = entry.decision.operation(entry.op).map(|operation| operation.id);
    own.or(entry.object()).unwrap_or(entry.op)
}

/// The client's own words about a line: those of its leg, of its entry, or of the payment that it is a step of.
fn reference(committed: &Committed, account: &AccountId, line: usize) -> String {
    let entry = &committed.entry;
    let leg = entry.decision.transfer().and_then(|transfer| transfer.leg_of(entry.postings(), account, line));
    let life = entry.payment().and_then(|payment| payment.life.as_ref());
    let of_payment = life.and_then(|life| life.before.as_ref()).map(|before| &before.origin.notes.description);
    let own = &entry.notes.description;
    leg.map_or_else(|| of_payment.filter(|_| own.is_empty()).unwrap_or(own), |leg| &leg.reference).clone()
}
