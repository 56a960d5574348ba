//! RefundPayment: what a payment took goes back from its payee to the account that paid, in full or in part (P9).

mod flow;

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use self::flow::{RefundFlow, Waiting};
use super::capture_payment::{parties, to_step};
use crate::{
    ledger::{
        bounds,
        body::{SameBody, Body, Defaults},
        decision::Decision,
        flow::{Flow, decided},
        needs::{Found, House, Missing, Need, Needs, Party, Terms},
        owner::{Owned, Owner},
        life::Life,
        moves::{ByAccount, more},
        parts::FeesFrom,
        payment::Payment,
        refund::{NamedSplit, Refund, RefundPart, RefundRate, RefundStatus},
        settings::AccountStatus,
        value::Field,
    },
    money::{Money, OpId, OwnerId},
    planted::{Bug, is_planted},
};

/// Give back what a payment took.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RefundPayment {
    /// The payment.
    #[n(0)]
    pub payment: OpId,
    /// How much, in the payment's currency; all that was captured and not given back if not named.
    #[n(1)]
    pub amount: Option<Money>,
    /// At which rate.
    #[n(2)]
    pub rate: RefundRate,
    /// Whether the house gives its fee's share back, too; the split it was taken out of does if not.
    #[n(3)]
    #[cbor(default)]
    pub refund_fees: bool,
    /// Which splits give it back; all that there are, in proportion, if none is named.
    #[n(4)]
    #[cbor(default)]
    pub splits: Vec<NamedSplit>,
}

impl RefundPayment {
    /// How much is asked for, if that is said.
    fn asked(&self) -> Option<Money> {
        let mut amounts = self.splits.iter().map(|split| split.amount);
        let of_splits = amounts.next().and_then(|first| amounts.try_fold(first?, |sum, amount| sum.checked_add(amount?)));
        self.amount.or(of_splits)
    }

    /// How much that is where it is not said: all that is left, of the splits that are named if some are.
    fn left(&self, payment: &Payment, life: &Life) -> Money {
        if self.splits.is_empty() {
            return life.refundable();
        }
        let left = |named: &NamedSplit| named.amount.or(payment.refundable_of(usize::try_from(named.index).ok()?));
        self.splits.iter().filter_map(left).fold(Money::zero(life.amount.currency), |sum, amount| more(sum, amount.minor))
    }

    /// The accounts that give it back: the money does not go to one of them.
    fn givers(&self, payment: &Payment, life: &Life) -> ByAccount {
        let shares = payment.check_refund(life, self.amount, &self.splits);
        let moves = shares.and_then(|shares| payment.movement_of_refund(life, &shares, self.fees()));
        moves.map_or_else(|_| ByAccount::new(), |moves| moves.by_account())
    }

    fn fees(&self) -> FeesFrom {
        if self.refund_fees { FeesFrom::House } else { FeesFrom::Carrier }
    }

    /// How many splits a payment has never changes: one that there is not is refused and not recorded.
    fn check_indices(&self, payment: &Payment) -> Result<(), Missing> {
        let count = payment.shared.as_ref().map_or(0, |shared| shared.splits.len());
        let beyond = |split: &&NamedSplit| usize::try_from(split.index).map_or(true, |index| index >= count);
        self.splits.iter().find(beyond).map_or(Ok(()), |split| {
            let rule = format!("names split {}; payment {} has {count}, counted from 0", split.index, payment.id);
            Err(Missing::OutOfBounds { field: "splits", rule })
        })
    }

    /// Where the money goes: the account that paid; if that is closed, another of its owner's. Nowhere if there is none.
    fn destination<'a>(&self, (payment, life): (&Payment, &Life), found: &'a Found) -> Option<&'a Party> {
        let Some(owner) = owner_if_closed(payment, found) else { return found.party(&payment.payer) };
        let givers = self.givers(payment, life);
        others(payment, (owner, &givers), found).find_map(|owned| found.party(&owned.account))
    }
}

/// The accounts that may stand in for one that is closed: active ones in its currency, the default one first, then the
/// oldest; not one that gives the money back.
fn others<'a>(
    payment: &Payment,
    (owner, givers): (&'a Owner, &'a ByAccount),
    found: &Found,
) -> impl Iterator<Item = &'a Owned> {
    let currency = found.party(&payment.payer).map(|payer| payer.currency);
    let fits = move |owned: &&Owned| {
        let gives = givers.iter().any(|(giver, _)| *giver == owned.account);
        owned.status == AccountStatus::Active && Some(owned.currency) == currency && !gives
    };
    owner.default_account().into_iter().chain(&owner.accounts).filter(fits)
}

/// The record of the payer's owner, if the account that paid is closed.
fn owner_if_closed<'a>(payment: &Payment, found: &'a Found) -> Option<&'a Owner> {
    let owner = found.owner(&found.owner_of(&payment.payer))?;
    let payer = owner.accounts.iter().find(|owned| owned.account == payment.payer)?;
    (payer.status == AccountStatus::Closed).then_some(&**owner)
}

