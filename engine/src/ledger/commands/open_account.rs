//! OpenAccount: an account that is not there yet, in one currency, for one owner (P6).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use crate::{
    ledger::{
        bounds,
        account::Account,
        body::{SameBody, Body},
        decision::{Change, Decision},
        failure::{Failure, FailureCode},
        flow::{Effect, Flow, ask, decided},
        needs::{Found, House, Missing, Need, Needs, Terms, Turn},
        settings::DefaultMark,
        value::Field,
    },
    money::{AccountId, Currency, Money, OpId, OwnerId},
};

/// Open an account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OpenAccount {
    /// The id; the engine makes one if not named.
    #[n(0)]
    pub account: Option<AccountId>,
    /// Whose it is.
    #[n(1)]
    pub owner: OwnerId,
    /// Its one currency.
    #[n(2)]
    pub currency: Currency,
    /// How far below zero it may go, in minor units.
    #[cbor(n(3), with = "crate::money::wide")]
    pub overdraft_limit: i128,
    /// How much may leave it on one UTC day, in minor units.
    #[cbor(n(4), with = "crate::money::wide")]
    pub daily_debit_limit: Option<i128>,
    /// How much has to stay, in minor units.
    #[cbor(n(5), with = "crate::money::wide")]
    pub minimum_balance: Option<i128>,
}

impl OpenAccount {
    fn id(&self, op: OpId) -> Result<AccountId, Missing> {
        match &self.account {
            Some(id) => Ok(id.clone()),
            None => AccountId::parse(&format!("acct_{op}")).map_err(|_| Missing::NotAsked("an id that is one")),
        }
    }

    fn opened(&self, id: AccountId) -> Account {
        let mut account = Account::open(id, self.owner.clone(), self.currency);
        account.overdraft_limit = self.overdraft_limit;
        account.daily_debit_limit = self.daily_debit_limit;
        account.minimum_balance = self.minimum_balance.unwrap_or_default();
        account
    }
}

impl Body for OpenAccount {
    fn check(&self, _: &House) -> Result<(), Missing> {
        let money = |minor| Money::new(minor, self.currency);
        bounds::limit("overdraft_limit", money(self.overdraft_limit))?;
        let minimum = money(self.minimum_balance.unwrap_or_default());
        bounds::minimum("minimum_balance", minimum, self.overdraft_limit)?;
        self.daily_debit_limit.map_or(Ok(()), |limit| bounds::limit("daily_debit_limit", money(limit)))
    }

    fn needs(&self, terms: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        if found.rounds > 0 {
            return Ok(Needs::new());
        }
        let id = self.id(terms.op)?;
        Ok(smallvec![
            Need::Turn(Turn::Owner(self.owner.clone())),
            Need::Turn(Turn::Settings(id.clone())),
            Need::OwnerToChange(self.owner.clone()),
            Need::NewAccount(id, self.currency, self.owner.clone()),
        ])
    }

    fn runs_with(&self, _: &Found) -> OwnerId {
        self.owner.clone()
    }

    fn begin(&self, terms: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let id = self.id(terms.op)?;
        let owned = found.owner(&self.owner).map_or(0, |owner| owner.accounts.len());
        let allowed = terms.house.accounts_per_owner_max;
        if owned >= allowed {
            let message = format!("owner {} has {owned} accounts, {allowed} are allowed", self.owner);
            // Nobody gave it an id yet: none is shown as if there were an account.
            let id = self.account.clone().unwrap_or_else(|| AccountId::system("none", self.currency));
            let account = Account::open(id, self.owner.clone(), self.currency);
            let change = Change::Account { account, default: DefaultMark::Unchanged };
            return Ok(decided(Decision::declined_with(Failure::new(FailureCode::TooManyAccounts, message), change)));
        }
        let account = self.opened(id);
        let default = if owned == 0 { DefaultMark::Default } else { DefaultMark::Unchanged };
        Ok(ask(Effect::Open(Box::new(account.clone())), move |event| {
            Ok(match event.granted()? {
                Ok(()) => Decision::of(Change::Account { account, default }, Vec::new()),
                Err(failure) => {
                    let change = Change::Account { account, default: DefaultMark::Unchanged };
                    Decision::declined_with(failure, change)
                }
            })
        }))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { account, owner, currency, overdraft_limit, daily_debit_limit, minimum_balance } = self;
        let money = |minor| Money::new(minor, *currency);
        vec![
            ("account_id", account.as_ref().into()),
            ("owner_id", owner.into()),
            ("currency", (*currency).into()),
            ("overdraft_limit", money(*overdraft_limit).into()),
            ("daily_debit_limit", daily_debit_limit.map(money).into()),
            ("minimum_balance", minimum_balance.map(money).into()),
        ]
    }
}

impl SameBody for OpenAccount {}
