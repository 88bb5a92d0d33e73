//! What stands for TLS in a build without it: nothing of it can be made, so nothing of it can happen.

use bytes::{Bytes, BytesMut};

use super::secure::Received;
use super::tls_end::TlsEnd;
use super::upgrade::Target;

/// How a client speaks TLS; the feature `tls` makes it a thing that exists.
#[derive(Clone, Debug)]
pub enum ClientTls {}

/// How a server speaks TLS; the feature `tls` makes it a thing that exists.
#[derive(Clone, Debug)]
pub enum ServerTls {}

#[derive(Debug)]
pub(super) enum Tls {}

impl ClientTls {
    pub(super) fn connect(&self, _target: &Target) -> Result<Tls, TlsEnd> {
        match *self {}
    }
}

impl ServerTls {
    pub(super) fn accept(&self) -> Result<Tls, TlsEnd> {
        match *self {}
    }
}

impl Tls {
    pub(super) fn receive(&mut self, _cipher: &mut BytesMut) -> Result<Received, TlsEnd> {
        match *self {}
    }

    pub(super) fn seal(&mut self, _plain: &mut BytesMut) -> Result<(), TlsEnd> {
        match *self {}
    }

    pub(super) fn finish(&mut self, _plain: &mut BytesMut) {
        match *self {}
    }

    pub(super) fn say_in_clear(&mut self, _words: &[u8]) {
        match *self {}
    }

    pub(super) fn certificate(&self) -> Option<Bytes> {
        match *self {}
    }

    pub(super) fn plain_mut(&mut self) -> &mut BytesMut {
        match *self {}
    }

    pub(super) fn wire(&self) -> &[u8] {
        match *self {}
    }

    pub(super) fn advance(&mut self, _written: usize) {
        match *self {}
    }

    pub(super) fn forget(&mut self) {
        match *self {}
    }

    pub(super) fn release(&mut self) {
        match *self {}
    }

    pub(super) fn held(&self) -> usize {
        match *self {}
    }
}
