//! What dials a server.
#![cfg_attr(fuzzing, no_main)]

sudp_fuzz::target!(sudp_tests::fuzz::link::upgrade_server);
