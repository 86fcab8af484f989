//! A listening socket that the server inherits, as systemd passes it with `packaging/tripgate.socket`.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::process::Process;

/// Starts a server that inherits `listener` as file descriptor 3, as systemd passes it.
fn activate(dir: &Path, listener: &TcpListener) -> Process {
    let inherit = r#"exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0""#;
    let mut command = Command::new("sh");
    command.args(["-c", inherit, env!("CARGO_BIN_EXE_tripgate")]).current_dir(dir).env_clear();
    command.env("TRIPGATE_BCRYPT_COST", "4").stdin(OwnedFd::from(listener.try_clone().unwrap()));
    Process::start(command)
}

/// Requests `/health/live` on a new connection, and returns the status line.
fn request(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: trips.example\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn a_connection_waits_while_a_server_with_an_inherited_socket_restarts() {
    let dir = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = activate(dir.path(), &listener);
    assert_eq!(server.address, address, "the inherited socket replaces TRIPGATE_LISTEN");
    assert_eq!(request(address).unwrap(), "HTTP/1.1 200 OK");
    server.terminate();
    assert_eq!(server.wait_for_exit().0, Some(0));
    // No server runs now, so the request waits in the listening socket.
    let waiting = thread::spawn(move || request(address).unwrap());
    let server = activate(dir.path(), &listener);
    assert_eq!(waiting.join().unwrap(), "HTTP/1.1 200 OK");
    drop(server);
    assert!(fs::exists(dir.path().join("data/tripgate.db")).unwrap());
}

#[test]
fn no_connection_is_refused_while_a_server_with_an_inherited_socket_restarts_under_load() {
    let dir = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = activate(dir.path(), &listener);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut connections = 0;
                while !stop.load(Ordering::Relaxed) {
                    TcpStream::connect(address).unwrap();
                    connections += 1;
                    thread::sleep(Duration::from_millis(25));
                }
                connections
            })
        })
        .collect();
    for _ in 0..2 {
        server.terminate();
        assert_eq!(server.wait_for_exit().0, Some(0));
        server = activate(dir.path(), &listener);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.join().unwrap() > 5, "the client made too few connections");
    }
}
