//! How long a test waits for what has to happen.

use std::time::Duration;

use tokio::time::timeout;

/// Nothing on a working machine takes this long. The score card of another proxy is made on a quiet machine, and there
/// much of it does not happen at all.
pub fn patience() -> Duration {
    let against = std::env::var("ROLLBRIDGE_ROWS_AGAINST");
    let is_ours = against.is_err() || against.as_deref() == Ok("rollbridge");
    Duration::from_secs(if is_ours { 20 } else { 5 })
}

/// The result of `future`, which must not take for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(patience(), future)
        .await
        .expect("this should have happened long ago")
}
