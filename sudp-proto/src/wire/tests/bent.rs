//! Valid input with a byte changed or its end cut off, and bytes that mean nothing.

use super::*;

proptest! {
    #[test]
    fn d1_18_a_bent_message_reads_as_something_that_reads_the_same_again(
        frames in prop::collection::vec(frame(), 1..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut message = emitted(&frames);
        let at = at.index(message.len());
        message[at] = byte;
        if let Ok(frames) = parse_all(message.clone()) {
            let again = emitted(&frames);
            // Only frames that were skipped are missing; the others have one encoding.
            prop_assert!(again.len() <= message.len());
            if again.len() == message.len() {
                prop_assert_eq!(&again, &message);
            }
            prop_assert_eq!(parse_all(again), Ok(frames));
        }
    }

    #[test]
    fn d1_18_a_bent_hello_reads_as_something_that_reads_the_same_again(
        hello in hello(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut raw = Vec::new();
        hello.emit(&mut raw);
        let at = at.index(raw.len());
        raw[at] = byte;
        raw.truncate(if cut { at } else { raw.len() });
        if let Ok(hello) = Hello::parse(&raw) {
            prop_assert_eq!(Hello::from_header(&hello.to_header()).map(|(hello, _)| hello), Ok(hello));
        }
    }

    #[test]
    fn d1_18_a_bent_welcome_reads_as_something_that_reads_the_same_again(
        welcome in welcome(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut raw = Vec::new();
        welcome.emit(&mut raw);
        let at = at.index(raw.len());
        raw[at] = byte;
        raw.truncate(if cut { at } else { raw.len() });
        if let Ok(welcome) = Welcome::parse(&raw.into()) {
            let mut again = Vec::new();
            welcome.emit(&mut again);
            prop_assert_eq!(Welcome::parse(&again.into()), Ok(welcome));
        }
    }

    #[test]
    fn d1_18_a_bent_control_reads_as_something_that_reads_the_same_again(
        control in control(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut payload = Vec::new();
        control.emit(&mut payload);
        let at = at.index(payload.len());
        payload[at] = byte;
        if let Ok(control) = Control::parse(&payload) {
            let mut again = Vec::new();
            control.emit(&mut again);
            prop_assert_eq!(Control::parse(&again), Ok(control));
        }
    }

    #[test]
    fn d1_18_random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_all(bytes.clone());
        let _ = read_records(bytes.clone().into());
        let _ = Control::parse(&bytes);
        let _ = Hello::parse(&[&[1], &bytes[..]].concat());
        let _ = Welcome::parse(&[&[1, 1, 2, 16], &bytes[..]].concat().into());
    }
}
