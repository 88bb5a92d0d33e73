//! Variable-length numbers of up to 62 bits, as in QUIC.
