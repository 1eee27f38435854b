//! The open connections of every release: the answer to why one is still draining.

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
#[derive(Clone, Debug)]
pub struct ReleaseConnection {
    /// The release's id.
    pub release_id: String,
    /// Which deploy of that id.
    pub instance: u64,
    /// The connection.
    pub connection: OpenConnection,
}

impl Engine {
    /// The connections that are asked for, oldest first; one that is to be cut is the only one told of. A release that is
    /// not known is an error, and so is a connection that is not open.
    pub async fn connections(
        &self,
        request: &ConnectionsRequest,
    ) -> Result<Vec<ReleaseConnection>, EngineError> {
        let mut routes: Vec<(u64, String, u64)> = Vec::new();
        {
            let book = self.book();
            if let Some(id) = &request.release_id
                && book.find(id).is_none()
            {
                return Err(book.not_found(id));
            }
            let wanted = |id: &String| request.release_id.as_ref().is_none_or(|wanted| wanted == id);
            let releases = book.releases.iter().filter(|release| wanted(&release.key().id));
            routes.extend(releases.map(|release| {
                let key = release.key();
                (release.route().connections().id(), key.id.clone(), key.instance)
            }));
        }
        let mut open: Vec<ReleaseConnection> = self
            .inner
            .proxy
            .connections()
            .await
            .into_iter()
            .filter_map(|connection| {
                let (_, release_id, instance) =
                    routes.iter().find(|(route, ..)| *route == connection.route)?;
                Some(ReleaseConnection {
                    release_id: release_id.clone(),
                    instance: *instance,
                    connection,
                })
            })
            .collect();
        let Some(number) = request.close else {
            return Ok(open);
        };
        open.retain(|open| open.connection.number == number);
        match !open.is_empty() && self.inner.proxy.cut(number).await {
            true => Ok(open),
            false => Err(EngineError::ConnectionNotFound(number)),
        }
    }
}
