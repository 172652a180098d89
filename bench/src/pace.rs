//! A steady rate, whatever the receiver does: what is late is not left out (no coordinated omission).

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Calls `at` with 0, 1, 2 … at `rate` a second.
pub(crate) async fn paced(
    rate: u32,
    count: usize,
    mut at: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let start = Instant::now();
    for index in 0..count {
        sleep_until(start + Duration::from_secs_f64(index as f64 / f64::from(rate))).await;
        at(index)?;
    }
    Ok(())
}
