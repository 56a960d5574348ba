//! Dividing an amount over several by weight, to the last minor unit (P9, P12).

use smallvec::SmallVec;

/// Divides `amount` in proportion to `weights`, by largest remainder: each gets its share rounded down, and the units
/// that are left over go to the largest fractions, ties to the earlier. Nobody gets more than its weight as long as the
/// amount is no more than all weights together. Amount and weights are zero or more and at most 10^18, so products are
/// exact.
pub fn divide(amount: i128, weights: &[i128]) -> SmallVec<[i128; 1]> {
    let whole: i128 = weights.iter().fold(0, |sum, weight| sum.saturating_add(*weight));
    let of = |weight: &i128| amount.saturating_mul(*weight);
    let mut shares: SmallVec<[i128; 1]> =
        weights.iter().map(|weight| of(weight).checked_div(whole).unwrap_or_default()).collect();
    let given = shares.iter().fold(0_i128, |sum, share| sum.saturating_add(*share));
    let left_over = usize::try_from(amount.saturating_sub(given)).unwrap_or_default();
    if left_over == 0 || whole == 0 {
        return shares;
    }
    let fraction = |n: &usize| weights.get(*n).map_or(0, |weight| of(weight).checked_rem(whole).unwrap_or_default());
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|n| std::cmp::Reverse(fraction(n)));
    for n in order.into_iter().take(left_over) {
        if let Some(share) = shares.get_mut(n) {
            *share = share.saturating_add(1);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_left_over_goes_to_the_largest_fractions_and_then_to_the_earlier() {
        assert_eq!(divide(100, &[1, 1, 1]).as_slice(), [34, 33, 33]);
        assert_eq!(divide(5, &[1, 2, 4]).as_slice(), [1, 1, 3]);
        assert_eq!(divide(1, &[3_333, 3_333, 3_334]).as_slice(), [0, 0, 1]);
        assert_eq!(divide(7, &[0, 7]).as_slice(), [0, 7]);
        assert_eq!(divide(0, &[0]).as_slice(), [0]);
    }

    proptest! {
        /// Also where parts were taken before: what each still has is its weight.
        #[test]
        fn parts_are_used_up_together(
            parts in prop::collection::vec(0_i128..1_000_000_000_000_000_000, 1..33),
            steps in prop::collection::vec(1_u32..1_000, 1..20),
        ) {
            let mut left = parts.clone();
            for step in steps {
                let whole: i128 = left.iter().sum();
                let amount = whole * i128::from(step) / 1_000;
                let shares = divide(amount.min(1_000_000_000_000_000_000), &left);
                prop_assert_eq!(shares.iter().sum::<i128>(), amount.min(1_000_000_000_000_000_000));
                for (left, share) in left.iter_mut().zip(&shares) {
                    prop_assert!((0..=*left).contains(share));
                    *left -= share;
                }
            }
            let rest: i128 = left.iter().sum();
            if rest <= 1_000_000_000_000_000_000 {
                prop_assert_eq!(divide(rest, &left).into_vec(), left);
            }
        }
    }
}
