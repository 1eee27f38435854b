//! Who listens on a port, read from /proc.

use std::net::SocketAddr;

use crate::host::platform::Listener;

/// Whether one of these processes listens where a client of `address` would arrive.
pub fn listens(pids: &[i32], address: SocketAddr) -> bool {
    let inodes = listening_inodes(address);
    pids.iter().any(|pid| holds_socket(*pid, &inodes))
}

/// The processes that listen where a client of `address` would arrive. Those of other users are only seen by root. It looks
/// through every process of the machine, which takes its time.
pub fn listeners(address: SocketAddr) -> Vec<Listener> {
    let inodes = listening_inodes(address);
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let holders = pids.filter(|pid| !inodes.is_empty() && holds_socket(*pid, &inodes));
    holders
        .map(|pid| Listener {
            pid,
            command: command_name(pid),
        })
        .collect()
}

fn listening_inodes(address: SocketAddr) -> Vec<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    tables
        .iter()
        .flat_map(|table| table.lines())
        .filter_map(|line| Row::parse(line)?.inode_if_serving(address))
        .collect()
}

/// The fields we need of a line of /proc/net/tcp or tcp6, see proc_net(5).
#[derive(Debug, PartialEq, Eq)]
struct Row<'a> {
    local_host: &'a str,
    local_port: u16,
    listens: bool,
    inode: &'a str,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Option<Row<'a>> {
        let mut fields = line.split_ascii_whitespace();
        let (local_host, port) = fields.nth(1)?.split_once(':')?;
        let local_port = u16::from_str_radix(port, 16).ok()?;
        // State 0A is LISTEN; the inode is the tenth field.
        let listens = fields.nth(1)? == "0A";
        Some(Row {
            local_host,
            local_port,
            listens,
            inode: fields.nth(5)?,
        })
    }

    fn inode_if_serving(&self, address: SocketAddr) -> Option<String> {
        let wildcard = self.local_host.bytes().all(|digit| digit == b'0');
        let host = match address {
            // The kernel prints the address as it lies in memory.
            SocketAddr::V4(v4) => format!("{:08X}", u32::from_ne_bytes(v4.ip().octets())),
            SocketAddr::V6(v6) => {
                let octets = v6.ip().octets();
                let words = octets
                    .chunks_exact(4)
                    .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
                words.map(|word| format!("{word:08X}")).collect()
            }
        };
        // An IPv4 client also arrives at an IPv6 socket bound to its mapped address.
        let serving = self.listens
            && self.local_port == address.port()
            && (wildcard || self.local_host.ends_with(&host));
        serving.then(|| self.inode.to_owned())
    }
}

fn holds_socket(pid: i32, inodes: &[String]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|target| {
            let inode = target
                .to_str()
                .and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']'));
            inode.is_some_and(|inode| inodes.iter().any(|wanted| wanted == inode))
        })
}

fn command_name(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_this_very_process_behind_its_listener() {
        for host in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let listener = std::net::TcpListener::bind(host).expect("a free port");
            let port = listener.local_addr().expect("it is bound").port();
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let found = listeners(address);
            let me = i32::try_from(std::process::id()).expect("a pid");
            assert!(
                found.iter().any(|listener| listener.pid == me),
                "{host}: {found:?}"
            );
            assert!(listens(&[1, me], address) && !listens(&[1], address), "{host}");
            let elsewhere = listeners(SocketAddr::from(([127, 0, 0, 9], port)));
            assert_eq!(elsewhere.is_empty(), host.starts_with("127"), "{host}");
        }
    }

    #[test]
    fn a_port_nobody_listens_on_has_no_listener() {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|it| it.local_addr())
            .expect("a port")
            .port();
        assert_eq!(listeners(SocketAddr::from(([127, 0, 0, 1], port))), []);
    }

    #[test]
    fn headers_and_cut_lines_are_passed_over() {
        assert_eq!(Row::parse("  sl  local_address rem_address   st tx_queue"), None);
        assert_eq!(Row::parse("0: 0100007F:1F90 00000000:0000 0A"), None);
    }
}
