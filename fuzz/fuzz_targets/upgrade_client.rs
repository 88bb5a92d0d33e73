//! What answers a dial.
#![cfg_attr(fuzzing, no_main)]

sudp_fuzz::target!(sudp_tests::fuzz::link::upgrade_client);
