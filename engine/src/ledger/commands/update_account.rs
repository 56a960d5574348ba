//! UpdateAccount: an account's status, limits, or that it is its owner's default (P6).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use crate::{
    ledger::{
        bounds,
        body::{SameBody, Body},
        decision::{Change, Decision},
        flow::{Effect, Flow, ask},
        needs::{Found, House, Missing, Need, Needs, Terms, Turn},
        settings::{AccountStatus, DailyLimit, DefaultMark, SettingsChange},
        value::{Field, Value},
    },
    money::{AccountId, OwnerId},
};

/// Change an account's settings.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UpdateAccount {
    /// The account.
    #[n(0)]
    pub account: AccountId,
    /// What is set. Boxed, so that the body of a payment is no larger than it has to be.
    #[n(1)]
    pub change: Box<SettingsChange>,
    /// Make it the owner's default account.
    #[n(2)]
    pub make_default: bool,
}

impl Body for UpdateAccount {
    fn check(&self, _: &House) -> Result<(), Missing> {
        bounds::open_default("make_default", self.make_default && self.change.status == Some(AccountStatus::Closed))?;
        self.change.overdraft_limit.map_or(Ok(()), |limit| bounds::limit("overdraft_limit", limit))?;
        let overdraft_limit = self.change.overdraft_limit.map_or(0, |limit| limit.minor);
        let minimum = self.change.minimum_balance;
        minimum.map_or(Ok(()), |minimum| bounds::minimum("minimum_balance", minimum, overdraft_limit))?;
        match self.change.daily_debit_limit {
            Some(DailyLimit::AtMost(limit)) => bounds::limit("daily_debit_limit", limit),
            Some(DailyLimit::Unlimited) | None => Ok(()),
        }
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        let account = || self.account.clone();
        Ok(match found.rounds {
            0 => smallvec![Need::Turn(Turn::Settings(account())), Need::Account(account())],
            1 => smallvec![Need::AccountNow(account()), Need::OwnerToChange(found.owner_of(&self.account))],
            _ => Needs::new(),
        })
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.owner_of(&self.account)
    }

    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let before = found.account_now.clone().ok_or(Missing::NotAsked("the account"))?;
        let default = if self.make_default { DefaultMark::Default } else { DefaultMark::Unchanged };
        Ok(ask(Effect::Change(self.account.clone(), self.change.clone()), move |event| {
            Ok(match event.changed()? {
                Ok(account) => Decision::of(Change::Account { account: *account, default }, Vec::new()),
                Err(failure) => {
                    let change = Change::Account { account: *before, default: DefaultMark::Unchanged };
                    Decision::declined_with(failure, change)
                }
            })
        }))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { account, change, make_default } = self;
        let SettingsChange { status, overdraft_limit, daily_debit_limit, minimum_balance } = &**change;
        vec![
            ("account_id", account.into()),
            ("status", status.map(AccountStatus::name).into()),
            ("overdraft_limit", (*overdraft_limit).into()),
            ("daily_debit_limit", daily_debit_limit.map(shown).into()),
            ("minimum_balance", (*minimum_balance).into()),
            ("make_default", (*make_default).into()),
        ]
    }
}

impl SameBody for UpdateAccount {}

fn shown(limit: DailyLimit) -> Value {
    match limit {
        DailyLimit::AtMost(amount) => amount.into(),
        DailyLimit::Unlimited => "unlimited".into(),
    }
}
