//! What a step in the life of a payment moves of each part, and of the payer's account (P9, P12). Pure: nothing is changed
//! here; [`super::steps`] does that.

use smallvec::{SmallVec, smallvec};

use super::{
    failure::Failure,
    fx::LegSide,
    life::Life,
    moves::{Movement, PartMove, less},
    parts::{FeePart, FeesFrom, Part, Up, part},
    payment::Payment,
    shares::divide,
};
use crate::money::{AccountId, Money};

impl Payment {
    /// The clients' accounts that are credited, or were to be: the fee is the house's.
    pub fn payees(&self) -> impl Iterator<Item = &AccountId> {
        let splits = self.shared.as_ref().map_or(&[][..], |shared| &shared.splits);
        let alone = splits.is_empty().then_some(&self.payee);
        splits.iter().map(|part| &part.account).chain(alone)
    }

    /// Who gets what of it, the fee last.
    fn parts(&self, life: &Life) -> SmallVec<[Part; 1]> {
        if let Some(shared) = &self.shared {
            return shared.iter().cloned().collect();
        }
        let worth = self.total(life, LegSide::Payee);
        let nothing = Money::zero(worth.currency);
        smallvec![Part {
            captured: life.captured,
            refunded: life.refunded,
            credited: self.credited.unwrap_or(nothing),
            taken_back: life.taken_back.unwrap_or(nothing),
            ..Part::new(self.payee.clone(), life.amount, worth, String::new())
        }]
    }

    /// What all of it is worth to one side, in that side's currency.
    fn total(&self, life: &Life, side: LegSide) -> Money {
        let leg = self.fx.iter().find(|leg| leg.side == side || leg.side == LegSide::Both);
        leg.map_or(life.amount, |leg| leg.to)
    }

    /// What a capture of `amount` (checked by [`Payment::check_capture`]) moves.
    pub fn movement_of_capture(&self, life: &Life, amount: Money) -> Movement {
        let parts = self.parts(life);
        let captured = life.captured.minor.saturating_add(amount.minor);
        let paid = part(self.total(life, LegSide::Payer), (captured, life.amount.minor), Up);
        let left: SmallVec<[i128; 1]> = parts.iter().map(Part::capturable).collect();
        let moves = parts.iter().zip(divide(amount.minor, &left)).map(|(part, share)| PartMove {
            account: part.account.clone(),
            amount: Money::new(share, amount.currency),
            moves: part.captures(share),
        });
        Movement { payer: less(paid, self.debited), parts: moves.collect() }
    }

    /// How a refund of `amount` is divided over the parts: in proportion to what of each can be given back.
    pub fn divide_refund(&self, life: &Life, amount: Money) -> SmallVec<[i128; 1]> {
        let left: SmallVec<[i128; 1]> = self.parts(life).iter().map(Part::refundable).collect();
        divide(amount.minor, &left)
    }

    /// What of one split, from 0, can be given back, with the fee that was taken out of it; nothing if there is no such
    /// split.
    pub fn refundable_of(&self, split: usize) -> Option<Money> {
        let shared = self.shared.as_ref()?;
        let of = shared.splits.get(split)?;
        let fee = shared.fee.as_ref().filter(|_| shared.fee_of(split).is_some());
        Some(Money::new(of.refundable().saturating_add(fee.map_or(0, |fee| fee.part.refundable())), of.amount.currency))
    }

    /// The same of named splits: each amount is at most what [`Payment::refundable_of`] says.
    pub fn divide_refund_of(&self, named: &[(usize, Money)]) -> SmallVec<[i128; 1]> {
        let Some(shared) = &self.shared else { return SmallVec::new() };
        let left: Vec<i128> = shared.iter().map(Part::refundable).collect();
        let mut shares: SmallVec<[i128; 1]> = smallvec![0; left.len()];
        for (split, amount) in named {
            let places: SmallVec<[usize; 2]> = std::iter::once(*split).chain(shared.fee_of(*split)).collect();
            let weights: SmallVec<[i128; 2]> = places.iter().filter_map(|place| left.get(*place).copied()).collect();
            for (place, share) in places.into_iter().zip(divide(amount.minor, &weights)) {
                if let Some(sum) = shares.get_mut(place) {
                    *sum = sum.saturating_add(share);
                }
            }
        }
        shares
    }

    /// What a refund moves at the payment's own rates, so divided over the parts.
    pub fn movement_of_refund(&self, life: &Life, shares: &[i128], fees: FeesFrom) -> Result<Movement, Failure> {
        let amount = shares.iter().fold(0_i128, |sum, share| sum.saturating_add(*share));
        let stays = (life.refundable().minor.saturating_sub(amount), life.captured.minor);
        let paid = self.debited.unwrap_or(Money::zero(life.amount.currency));
        let payer = less(less(paid, Some(part(paid, stays, Up))), life.given_back);
        let fee = self.shared.as_ref().and_then(|shared| shared.fee.as_ref());
        let moves = self.parts(life).into_iter().zip(shares).map(|(part, share)| {
            let amount = Money::new(*share, life.amount.currency);
            match fee.filter(|fee| fee.part.account == part.account) {
                None => Ok(PartMove { moves: part.gives_back(*share), account: part.account, amount }),
                Some(fee) => self.fee_back(fee, amount, fees),
            }
        });
        Ok(Movement { payer, parts: moves.collect::<Result<_, _>>()? })
    }

    /// The fee is in C, so a share of it is what it says.
    fn fee_back(&self, fee: &FeePart, amount: Money, fees: FeesFrom) -> Result<PartMove, Failure> {
        match fees {
            FeesFrom::House => Ok(PartMove { account: fee.part.account.clone(), amount, moves: amount }),
            FeesFrom::Carrier => {
                let account = self.carrier(fee).clone();
                Ok(PartMove { account, amount, moves: fee.carried_by(amount.minor)? })
            }
        }
    }

    /// Who stands in for the house.
    pub fn carrier(&self, fee: &FeePart) -> &AccountId {
        let carrier = usize::try_from(fee.carrier).ok().and_then(|carrier| self.payees().nth(carrier));
        carrier.unwrap_or(&self.payee)
    }
}
