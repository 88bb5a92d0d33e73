//! A sealed link, and somebody in between.
#![cfg_attr(fuzzing, no_main)]

sudp_fuzz::target!(sudp_tests::fuzz::sealed::sealed);