impl Body for RefundPayment {
    fn check(&self, _: &House) -> Result<(), Missing> {
        let amounts = self.splits.iter().filter_map(|split| split.amount);
        amounts.clone().try_for_each(|amount| bounds::amount("splits", amount))?;
        self.amount.map_or(Ok(()), |amount| bounds::amount("amount", amount))?;
        bounds::named_splits("splits", &self.splits, (self.amount, self.rate))
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        if found.rounds == 0 {
            let mut needs = to_step(self.payment);
            needs.retain(|need| !is_planted(Bug::RefundWithoutATurn) || !matches!(need, Need::Turn(_)));
            return Ok(needs);
        }
        let (payment, life) = found.payment(self.payment)?;
        Ok(match found.rounds {
            1 => parties(payment),
            2 => smallvec![Need::Owner(found.owner_of(&payment.payer))],
            3 => {
                let (owner, givers) = (owner_if_closed(payment, found), self.givers(payment, life));
                let first = owner.and_then(|owner| others(payment, (owner, &givers), found).next());
                first.map(|owned| Need::AccountIfOpen(owned.account.clone())).into_iter().collect()
            }
            _ => Needs::new(),
        })
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.customer_of_payment(self.payment)
    }

    fn begin(&self, terms: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let (payment, life) = found.payment(self.payment)?;
        self.check_indices(payment)?;
        let destination = self.destination((payment, life), found);
        let refund = Refund {
            id: terms.op,
            payment: payment.id,
            status: RefundStatus::Failed,
            amount: self.asked().unwrap_or_else(|| self.left(payment, life)),
            rate: self.rate,
            source: payment.payee.clone(),
            destination: destination.map_or(&payment.payer, |party| &party.account).clone(),
            debited: None,
            credited: None,
            fx: Vec::new(),
            parts: None,
        };
        let fees = self.fees();
        let shares = payment.check_refund(life, self.amount, &self.splits);
        let original = match shares.and_then(|shares| payment.movement_of_refund(life, &shares, fees)) {
            Ok(original) => original,
            Err(failure) => return Ok(decided(flow::declined(failure, payment.clone(), refund))),
        };
        let (amount, parts) = (original.amount(life.amount.currency), flow::parts(payment, &original));
        let source = original.parts.iter().find(|moved| moved.amount.minor > 0).map_or(&payment.payee, |moved| &moved.account);
        let refund = Refund { amount, parts, source: source.clone(), ..refund };
        let Some(to) = destination else {
            return Ok(decided(flow::declined(flow::nowhere(payment), payment.clone(), refund)));
        };
        let from = original.parts.iter().map(|moved| match found.party(&moved.account) {
            Some(party) => Ok(party.currency),
            None if moved.account.is_system() => Ok(moved.moves.currency),
            None => Err(Missing::NotAsked("a payee")),
        });
        Ok(Box::new(RefundFlow {
            before: payment.clone(),
            life: Box::new(life.clone()),
            refund,
            from: from.collect::<Result<_, _>>()?,
            original,
            fees,
            to: to.clone(),
            today: found.now()?.believed.utc_day(),
            waiting: Waiting::Start,
            requotes: 0,
        }))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { payment, amount, rate, refund_fees, splits } = self;
        let row = |NamedSplit { index, amount }: &NamedSplit| {
            vec![("split_index", u64::from(*index).into()), ("amount", (*amount).into())]
        };
        let rows: Vec<_> = splits.iter().map(row).collect();
        // Splits come before the amount that follows from them.
        vec![
            ("payment_id", (*payment).into()),
            ("splits", (!rows.is_empty()).then_some(rows).into()),
            ("amount", (*amount).into()),
            ("rate", rate.name().into()),
            ("refund_fees", (*refund_fees).into()),
        ]
    }
}

impl SameBody for RefundPayment {
    fn spell_out(&mut self, defaults: &Defaults<'_>) {
        for split in &mut self.splits {
            split.amount = split.amount.or_else(|| was_left_of(defaults.first, split.index));
        }
        let was_left = || if self.splits.is_empty() { was_left(defaults.first) } else { self.asked() };
        self.amount = self.amount.or_else(was_left);
    }
}

/// What was captured and not given back before a refund was decided.
fn was_left(first: &Decision) -> Option<Money> {
    let life = first.payment()?.life.as_ref()?;
    life.refundable().checked_add(life.step.unwrap_or(Money::zero(life.amount.currency)))
}

/// The same of one split, with the fee that was taken out of it.
fn was_left_of(first: &Decision, index: u32) -> Option<Money> {
    let payment = first.payment()?;
    let left = payment.refundable_of(usize::try_from(index).ok()?)?;
    let fee = payment.shared.as_ref()?.fee.as_ref().filter(|fee| fee.carrier == index);
    let given = |part: &&RefundPart| part.split == Some(index) || (part.split.is_none() && fee.is_some());
    let parts = first.refund()?.parts.as_deref().filter(|_| first.failure.is_none()).unwrap_or_default();
    parts.iter().filter(given).try_fold(left, |left, part| left.checked_add(part.amount))
}
