//! The primitives of a handshake, all of them from `aws-lc-rs`; what is drawn comes from our own [`Rng`].

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::digest::{self, SHA256};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroizing;

use crate::rng::{Rng, Seed};

/// What a handshake of this suite is made with, and no other.
pub(super) struct Resolver {
    /// Where the ephemeral key comes from.
    pub(super) seed: Seed,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Drawn(Rng::new(&self.seed))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(Exchange::default()) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        matches!(choice, HashChoice::SHA256).then(|| Box::new(Sha256(digest::Context::new(&SHA256))) as Box<dyn Hash>)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        matches!(choice, CipherChoice::AESGCM).then(|| Box::new(Aes(key(&[0; 32]))) as Box<dyn Cipher>)
    }
}

/// A key of the suite's cipher.
pub(super) fn key(bytes: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("a key of AES-256 has 32 bytes"))
}

/// The nonce of a number, as Noise writes it for AES-GCM.
pub(super) fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The public part of a private key of X25519.
pub(super) fn public(private: &[u8; 32]) -> [u8; 32] {
    let mut exchange = Exchange::default();
    exchange.set(private);
    exchange.public
}

struct Drawn(Rng);

impl Random for Drawn {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        for chunk in dest.chunks_mut(32) {
            chunk.copy_from_slice(&self.0.array::<32>()[..chunk.len()]);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Exchange {
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
    key: Option<PrivateKey>,
}

impl Dh for Exchange {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, private: &[u8]) {
        self.private.copy_from_slice(private);
        let key = PrivateKey::from_private_key(&X25519, private).expect("any 32 bytes are a key of X25519");
        let public = key.compute_public_key().expect("every key of X25519 has a public part");
        self.public.copy_from_slice(public.as_ref());
        self.key = Some(key);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut private = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *private)?;
        self.set(&*private);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.private
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let key = self.key.as_ref().ok_or(Error::Dh)?;
        let public = public.get(..32).ok_or(Error::Dh)?;
        // A point of small order, whose product is zero, is refused here.
        agree(key, UnparsedPublicKey::new(&X25519, public), Error::Dh, |secret| {
            out[..32].copy_from_slice(secret);
            Ok(())
        })
    }
}

struct Aes(LessSafeKey);

impl Cipher for Aes {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, bytes: &[u8; 32]) {
        self.0 = key(bytes);
    }

    fn encrypt(&self, number: u64, data: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        let (body, rest) = out.split_at_mut(plain.len());
        body.copy_from_slice(plain);
        let tag = self.0.seal_in_place_separate_tag(nonce(number), Aad::from(data), body);
        rest[..16].copy_from_slice(tag.expect("a message of Noise is not too long for a cipher").as_ref());
        plain.len() + 16
    }

    fn decrypt(&self, number: u64, data: &[u8], cipher: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let length = cipher.len().checked_sub(16).ok_or(Error::Decrypt)?;
        let (body, tag) = cipher.split_at(length);
        let out = out.get_mut(..length).ok_or(Error::Decrypt)?;
        let opened = self.0.open_separate_gather(nonce(number), Aad::from(data), body, tag, out);
        opened.map(|()| length).map_err(|_| Error::Decrypt)
    }
}

struct Sha256(digest::Context);

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = digest::Context::new(&SHA256);
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let context = std::mem::replace(&mut self.0, digest::Context::new(&SHA256));
        out[..32].copy_from_slice(context.finish().as_ref());
    }
}
