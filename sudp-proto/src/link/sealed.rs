//! The layer between messages and frames on a link that is sealed.

use bytes::{Bytes, BytesMut};
use tungstenite::protocol::frame::coding::Data;

use super::end::{FrameFault, LinkEnd};
use super::seal_end::SealFault;
use super::{Link, Sealer, WrongStage, frame};

/// How a link seals what it sends, and opens what it hears.
#[derive(Debug)]
pub(super) struct Sealing {
    sealer: Sealer,
    /// The one message in the clear that may still come: what an impatient client said twice.
    stray: Option<Bytes>,
}

impl Link {
    /// Leaves room in the limit of messages for what sealing adds; for a link that is going to be sealed.
    pub(crate) fn expect_sealed(&mut self) {
        self.limits.message = Sealer::sealed_len(self.limits.message);
    }

    /// From here on every message is sealed, those included that have arrived and were not polled. This
    /// one may come in the clear before the first that is sealed, and is passed over.
    pub(crate) fn begin_sealing(&mut self, sealer: Sealer, stray: Option<Bytes>) {
        self.sealing = Some(Box::new(Sealing { sealer, stray }));
    }

    /// Leaves it without numbers to seal by.
    #[cfg(all(test, feature = "seal"))]
    pub(crate) fn spend(&mut self) {
        if let Some(sealing) = &mut self.sealing {
            sealing.sealer.skip_to(u64::MAX);
        }
    }

    /// What a message says; none if it says nothing new.
    pub(super) fn unsealed(&mut self, mut message: BytesMut) -> Result<Option<Bytes>, FrameFault> {
        let Some(sealing) = &mut self.sealing else { return Ok(Some(message.freeze())) };
        if sealing.stray.as_ref().is_some_and(|stray| message[..] == stray[..]) {
            return Ok(None);
        }
        match sealing.sealer.open(&mut message) {
            Ok(()) => {
                sealing.stray = None;
                Ok(Some(message.freeze()))
            }
            Err(SealFault::Changed | SealFault::Plain | SealFault::Spent) => Err(FrameFault::Sealed),
        }
    }

    pub(super) fn send_sealed(&mut self, parts: &[&[u8]]) -> Result<(), WrongStage> {
        let Some(Sealing { sealer, .. }) = self.sealing.as_deref_mut() else { return Err(WrongStage) };
        let length = Sealer::sealed_len(parts.iter().map(|part| part.len()).sum());
        let done = match self.frame_limit.filter(|limit| length > *limit) {
            None => frame::put_whole(length, self.role, &mut self.rng, &mut self.output, |output| {
                sealer.seal(parts, output)
            }),
            Some(limit) => {
                let mut message = BytesMut::with_capacity(length);
                sealer.seal(parts, &mut message).map(|()| {
                    let (rng, output) = (&mut self.rng, &mut self.output);
                    frame::put_fragments(Data::Binary, limit, self.role, &[&message], rng, output);
                })
            }
        };
        done.map_err(|_| {
            // No number is ever used twice: the link is over, and what it carried goes to the next.
            self.give_up(LinkEnd::Spent);
            WrongStage
        })
    }
}
