//! The open connections of every release: the answer to why one is still draining.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::{Engine, EngineError};
use crate::proxy::OpenConnection;

/// Which connections are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionsRequest {
    /// Those of one release.
    pub release_id: Option<String>,
    /// Cut this one.
    pub close: Option<u64>,
}

/// An open connection, with the release that serves it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReleaseConnection {
    /// The release's id.
    pub release_id: String,
    /// Which deploy of that id.
    pub instance: u64,
    /// The connection.
    pub connection: OpenConnection,
}

impl Engine {
    /// The connections that are asked for, oldest first, also those that a retired engine still serves; one that is to be cut
    /// is the only one told of. A release that is not known is an error, and so is a connection that is not open.
    pub async fn connections(
        &self,
        request: &ConnectionsRequest,
    ) -> Result<Vec<ReleaseConnection>, EngineError> {
        if let Some(id) = &request.release_id {
            let book = self.book();
            if book.find(id).is_none() {
                return Err(book.not_found(id));
            }
        }
        let is_wanted = |open: &ReleaseConnection| {
            let is_of_release = |id: &String| *id == open.release_id;
            request.release_id.as_ref().is_none_or(is_of_release)
                && request
                    .close
                    .is_none_or(|number| number == open.connection.number)
        };
        let mut open = self.own_connections().await;
        open.extend(self.connections_elsewhere(None).await);
        open.retain(is_wanted);
        open.sort_by_key(|open| Reverse(open.connection.age));
        let Some(number) = request.close else {
            return Ok(open);
        };
        let was_cut = !open.is_empty()
            && (self.inner.proxy.cut(number).await
                || !self.connections_elsewhere(Some(number)).await.is_empty());
        match was_cut {
            true => Ok(open),
            false => Err(EngineError::ConnectionNotFound(number)),
        }
    }

    /// What is open in this engine.
    pub(super) async fn own_connections(&self) -> Vec<ReleaseConnection> {
        let open = self.inner.proxy.connections().await;
        let told = open.into_iter().filter_map(|connection| {
            let key = self.release_of_route(connection.route)?;
            Some(ReleaseConnection {
                release_id: key.id,
                instance: key.instance,
                connection,
            })
        });
        told.collect()
    }

    /// What is open here, for another engine. With `close`, the connection of this number is cut, and the only one told of.
    pub(super) async fn connections_for_another(&self, close: Option<u64>) -> Vec<ReleaseConnection> {
        let mut open = self.own_connections().await;
        if let Some(number) = close {
            open.retain(|open| open.connection.number == number);
            if !self.inner.proxy.cut(number).await {
                open.clear();
            }
        }
        open
    }
}
