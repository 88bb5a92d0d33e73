//! The first words of a client, as bytes or as the header that carries them.
#![cfg_attr(fuzzing, no_main)]

sudp_fuzz::target!(sudp_tests::fuzz::wire::hello);
