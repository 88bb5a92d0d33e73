//! Rules, addresses and the decisions about them.
#![cfg_attr(fuzzing, no_main)]

sudp_fuzz::target!(sudp_tests::fuzz::access::access);
