//! Rules, hosts and decisions.
#![cfg_attr(fuzzing, no_main)]

sudp_fuzz::target!(sudp_tests::fuzz::access::access);
