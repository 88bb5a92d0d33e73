
/// The switch that `tests/teeth.sh` puts into its copy of the core.
#[allow(missing_docs, reason = "only in that copy")]
pub mod teeth {
    pub fn off(rule: &str) -> bool {
        static OFF: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
        OFF.get_or_init(|| std::env::var("SUDP_OFF").ok()).as_deref() == Some(rule)
    }
}
