//! Randomness that repeats: a seed in, the same bytes out, on every machine.

use std::fmt;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng};
#[cfg(feature = "driver")]
use hmac::{Hmac, KeyInit as _, Mac as _};
#[cfg(feature = "driver")]
use sha2::Sha256;

/// Where a machine's randomness begins.
///
/// Outside tests it must come from the operating system: masks, session secrets and link keys are
/// drawn from it, so it is never printed.
#[derive(Clone)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    /// A seed for something that is not drawn from this one, and differs by its name: what is drawn from this
    /// one stays what it was.
    #[cfg(feature = "driver")]
    pub(crate) fn branch(&self, name: &str) -> Self {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        Self(mac.chain_update(name).finalize().into_bytes().into())
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl From<u64> for Seed {
    /// A seed for tests and simulations.
    fn from(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }
}

/// A cryptographic generator that belongs to one machine.
#[derive(Debug)]
pub struct Rng(ChaCha20Rng);

impl Rng {
    /// Starts the stream that `seed` names.
    pub fn new(seed: &Seed) -> Self {
        Self(ChaCha20Rng::from_seed(seed.0))
    }

    /// A seed for a machine that this one owns, independent of everything drawn later.
    pub fn fork(&mut self) -> Seed {
        Seed(self.array())
    }

    /// Random bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A random number.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, or 0 if that is 0.
    ///
    /// The bias is below 2⁻³² for every bound this crate uses.
    pub fn below(&mut self, end: u64) -> u64 {
        match u64::try_from((u128::from(self.u64()) * u128::from(end)) >> 64) {
            Ok(number) => number,
            Err(_) => unreachable!("the upper half of a product of two 64-bit numbers has 64 bits"),
        }
    }

    /// Whether something that happens `times` in `of` happens now.
    pub fn chance(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_stream_and_another_another() {
        let draw = |seed: u64| Rng::new(&Seed::from(seed)).array::<16>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn a_seed_is_never_printed() {
        let seed = Seed([0xab; 32]);
        assert_eq!(format!("{seed:?}"), "Seed(..)");
    }

    #[test]
    fn below_stays_below_and_reaches_every_number() {
        let mut rng = Rng::new(&Seed::from(3));
        let mut seen = [false; 7];
        for _ in 0..1_000 {
            seen[usize::try_from(rng.below(7)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(rng.below(0), 0);
        assert!((0..1_000).all(|_| rng.below(u64::MAX) < u64::MAX));
    }
}
