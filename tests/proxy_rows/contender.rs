//! Who is put to the test: this project's proxy inside the test, or a proxy of the machine as a child.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Who is put to the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    Rollbridge,
    Nginx,
    Haproxy,
}

/// A proxy of the machine; it ends with this value.
pub struct Foreigner {
    child: Child,
    _folder: TempDir,
}

impl Contender {
    /// The one that the environment names.
    pub fn chosen() -> Contender {
        match std::env::var("ROLLBRIDGE_ROWS_AGAINST").as_deref() {
            Err(_) | Ok("rollbridge") => Contender::Rollbridge,
            Ok("nginx") => Contender::Nginx,
            Ok("haproxy") => Contender::Haproxy,
            Ok(other) => panic!("ROLLBRIDGE_ROWS_AGAINST is {other}; it can be rollbridge, nginx or haproxy"),
        }
    }

    /// Whether `status` is the refusal a row asks for: exactly that one from us, any error from others.
    pub fn refuses_with(self, status: u16, expected: u16) -> bool {
        status == expected || (self != Contender::Rollbridge && (400..600).contains(&status))
    }

    /// Ends a row that is about something only this project has.
    pub fn must_be_rollbridge() {
        assert!(
            Contender::chosen() == Contender::Rollbridge,
            "not applicable: only Rollbridge has this"
        );
    }
}

impl Foreigner {
    pub fn start(contender: Contender, listen: SocketAddr, upstream: SocketAddr, trusted: bool) -> Foreigner {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.conf");
        let mut command = if contender == Contender::Nginx {
            fs::write(&file, nginx(folder.path(), listen, upstream, trusted)).unwrap();
            let mut command = Command::new("nginx");
            command
                .arg("-e")
                .arg(folder.path().join("error.log"))
                .arg("-c")
                .arg(&file);
            command
        } else {
            fs::write(&file, haproxy(listen, upstream, trusted)).unwrap();
            let mut command = Command::new("haproxy");
            command.arg("-db").arg("-f").arg(&file);
            command
        };
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let child = command
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the proxy of the machine is installed");
        Foreigner {
            child,
            _folder: folder,
        }
    }
}

impl Drop for Foreigner {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// nginx, set up as well as it can be for these rows.
fn nginx(folder: &Path, listen: SocketAddr, upstream: SocketAddr, trusted: bool) -> String {
    let folder = folder.display();
    let port = listen.port();
    let forwarded = if trusted {
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;".to_owned()
    } else {
        format!(
            "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
             proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Port {port};
             proxy_set_header Forwarded \"\";"
        )
    };
    format!(
        "daemon off; master_process off; user root; pid {folder}/pid; error_log {folder}/error.log;
         events {{ worker_connections 1024; }}
         http {{
           access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2;
           fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
           map $http_upgrade $upgrade_or_none {{ default upgrade; \"\" \"\"; }}
           client_header_timeout 30s; large_client_header_buffers 4 64k; client_max_body_size 0;
           upstream application {{ server {upstream} max_fails=0; server {upstream} max_fails=0; keepalive 16; keepalive_timeout 4s; }}
           server {{
             listen {listen};
             location / {{
               proxy_pass http://application; proxy_http_version 1.1; proxy_read_timeout 1h;
               proxy_buffering off; proxy_request_buffering off;
               proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade;
               proxy_set_header Connection $upgrade_or_none; {forwarded}
             }}
           }}
         }}"
    )
}

/// HAProxy, set up as well as it can be for these rows.
fn haproxy(listen: SocketAddr, upstream: SocketAddr, trusted: bool) -> String {
    let port = listen.port();
    let forwarded = if trusted {
        "option forwardfor".to_owned()
    } else {
        format!(
            "http-request del-header Forwarded
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port {port}"
        )
    };
    format!(
        "global
  nbthread 1
  maxconn 1000
  tune.bufsize 81920
  tune.http.maxhdr 128
defaults
  mode http
  timeout connect 20s
  timeout client 1h
  timeout server 1h
  timeout http-request 30s
  option abortonclose
  option http-no-delay
  retry-on conn-failure empty-response
listen application
  bind {listen}
  {forwarded}
  http-request disable-l7-retry if !{{ method GET HEAD PUT DELETE OPTIONS }}
  http-reuse always
  server web {upstream} pool-purge-delay 4s
"
    )
}

/// Fails with all `failures` of a row that has several cases.
pub fn judge(cases: usize, failures: &[String]) {
    let count = failures.len();
    assert!(count == 0, "{count} of {cases} cases:\n{}", failures.join("\n"));
}
