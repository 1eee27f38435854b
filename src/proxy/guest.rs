//! What another proxy still serves of a release, counted here as if it were open here.

use super::route::{Counted, Route};

/// A request or an upgraded connection that is open elsewhere. Dropping it counts it out.
#[derive(Debug)]
pub struct Guest {
    _counted: Counted,
}

impl Guest {
    /// Counts in a request.
    pub fn http(route: &Route) -> Guest {
        Guest {
            _counted: Counted::request(route.connections()),
        }
    }

    /// Counts in an upgraded connection.
    pub fn upgraded(route: &Route) -> Guest {
        Guest {
            _counted: Counted::upgraded(route.connections()),
        }
    }
}
