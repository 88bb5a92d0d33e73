//! A script of sends, dials, cuts and losses for two halves of a session.
#![cfg_attr(fuzzing, no_main)]

sudp_fuzz::target!(sudp_tests::fuzz::session::session);
