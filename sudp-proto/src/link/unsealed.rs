//! What stands for sealing in a build without it: nothing of it can be made, so nothing of it can happen.

use bytes::{Bytes, BytesMut};

use super::seal_end::SealFault;
use crate::rng::Seed;
use crate::wire::SessionId;

/// How a client seals its links; the feature `seal` makes it a thing that exists.
#[derive(Clone, Debug)]
pub enum ClientSeal {}

/// How a server seals links; the feature `seal` makes it a thing that exists.
#[derive(Clone, Debug)]
pub enum ServerSeal {}

#[derive(Debug)]
pub(crate) enum Initiator {}

#[derive(Debug)]
pub(crate) enum Responder {}

#[derive(Debug)]
pub(crate) enum Sealer {}

impl ClientSeal {
    pub(crate) fn found(&self, _hello: &[u8], _seed: Seed) -> (Initiator, Bytes) {
        match *self {}
    }

    pub(crate) fn join(
        &self,
        _session: SessionId,
        _secret: &[u8; 32],
        _hello: &[u8],
        _seed: Seed,
    ) -> (Initiator, Bytes) {
        match *self {}
    }
}

impl ServerSeal {
    pub(crate) fn is_required(&self) -> bool {
        match *self {}
    }

    pub(crate) fn open(&self, _raw: &[u8], _seed: Seed) -> Result<(Responder, Bytes), SealFault> {
        match *self {}
    }
}

impl Initiator {
    pub(crate) fn finish(self, _raw: &[u8]) -> Result<(Bytes, Sealer), SealFault> {
        match self {}
    }
}

impl Responder {
    pub(crate) fn join(_secret: &[u8; 32], _raw: &[u8], _seed: Seed) -> Result<(Self, Bytes), SealFault> {
        Err(SealFault::Changed)
    }

    pub(crate) fn client(&self) -> Option<[u8; 32]> {
        match *self {}
    }

    pub(crate) fn seal(self, _welcome: &[u8]) -> (Bytes, Option<Sealer>) {
        match self {}
    }
}

impl Sealer {
    pub(crate) const fn sealed_len(length: usize) -> usize {
        length
    }

    pub(crate) fn seal(&mut self, _parts: &[&[u8]], _out: &mut BytesMut) -> Result<(), SealFault> {
        match *self {}
    }

    pub(crate) fn open(&mut self, _message: &mut BytesMut) -> Result<(), SealFault> {
        match *self {}
    }
}
