//! Bodies of the fuzz targets, so that proptest, stable tests and the fuzzer run the same code.

pub mod access;
