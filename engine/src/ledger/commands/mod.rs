//! The list of all commands. Each is a file of its own; a new one is a file, and a line with the next number.

pub mod funds;

use minicbor::{Decode, Encode};

use super::body::{Body, Defaults, SameBody};

macro_rules! commands {
    ($( $(#[$doc:meta])* $number:literal = $module:ident::$name:ident, )*) => {
        $( pub mod $module; pub use self::$module::$name; )*

        /// A mutating command, normalised, as kept in its entry. Amounts are minor units, so `250` and `250.00` are one
        /// body. The number is written to disk and is never given to another.
        #[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
        pub enum Request {
            $( $(#[$doc])* #[n($number)] $name(#[n(0)] $name), )*
        }

        impl Request {
            /// The method's name, as the wire spells it.
            pub fn method(&self) -> &'static str {
                match self {
                    $( Self::$name(_) => stringify!($name), )*
                }
            }

            /// The body.
            pub fn body(&self) -> &dyn Body {
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
    0 = create_payment::CreatePayment,
    /// Open an account.
    1 = open_account::OpenAccount,
    /// Change an account's status, limits or default mark.
    2 = update_account::UpdateAccount,
    /// Money in from outside.
    3 = deposit::Deposit,
    /// Money out to outside.
    4 = withdraw::Withdraw,
    /// Set money aside for a while.
    5 = reserve::Reserve,
    /// Take money that was set aside.
    6 = capture::Capture,
    /// Free money that was set aside.
    7 = release::Release,
    /// The house itself frees what was not taken in time.
    8 = expire::Expire,
    /// One atomic set of rates.
    9 = publish_rates::PublishRates,
    /// Pairs that are published no longer, all at once.
    10 = remove_rates::RemoveRates,
    /// Take money that was set aside for a payment.
    11 = capture_payment::CapturePayment,
    /// Free money that was set aside for a payment.
    12 = void_payment::VoidPayment,
    /// Give back what a payment took.
    13 = refund_payment::RefundPayment,
    /// Move money between accounts, in a group.
    14 = create_transfer::CreateTransfer,
    /// Move what a transfer holds.
    15 = post_transfer::PostTransfer,
    /// Free what a transfer holds.
    16 = void_transfer::VoidTransfer,
    /// Take back what an operation moved.
    17 = reverse_operation::ReverseOperation,
    /// Change what is noted about a payment.
    18 = update_payment::UpdatePayment,
}

impl Request {
    /// Whether it is the house's own: no client asked for it, so it counts in nobody's figures.
    pub fn is_house(&self) -> bool {
        matches!(self, Self::Expire(_))
    }
}
