//! The phase `ports`: every process of the release gets its port, and the release its place on the books.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::Deploy;
use crate::config::{PortSpec, ProcessDefinition};
use crate::daemon::standing::keeps_port;
use crate::error::plain;
use crate::process::Scope;
use crate::release::health::Target;
use crate::release::ports::try_bind;
use crate::release::{Blueprint, Cause, DeployPhase, Failure, Release, ReleaseKey};

impl Deploy {
    pub(super) async fn reserve_ports(&mut self) -> Result<(), Failure> {
        let config = self.config.clone();
        let host = resolve(&config.proxy.upstream_host).await?;
        for definition in &config.processes {
            self.reserve_port(definition, host)?;
        }
        let ports: Vec<String> = self
            .ports
            .iter()
            .map(|(id, port)| format!("{id} {port}"))
            .collect();
        self.progress.tell(DeployPhase::Ports, ports.join(", "));
        self.enter_on_the_books(host);
        Ok(())
    }

    /// For a release that is put back with the ports it has: services and singletons may have come since.
    pub(super) async fn reserve_standing_ports(&mut self) -> Result<(), Failure> {
        let config = self.config.clone();
        let host = resolve(&config.proxy.upstream_host).await?;
        let target = self.release();
        self.ports = target.blueprint().ports.clone();
        for definition in config
            .processes
            .iter()
            .filter(|definition| keeps_port(definition))
        {
            self.reserve_port(definition, host)?;
        }
        Ok(())
    }

    fn reserve_port(&mut self, definition: &ProcessDefinition, host: IpAddr) -> Result<(), Failure> {
        let Some(spec) = &definition.port else {
            return Ok(());
        };
        let mut book = self.engine.book();
        let id = definition.id.clone();
        if let Some(port) = book
            .kept_ports
            .get(&id)
            .copied()
            .filter(|_| keeps_port(definition))
        {
            self.ports.insert(id, port);
            return Ok(());
        }
        // The daemon whose place this one takes has it still, and will have let go of it when it is needed.
        let is_left = self.engine.leaves_to_owner(definition) && matches!(spec, PortSpec::Fixed(1..));
        let reserved = book.ports.reserve(&id, spec, |port| match is_left {
            true => Ok(port),
            false => try_bind(host, port),
        });
        let port = reserved.map_err(|error| Failure::port(&id, &error))?;
        drop(book);
        self.ports.insert(id.clone(), port);
        if keeps_port(definition) {
            self.to_keep.insert(id, port);
        } else {
            self.reserved.push(port);
        }
        Ok(())
    }

    fn enter_on_the_books(&mut self, host: IpAddr) {
        let config = self.config.clone();
        let upstream_host = config.proxy.upstream_host.clone();
        let port = *self
            .ports
            .get(&config.proxied().id)
            .expect("a checked config gives the proxied process a port");
        let authority = match upstream_host.contains(':') {
            true => format!("[{upstream_host}]:{port}"),
            false => format!("{upstream_host}:{port}"),
        };
        let id = self.naming.id.clone();
        let instance = self.engine.book().next_instance(&id);
        let scope = Scope {
            application: config.application.clone(),
            release_id: self.naming.id.clone(),
            instance,
            release_path: self.path.clone(),
            revision: self.naming.revision.clone(),
            ports: self.ports.clone(),
            proxy_host: config.proxy.host.clone(),
            proxy_port: self.engine.inner.proxy.local_address().port(),
            upstream_host,
            environment: self.engine.inner.environment.clone(),
        };
        let blueprint = Blueprint {
            key: ReleaseKey { id, instance },
            path: self.path.clone(),
            revision: self.naming.revision.clone(),
            config,
            ports: self.ports.clone(),
            reserved: self.reserved.clone(),
            scope: Arc::new(scope),
            target: Target {
                address: SocketAddr::new(host, port),
                authority,
            },
        };
        let release = Release::new(blueprint, &self.engine.inner.host, &self.engine.inner.events);
        {
            let mut book = self.engine.book();
            book.releases.push(release.clone());
            self.engine.note_book(&book);
        }
        self.engine.follow_to_its_end(&release);
        self.cancel.concerns(&release);
        self.release = Some(release);
        self.note();
    }
}

/// The address of the upstream host. Where a name has both kinds, the IPv4 one: most apps told to listen on
/// `localhost` do so there.
async fn resolve(host: &str) -> Result<IpAddr, Failure> {
    let none = |reason: String| {
        Failure::general(Cause::UpstreamHost {
            host: host.to_owned(),
            reason,
        })
    };
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Ok(address);
    }
    if host == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let found = tokio::net::lookup_host((host, 0))
        .await
        .map_err(|error| none(plain(&error)))?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort_by_key(|address| !address.is_ipv4());
    addresses
        .first()
        .copied()
        .ok_or_else(|| none("it resolves to nothing".to_owned()))
}
