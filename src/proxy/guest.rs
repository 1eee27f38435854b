//! What another proxy still serves of a release, counted here as if it were open here.

use std::sync::atomic::Ordering::SeqCst;

use super::route::{Counted, Route};

/// A request or an upgraded connection that is open elsewhere. Dropping it counts it out.
#[derive(Debug)]
pub struct Guest {
    counted: Counted,
}

impl Guest {
    /// Counts in a request.
    pub fn http(route: &Route) -> Guest {
        Guest::of(Counted::request(route.connections()))
    }

    /// Counts in an upgraded connection.
    pub fn upgraded(route: &Route) -> Guest {
        Guest::of(Counted::upgraded(route.connections()))
    }

    fn of(counted: Counted) -> Guest {
        counted.guests().fetch_add(1, SeqCst);
        Guest { counted }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.counted.guests().fetch_sub(1, SeqCst);
    }
}
