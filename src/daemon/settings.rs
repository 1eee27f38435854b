//! How the proxy treats its clients, from the config and what the system allows.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use crate::config::Config;
use crate::proxy::Settings;

/// Descriptors left for processes, pipes and clients of the control socket.
const RESERVED_DESCRIPTORS: u64 = 256;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// However low the open-file limit is, this many clients are let in.
const FEWEST_CONNECTIONS: usize = 64;

pub(super) fn of(config: &Config) -> Settings {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Settings {
        workers: cores,
        trusted_proxies: config.proxy.trusted_proxies.clone(),
        max_connections: config
            .proxy
            .max_connections
            .unwrap_or_else(affordable_connections),
        head_timeout: HEAD_TIMEOUT,
        client_idle_timeout: config.proxy.client_idle_timeout,
        hold_timeout: config.proxy.hold_timeout,
        max_held_requests: config.proxy.max_held_requests,
    }
}

/// Each client may need a second descriptor, for its upstream.
fn affordable_connections() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let connections = limit.saturating_sub(RESERVED_DESCRIPTORS) / 2;
    usize::try_from(connections)
        .unwrap_or(usize::MAX)
        .max(FEWEST_CONNECTIONS)
}
