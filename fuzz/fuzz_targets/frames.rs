//! What an open link reads.
#![cfg_attr(fuzzing, no_main)]

sudp_fuzz::target!(sudp_tests::fuzz::link::frames);
