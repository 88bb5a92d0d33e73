//! A whole world, and what goes wrong in it.
#![cfg_attr(fuzzing, no_main)]

sudp_fuzz::target!(sudp_tests::fuzz::tunnel::tunnel);
