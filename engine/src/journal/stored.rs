//! An entry as the records of journal format 4 hold it: CBOR (RFC 8949), arrays whose places are numbered.
//!
//! ```text
//! record  = [kind, tenant, op, tx_id, request, notes, failure, changes, postings]
//! request = [number, [body]]       numbers: `ledger::commands`
//! change  = [0, payment] / [1, reservation] / [2, account] / [3] / [4, refund] / [5, transfer] /
//!           [6, operation]
//! ```
//! `#[n(...)]` of the ledger's types says which place or number is what. A place or a number never changes its meaning
//! and is never used again; a new one comes behind the others, raises [`MINOR`], and is read as absent where it is not
//! there. A segment's header says the highest minor in it, so that a build that knows less refuses it by name rather
//! than to skip what it does not know. `engine/tests/stored.rs` holds the bytes of one entry of each kind for ever.

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as Undecoded,
    encode::{
        Error as Unencoded, Write,
        write::{Cursor, EndOfSlice},
    },
};
use smallvec::SmallVec;

use crate::{
    ledger::{
        account::{Account, NamedBy},
        decision::{Change, Decision},
        entry::Entry,
        failure::Failure,
        settings::{AccountStatus, DefaultMark},
    },
    money::{AccountId, Currency, Lsn, OwnerId, Posting, wide},
};

/// What this build writes at most and reads at most, within the format.
pub(super) const MINOR: u16 = 1;
/// How long almost all entries are at most, in bytes.
const SHORT_BYTES: usize = 768;
/// How many places a record has.
const PLACES: u64 = 9;
/// What records are of, by number. All but the first are of builds with several partitions (S15, S19), or with webhooks.
const KINDS: [&str; 6] = ["command", "intent", "prepared", "decided", "receipt", "webhook progress"];
const COMMAND: u8 = 0;

fn kind_name(number: u8) -> &'static str {
    KINDS.get(usize::from(number)).copied().unwrap_or("unknown")
}

/// An entry that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Never of a buffer that grows.
    #[error("the entry cannot be written: {0}")]
    Unwritten(String),
    /// More bytes than an entry has.
    #[error("{0} bytes stand behind the entry")]
    Rest(usize),
    /// A record that a later build wrote.
    #[error("it is of kind {number} ({}), which this build does not read", kind_name(*.number))]
    Kind {
        /// Its number.
        number: u8,
    },
    /// The bytes are not those of an entry.
    #[error(transparent)]
    Undecoded(#[from] Undecoded),
}

/// Encodes an entry.
pub(super) fn encode(entry: &Entry) -> Result<Vec<u8>, StoredError> {
    // Into a plain slice: a vector is asked for room with every few bytes, and few entries are longer.
    let mut short = [0; SHORT_BYTES];
    let mut encoder = Encoder::new(Cursor::new(&mut short[..]));
    let written: Result<(), Unencoded<EndOfSlice>> = write(entry, &mut encoder);
    if written.is_ok() {
        let written = encoder.writer().position();
        return Ok(short.get(..written).unwrap_or_default().to_vec());
    }
    let mut encoder = Encoder::new(Vec::with_capacity(2 * SHORT_BYTES));
    write(entry, &mut encoder).map_err(|error| StoredError::Unwritten(error.to_string()))?;
    Ok(encoder.into_writer())
}

fn write<W: Write>(entry: &Entry, encoder: &mut Encoder<W>) -> Result<(), Unencoded<W::Error>> {
    let Entry { tenant, op, tx_id, request, notes, decision } = entry;
    let Decision { failure, changes, postings } = &**decision;
    encoder.array(PLACES)?.u8(COMMAND)?.encode(tenant)?.encode(op)?.encode(tx_id)?;
    encoder.encode(request)?.encode(notes)?.encode(failure)?.array(changes.len() as u64)?;
    changes.iter().try_for_each(|change| write_change(change, encoder))?;
    encoder.encode(postings)?.ok()
}

fn write_change<W: Write>(change: &Change, encoder: &mut Encoder<W>) -> Result<(), Unencoded<W::Error>> {
    match change {
        Change::Payment(payment) => encoder.array(2)?.u8(0)?.encode(payment)?.ok(),
        Change::Reservation(reservation) => encoder.array(2)?.u8(1)?.encode(reservation)?.ok(),
        Change::Account { account, default } => {
            encoder.array(2)?.u8(2)?.encode(StoredAccount::of(account, *default))?.ok()
        }
        Change::Rates => encoder.array(1)?.u8(3)?.ok(),
        Change::Refund(refund) => encoder.array(2)?.u8(4)?.encode(&**refund)?.ok(),
        Change::Transfer(transfer) => encoder.array(2)?.u8(5)?.encode(&**transfer)?.ok(),
        Change::Operation(operation) => encoder.array(2)?.u8(6)?.encode(&**operation)?.ok(),
    }
}

