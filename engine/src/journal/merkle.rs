//! Hashes of entries, and the root over those of a block.

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// The Merkle root of entry hashes: pairs are hashed upwards, a lone last one is carried up as it is.
pub(super) fn merkle_root(mut hashes: Vec<Hash>) -> Hash {
    while hashes.len() > 1 {
        let mut next = Vec::with_capacity(hashes.len().div_ceil(2));
        for pair in hashes.chunks(2) {
            next.push(match pair {
                [left, right] => {
                    let mut both = [0; 64];
                    let (l, r) = both.split_at_mut(32);
                    l.copy_from_slice(left);
                    r.copy_from_slice(right);
                    *blake3::hash(&both).as_bytes()
                }
                [lone] => *lone,
                _ => Hash::default(),
            });
        }
        hashes = next;
    }
    hashes.pop().unwrap_or_default()
}
