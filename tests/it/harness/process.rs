//! Runs the built binary in its own directory and environment.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::{Value, json};
use tripgate::config::Settings;

use crate::harness::PASSWORD;

/// The maximum duration of a start or a stop.
const EXIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Returns the command with `args` in `dir`. Its environment has only `PATH`, with which the server finds the
/// programs for backups.
pub(crate) fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tripgate"));
    command.args(args).current_dir(dir).env_clear().stdin(Stdio::null());
    #[expect(clippy::disallowed_methods, reason = "PATH is not a setting of the server")]
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Runs the binary until it exits.
pub(crate) fn run(dir: &Path, args: &[&str]) -> Output {
    finish(&mut command(dir, args))
}

/// Runs a command until it exits. Kills it and fails the test after the timeout.
pub(crate) fn finish(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Read during the run: a process blocks on a full pipe.
    let (out, err) = (drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap()));
    let status = wait(&mut child);
    if status.is_none() {
        child.kill().unwrap();
    }
    let (stdout, stderr) = (out.join().unwrap(), err.join().unwrap());
    let Some(status) = status else {
        panic!("the process did not exit: {}", String::from_utf8_lossy(&stderr))
    };
    Output { status, stdout, stderr }
}

fn drain(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}

/// Returns the standard error output.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns the standard output.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let begin = Instant::now();
    while begin.elapsed() < EXIT_TIMEOUT {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// A server process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The address that the server listens on.
    pub(crate) address: SocketAddr,
    /// The standard output until the server was ready.
    pub(crate) banner: String,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    http: reqwest::Client,
}

impl Process {
    /// Starts a server in `dir` on a free port with cheap hashes and the extra flags in `args`.
    pub(crate) fn serve(dir: &Path, args: &[&str]) -> Self {
        let mut command = command(dir, args);
        command.env("TRIPGATE_LISTEN", "127.0.0.1:0").env("TRIPGATE_BCRYPT_COST", "4");
        Self::start(command)
    }

    /// Starts a server with the database and the master secret of these settings.
    pub(crate) fn serve_over(dir: &Path, settings: &Settings, args: &[&str]) -> Self {
        let secret_file = settings.secret_file.to_str().unwrap();
        let common = ["--database-url", settings.database_url.expose(), "--secret-file", secret_file];
        Self::serve(dir, &[&common, args].concat())
    }

    /// Starts a server with this command, and waits until the server reports its address.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&log);
        let reader = thread::spawn(move || {
            let mut line = Vec::new();
            while matches!(stderr.read_until(b'\n', &mut line), Ok(1..)) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        let mut banner = String::new();
        while !banner.contains("  Data ") {
            if stdout.read_line(&mut banner).unwrap() == 0 {
                reader.join().unwrap();
                panic!("the server did not start: {banner}{}", log.lock().unwrap());
            }
        }
        // Read the rest of the output, because a full pipe would block the server.
        thread::spawn(move || stdout.read_to_string(&mut String::new()));
        let address = address_in(&log);
        let http = reqwest::Client::builder().no_proxy().timeout(EXIT_TIMEOUT).build().unwrap();
        Self { child, address, banner, log, reader: Some(reader), http }
    }

    /// Creates a request to the server.
    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    /// Creates an account and returns the whole `TokenGrant`.
    pub(crate) async fn sign_up(&self, username: &str) -> Value {
        let body = json!({ "username": username, "password": PASSWORD });
        let response = self.call(Method::POST, "/api/v1/auth/signup").json(&body).send().await.unwrap();
        assert_eq!(response.status(), 201);
        response.json().await.unwrap()
    }

    /// Kills the server as `kill -9` does.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Requests a graceful stop.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops all threads of the server, as `kill -STOP` does.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues a paused server.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Limits the size of every file that the server writes, in bytes.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(self.pid()), Resource::Fsize, limit).unwrap();
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Returns the id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap()).unwrap()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the exit and returns the exit code and the whole log.
    pub(crate) fn wait_for_exit(mut self) -> (Option<i32>, String) {
        let status = wait(&mut self.child).unwrap();
        self.reader.take().unwrap().join().unwrap();
        let log = self.log.lock().unwrap().clone();
        (status.code(), log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads the address from the log. The banner may show a host name instead.
fn address_in(log: &Mutex<String>) -> SocketAddr {
    let begin = Instant::now();
    loop {
        let text = log.lock().unwrap().clone();
        let address = text.lines().find(|line| line.contains("serving")).and_then(|line| {
            let from = line.find("127.0.0.1:")?;
            line[from..].split(['"', ' ', ',']).next()
        });
        if let Some(address) = address {
            return address.parse().unwrap();
        }
        assert!(begin.elapsed() < EXIT_TIMEOUT, "no listening address in the log: {text}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Encodes a string for HPACK: its length as a variable-length integer (RFC 7541 §5.1), then its bytes.
fn hpack(text: &str) -> Vec<u8> {
    let short = u8::try_from(text.len()).unwrap_or(127).min(127);
    let mut bytes = vec![short];
    if short == 127 {
        let mut rest = text.len() - 127;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).unwrap());
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Requests `/health/live` over HTTP/2 with this query and `Authorization` header, and returns the bytes of the
/// response, which ends with a JSON object.
pub(crate) fn over_h2(address: SocketAddr, query: &str, credential: &str) -> Vec<u8> {
    // GET and http; path and authority as literals; the last field is `authorization`.
    let path = hpack(&format!("/health/live?{query}"));
    let fields = [b"\x82\x86\x41\x01a\x04".as_slice(), &path, b"\x0f\x08", &hpack(credential)].concat();
    let length = u16::try_from(fields.len()).unwrap().to_be_bytes();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(&[0, length[0], length[1], 1, 5, 0, 0, 0, 1]);
    bytes.extend_from_slice(&fields);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(&bytes).unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"}") {
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "{response:?}");
        response.extend_from_slice(&chunk[..count]);
    }
    response
}
