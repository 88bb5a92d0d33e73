//! What the commands say to what is typed: each file under `cmd` is a dialogue.

#[test]
fn commands_answer_as_written_down() {
    trycmd::TestCases::new().case("tests/cmd/*/*.trycmd");
}
