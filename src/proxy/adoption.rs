//! Going on with a connection that another proxy, here or in another process, has given up.

use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::handed::{Handed, Stage, socket};
use super::route::{Counted, Route};
use super::slot::Slot;
use super::slots::Slots;
use super::tunnel::Tunnel;
use super::worker::{Arrival, Beginning, Load, Worker};

/// A connection on its way to the worker that goes on with it.
#[derive(Debug)]
pub(super) struct Adopted {
    handed: Handed,
    /// Where a tunnel is counted: from the moment it is adopted.
    counted: Option<(Route, Counted)>,
    load: Load,
}

impl Adopted {
    pub(super) fn new(handed: Handed, route: Option<Route>, load: Load) -> Adopted {
        let route = route.filter(|_| matches!(handed.state.stage, Stage::Tunnel(_)));
        let counted = route.map(|route| {
            let counted = Counted::upgraded(route.connections());
            (route, counted)
        });
        Adopted {
            handed,
            counted,
            load,
        }
    }
}

/// Goes on with it in this worker.
pub(super) fn go_on(worker: &Rc<Worker>, adopted: Adopted) {
    let Adopted {
        handed,
        counted,
        load,
    } = adopted;
    let Handed {
        state,
        client,
        upstream,
    } = handed;
    let slot = Slot::adopted(state.number, state.peer);
    let beginning = match state.stage {
        Stage::Resting(resting) => Beginning::Resting(Box::new(resting)),
        Stage::Held(held) => Beginning::Held(held),
        Stage::Tunnel(tunnel) => {
            let (Some(upstream), Some((route, counted))) = (upstream, counted) else {
                return;
            };
            // A socket that cannot be used is closed, and the other one with it.
            if let (Ok(client), Ok(upstream)) = (socket(client), socket(upstream)) {
                slot.go_on(&tunnel.usage);
                slot.follow(route.connections().id());
                let listed = Slots::add(worker.slots(), &slot);
                let target = worker.target_of(route);
                Tunnel::adopted((client, upstream), &tunnel, listed, load, counted, target).start();
            }
            return;
        }
    };
    let stream = TcpStream::from(client);
    if stream.set_nonblocking(true).is_ok() {
        let arrival = Arrival {
            stream,
            peer: state.peer,
            load,
            beginning,
        };
        worker.serve(arrival, &slot);
    }
}

/// Ends a tunnel that nobody can go on with, on both sides, even where others have descriptors of it too.
pub(super) fn end(handed: Handed) {
    let end = |descriptor: OwnedFd| {
        // Whoever has left already need not be told.
        let _ = TcpStream::from(descriptor).shutdown(Shutdown::Both);
    };
    end(handed.client);
    if let Some(upstream) = handed.upstream {
        end(upstream);
    }
}