/// Decodes an entry.
pub(super) fn decode(bytes: &[u8]) -> Result<Entry, StoredError> {
    let mut decoder = Decoder::new(bytes);
    let places = decoder.array()?;
    let kind = decoder.u8()?;
    if kind != COMMAND {
        return Err(StoredError::Kind { number: kind });
    }
    if places != Some(PLACES) {
        return Err(Undecoded::message("a record of another number of places").into());
    }
    let (tenant, op, tx_id) = (decoder.decode()?, decoder.decode()?, decoder.decode()?);
    let (request, notes) = (decoder.decode()?, decoder.decode()?);
    let failure: Option<Failure> = decoder.decode()?;
    let count = decoder.array()?.ok_or_else(|| Undecoded::message("a list without a length"))?;
    let changes = (0..count).map(|_| read_change(&mut decoder)).collect::<Result<SmallVec<_>, _>>()?;
    let postings: Vec<Posting> = decoder.decode()?;
    match bytes.len() - decoder.position() {
        0 => {
            Ok(Entry { tenant, op, tx_id, request, notes, decision: Box::new(Decision { failure, changes, postings }) })
        }
        rest => Err(StoredError::Rest(rest)),
    }
}

fn read_change(decoder: &mut Decoder<'_>) -> Result<Change, Undecoded> {
    match (decoder.array()?, decoder.u8()?) {
        (Some(2), 0) => decoder.decode().map(Change::Payment),
        (Some(2), 1) => decoder.decode().map(Change::Reservation),
        (Some(2), 2) => decoder.decode::<StoredAccount>().map(StoredAccount::change),
        (Some(1), 3) => Ok(Change::Rates),
        (Some(2), 4) => decoder.decode().map(|refund| Change::Refund(Box::new(refund))),
        (Some(2), 5) => decoder.decode().map(|transfer| Change::Transfer(Box::new(transfer))),
        (Some(2), 6) => decoder.decode().map(|operation| Change::Operation(Box::new(operation))),
        (_, number) => Err(Undecoded::message(format!("there is no change of number {number}"))),
    }
}

/// An account's settings as a command left them.
#[derive(Encode, Decode)]
struct StoredAccount {
    #[n(0)]
    id: AccountId,
    #[n(1)]
    owner: OwnerId,
    #[n(2)]
    currency: Currency,
    #[n(3)]
    status: AccountStatus,
    #[cbor(n(4), with = "wide")]
    overdraft_limit: i128,
    #[cbor(n(5), with = "wide")]
    daily_debit_limit: Option<i128>,
    #[n(6)]
    default: DefaultMark,
    #[n(7)]
    seen: Seen,
    /// From minor 1 on; nothing where it is zero.
    #[cbor(n(8), with = "wide")]
    minimum_balance: Option<i128>,
}

/// What the account's actor knew when it decided: what the answer says, and nothing else.
#[derive(Encode, Decode)]
struct Seen {
    #[cbor(n(0), with = "wide")]
    debits_posted: i128,
    #[cbor(n(1), with = "wide")]
    credits_posted: i128,
    #[cbor(n(2), with = "wide")]
    authorized: i128,
    #[n(3)]
    day: u32,
    #[cbor(n(4), with = "wide")]
    day_debits: i128,
    #[n(5)]
    opened_lsn: Lsn,
    #[n(6)]
    applied_lsn: Lsn,
    /// From minor 1 on; nothing where it is zero.
    #[n(7)]
    named_by: Option<NamedBy>,
}

impl StoredAccount {
    fn of(account: &Account, default: DefaultMark) -> Self {
        let account = account.clone();
        let Account { id, owner, currency, status, overdraft_limit, daily_debit_limit, .. } = account;
        let Account { debits_posted, credits_posted, authorized, day, day_debits, named_by, .. } = account;
        let Account { opened_lsn, applied_lsn, minimum_balance, .. } = account;
        let minimum_balance = (minimum_balance > 0).then_some(minimum_balance);
        let named_by = (!named_by.is_none()).then_some(named_by);
        let seen =
            Seen { debits_posted, credits_posted, authorized, day, day_debits, opened_lsn, applied_lsn, named_by };
        Self { id, owner, currency, status, overdraft_limit, daily_debit_limit, default, seen, minimum_balance }
    }

    fn change(self) -> Change {
        let Self { id, owner, currency, status, overdraft_limit, daily_debit_limit, default, seen, minimum_balance } =
            self;
        let Seen { debits_posted, credits_posted, authorized, day, day_debits, opened_lsn, applied_lsn, named_by } =
            seen;
        let account = Account {
            id,
            owner,
            currency,
            status,
            debits_posted,
            credits_posted,
            authorized,
            overdraft_limit,
            minimum_balance: minimum_balance.unwrap_or_default(),
            daily_debit_limit,
            day,
            day_debits,
            opened_lsn,
            applied_lsn,
            named_by: named_by.unwrap_or_default(),
        };
        Change::Account { account, default }
    }
}
