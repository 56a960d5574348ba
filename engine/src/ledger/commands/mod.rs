//! The list of all commands. Each is a file of its own; a new one is a file, and a line here.

pub mod capture;
pub mod create_payment;
pub mod deposit;
pub mod expire;
pub mod open_account;
pub mod publish_rates;
pub mod release;
pub mod remove_rates;
pub mod reserve;
pub mod transfer;
pub mod update_account;
pub mod withdraw;

use serde::{Deserialize, Serialize};

pub use self::{
    capture::Capture, create_payment::CreatePayment, deposit::Deposit, expire::Expire, open_account::OpenAccount,
    publish_rates::PublishRates, release::Release, remove_rates::RemoveRates, reserve::Reserve,
    update_account::UpdateAccount, withdraw::Withdraw,
};
use super::command::{Body, Command, Defaults};

macro_rules! commands {
    ($( $(#[$doc:meta])* $name:ident, )*) => {
        /// A mutating command, normalised, as kept in its entry. Amounts are minor units, so `250` and `250.00` are one
        /// body. A new one is added at the end: the position is written to disk.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Request {
            $( $(#[$doc])* $name($name), )*
        }

        impl Request {
            /// The method's name, as the wire spells it.
            pub fn method(&self) -> &'static str {
                match self {
                    $( Self::$name(_) => stringify!($name), )*
                }
            }

            /// The command.
            pub fn command(&self) -> &dyn Command {
                match self {
                    $( Self::$name(body) => body, )*
                }
            }

            /// The first field in which `again` differs from this one, which was decided under the same key; `method` if
            /// they are not even of one kind.
            pub fn first_difference(&self, again: &Self, defaults: &Defaults<'_>) -> Option<&'static str> {
                match (self, again) {
                    $( (Self::$name(first), Self::$name(again)) => {
                        first.difference(again, defaults)
                    } )*
                    _ => Some("method"),
                }
            }
        }
    };
}

commands! {
    /// Pay an amount to the payee from one of the customer's accounts.
    CreatePayment,
    /// Open an account.
    OpenAccount,
    /// Change an account's status, limits or default mark.
    UpdateAccount,
    /// Money in from outside.
    Deposit,
    /// Money out to outside.
    Withdraw,
    /// Set money aside for a while.
    Reserve,
    /// Take money that was set aside.
    Capture,
    /// Free money that was set aside.
    Release,
    /// The house itself frees what was not taken in time.
    Expire,
    /// One atomic set of rates.
    PublishRates,
    /// Pairs that are published no longer, all at once.
    RemoveRates,
}

impl Request {
    /// Whether it is the house's own: no client asked for it, so it counts in nobody's figures.
    pub fn is_house(&self) -> bool {
        matches!(self, Self::Expire(_))
    }
}
