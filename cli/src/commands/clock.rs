//! Another machine's clock beside ours, in words.

/// Signatures of webhooks are refused when they are older than minutes.
pub(crate) const FAILS_SECS: i64 = 60;
pub(crate) const WARNS_SECS: i64 = 5;

/// `ahead_secs`: how far it is ahead of ours.
pub(crate) fn compared(ahead_secs: i64) -> String {
    match ahead_secs {
        -1..=1 => "agrees with ours".to_owned(),
        ahead if ahead < 0 => format!("{} s behind ours", -ahead),
        ahead => format!("{ahead} s ahead of ours"),
    }
}
