//! One message of a link: frames, batches, records.
#![cfg_attr(fuzzing, no_main)]

sudp_fuzz::target!(sudp_tests::fuzz::wire::message);
