//! Which port a process gets: the lowest of its range that nobody reserved and nobody holds.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use thiserror::Error;

use crate::config::PortSpec;
use crate::error::plain;

/// Why a process got no port.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum PortError {
    /// Nothing of the range is left.
    #[error(
        "no free port for {process_id} in {from}-{to}: {reserved} reserved by running releases, {in_use} in use by \
         other programs, {not_bindable} not bindable{}; widen the range or free a port",
        .because.as_deref().map(|text| format!(" ({text})")).unwrap_or_default()
    )]
    Exhausted {
        /// The process.
        process_id: String,
        /// The lowest port of its range.
        from: u16,
        /// The highest.
        to: u16,
        /// How many are reserved by processes of this daemon.
        reserved: usize,
        /// How many somebody else holds.
        in_use: usize,
        /// How many cannot be bound for another reason.
        not_bindable: usize,
        /// What the system said of the last one that could not be bound.
        because: Option<String>,
    },
    /// A fixed port is taken.
    #[error("port {port} of {process_id} is not free: {cause}")]
    Taken {
        /// The process.
        process_id: String,
        /// Its port.
        port: u16,
        /// Who has it, or what the system said.
        cause: String,
    },
    /// The system gave no port at all.
    #[error("no free port for {process_id}: {cause}")]
    NoneFree {
        /// The process.
        process_id: String,
        /// What the system said.
        cause: String,
    },
}

/// The ports this daemon's processes hold, with the process that each belongs to.
#[derive(Debug, Default)]
pub struct PortBook {
    reserved: BTreeMap<u16, String>,
}

impl PortBook {
    /// Reserves a port for `process_id`. `try_bind` binds as an app would and lets go again; given port 0 it says which
    /// free port the system chose.
    pub fn reserve(
        &mut self,
        process_id: &str,
        spec: &PortSpec,
        try_bind: impl Fn(u16) -> io::Result<u16>,
    ) -> Result<u16, PortError> {
        let port = match *spec {
            PortSpec::Fixed(0) => self.any(process_id, try_bind)?,
            PortSpec::Fixed(port) => self.fixed(process_id, port, try_bind)?,
            PortSpec::Range { from, to } => self.lowest(process_id, from, to, try_bind)?,
        };
        self.reserved.insert(port, process_id.to_owned());
        Ok(port)
    }

    /// Takes over a reservation that was made before.
    pub fn enter(&mut self, port: u16, process_id: &str) {
        self.reserved.insert(port, process_id.to_owned());
    }

    /// Lets go of ports that are no longer needed.
    pub fn release(&mut self, ports: impl IntoIterator<Item = u16>) {
        for port in ports {
            self.reserved.remove(&port);
        }
    }

    fn any(&self, process_id: &str, try_bind: impl Fn(u16) -> io::Result<u16>) -> Result<u16, PortError> {
        // The system may choose one that we reserved and that is not bound yet; soon it chooses another.
        const TRIES: usize = 64;
        let mut cause = "every port the system offered is reserved".to_owned();
        for _ in 0..TRIES {
            match try_bind(0) {
                Ok(port) if !self.reserved.contains_key(&port) => return Ok(port),
                Ok(_) => {}
                Err(error) => cause = plain(&error),
            }
        }
        Err(PortError::NoneFree {
            process_id: process_id.to_owned(),
            cause,
        })
    }

    fn fixed(
        &self,
        process_id: &str,
        port: u16,
        try_bind: impl Fn(u16) -> io::Result<u16>,
    ) -> Result<u16, PortError> {
        let cause = match self.reserved.get(&port) {
            Some(owner) => format!("reserved by {owner}; a range lets two releases overlap"),
            None => match try_bind(port) {
                Ok(_) => return Ok(port),
                Err(error) => plain(&error),
            },
        };
        Err(PortError::Taken {
            process_id: process_id.to_owned(),
            port,
            cause,
        })
    }

    fn lowest(
        &self,
        process_id: &str,
        from: u16,
        to: u16,
        try_bind: impl Fn(u16) -> io::Result<u16>,
    ) -> Result<u16, PortError> {
        let (mut reserved, mut in_use, mut not_bindable, mut because) = (0, 0, 0, None);
        for port in from..=to {
            if self.reserved.contains_key(&port) {
                reserved += 1;
                continue;
            }
            match try_bind(port) {
                Ok(_) => return Ok(port),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => in_use += 1,
                Err(error) => {
                    not_bindable += 1;
                    because = Some(plain(&error));
                }
            }
        }
        let process_id = process_id.to_owned();
        Err(PortError::Exhausted {
            process_id,
            from,
            to,
            reserved,
            in_use,
            not_bindable,
            because,
        })
    }
}

/// Binds and listens on `host` as an app would (the standard library sets SO_REUSEADDR) and lets go again; on every
/// address if `host` is none of this machine.
pub fn try_bind(host: IpAddr, port: u16) -> io::Result<u16> {
    let bind = |address: IpAddr| TcpListener::bind(SocketAddr::new(address, port))?.local_addr();
    let wildcard = match host {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    match bind(host) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => bind(wildcard),
        outcome => outcome,
    }
    .map(|address| address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: PortSpec = PortSpec::Range { from: 100, to: 103 };

    fn all_free(port: u16) -> io::Result<u16> {
        Ok(port)
    }

    #[test]
    fn takes_the_lowest_that_is_neither_reserved_nor_in_use() {
        let mut book = PortBook::default();
        assert_eq!(book.reserve("web", &RANGE, all_free), Ok(100));
        let first_in_use = |port| match port {
            101 => Err(io::ErrorKind::AddrInUse.into()),
            port => Ok(port),
        };
        assert_eq!(book.reserve("web", &RANGE, first_in_use), Ok(102));
        book.release([100]);
        assert_eq!(book.reserve("web", &RANGE, all_free), Ok(100));
    }

    #[test]
    fn an_exhausted_range_says_why() {
        let mut book = PortBook::default();
        book.reserve("web", &RANGE, all_free).expect("the first is free");
        let others = |port| match port {
            101 => Err(io::ErrorKind::AddrInUse.into()),
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        };
        let error = book
            .reserve("web", &RANGE, others)
            .expect_err("nothing is left")
            .to_string();
        assert_eq!(
            error,
            "no free port for web in 100-103: 1 reserved by running releases, 1 in use by other programs, \
             2 not bindable (permission denied); widen the range or free a port"
        );
    }

    #[test]
    fn a_fixed_port_names_its_owner() {
        let mut book = PortBook::default();
        assert_eq!(book.reserve("broker", &PortSpec::Fixed(700), all_free), Ok(700));
        let error = book
            .reserve("web", &PortSpec::Fixed(700), all_free)
            .expect_err("it is reserved");
        assert_eq!(
            error.to_string(),
            "port 700 of web is not free: reserved by broker; a range lets two releases overlap"
        );
    }

    #[test]
    fn a_real_listener_is_noticed() {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let holder = TcpListener::bind((local, 0)).expect("a free port");
        let port = holder.local_addr().expect("it is bound").port();
        assert_eq!(
            try_bind(local, port).expect_err("it is held").kind(),
            io::ErrorKind::AddrInUse
        );
        assert_ne!(try_bind(local, 0).expect("a free port"), 0);
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(
            try_bind(elsewhere, port).expect_err("it is held").kind(),
            io::ErrorKind::AddrInUse
        );
    }
}
