//! Backups of PostgreSQL and MariaDB by their own programs: `pg_dump` and `pg_restore`, `mariadb-dump` and `mariadb`.
//!
//! The password is passed in the environment, because every user of the machine can read the arguments.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use url::Url;

use super::BackupError;

/// A program that writes or reads a dump.
#[derive(Debug)]
pub(super) struct Tool {
    program: &'static str,
    package: &'static str,
    command: Command,
}

/// The command-line programs that dump and restore the database of a URL.
#[derive(Debug, Clone)]
pub(super) struct Tools(Url);

impl Tools {
    pub(super) fn new(url: &str) -> Option<Self> {
        Url::parse(url).ok().map(Self)
    }

    fn is_mysql(&self) -> bool {
        self.0.scheme() == "mysql"
    }

    fn decoded(text: &str) -> String {
        // Escape `+` first, because the form decoder turns it into a space.
        url::form_urlencoded::parse(text.replace('+', "%2B").as_bytes())
            .next()
            .map_or_else(String::new, |(text, _)| text.into_owned())
    }

    fn tool(&self, program: &'static str, args: &[&str]) -> Tool {
        let url = &self.0;
        let mut command = Command::new(program);
        let password = url.password().map(Self::decoded);
        let host = url.query_pairs().find(|(name, _)| name == "host").map(|(_, host)| host.into_owned());
        let host = host.or_else(|| url.host_str().map(str::to_owned)).unwrap_or_default();
        let (user, name) = (Self::decoded(url.username()), Self::decoded(url.path().trim_start_matches('/')));
        let package = if self.is_mysql() { "mariadb-client" } else { "postgresql-client" };
        if self.is_mysql() {
            // This argument must be the first one. It prevents the program from reading the option files of
            // the operator's account.
            command.arg("--no-defaults");
        }
        command.args(args);
        if !host.is_empty() {
            command.arg(format!("--host={host}"));
        }
        if let Some(port) = url.port() {
            command.arg(format!("--port={port}"));
        }
        match (self.is_mysql(), user.is_empty()) {
            (_, true) => {}
            (true, false) => drop(command.arg(format!("--user={user}"))),
            (false, false) => drop(command.arg(format!("--username={user}"))),
        }
        if self.is_mysql() {
            command.arg(name);
        } else {
            command.arg(format!("--dbname={name}"));
            if let Some((_, mode)) = url.query_pairs().find(|(name, _)| name == "sslmode") {
                command.env("PGSSLMODE", OsString::from(mode.into_owned()));
            }
        }
        if let Some(password) = password {
            command.env(if self.is_mysql() { "MYSQL_PWD" } else { "PGPASSWORD" }, password);
        }
        Tool { program, package, command }
    }

    /// Returns the program that writes a dump of one consistent state.
    pub(super) fn dump(&self) -> Tool {
        if self.is_mysql() {
            let args = ["--single-transaction", "--quick", "--hex-blob", "--default-character-set=utf8mb4"];
            return self.tool("mariadb-dump", &args);
        }
        // The dump is not compressed here, because the whole backup is compressed.
        self.tool(
            "pg_dump",
            &["--format=custom", "--compress=0", "--no-owner", "--no-privileges", "--no-password"],
        )
    }

    /// Returns the program that reads a dump. On PostgreSQL, the whole restore is one transaction.
    pub(super) fn load(&self) -> Tool {
        if self.is_mysql() {
            return self.tool("mariadb", &["--default-character-set=utf8mb4"]);
        }
        let args = [
            "--clean",
            "--if-exists",
            "--single-transaction",
            "--no-owner",
            "--no-privileges",
            "--no-password",
        ];
        self.tool("pg_restore", &args)
    }
}

impl Tool {
    fn failed(&self, reason: impl Into<String>) -> BackupError {
        BackupError::Tool { program: self.program, reason: reason.into() }
    }

    fn spawn(&mut self, stdin: Stdio, stdout: Stdio) -> Result<Child, BackupError> {
        match self.command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BackupError::NoTool { program: self.program, package: self.package })
            }
            spawned => spawned.map_err(|error| self.failed(error.to_string())),
        }
    }

    /// Waits for the program. If the program fails, the error contains its last message.
    fn wait(&self, mut child: Child, errors: thread::JoinHandle<String>) -> Result<(), BackupError> {
        let status = child.wait().map_err(|error| self.failed(error.to_string()))?;
        let errors = errors.join().unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        Err(self.failed(errors.lines().last().unwrap_or("no message").to_owned()))
    }

    /// Runs the program and passes its output to `read`.
    pub(super) fn write<T>(
        mut self,
        read: impl FnOnce(&mut dyn Read) -> Result<T, BackupError>,
    ) -> Result<T, BackupError> {
        let mut child = self.spawn(Stdio::null(), Stdio::piped())?;
        let errors = messages(&mut child);
        let mut out = child.stdout.take().ok_or_else(|| self.failed("no output"))?;
        let result = read(&mut out);
        drop(out);
        self.wait(child, errors)?;
        result
    }

    /// Runs the program. `write` writes the input of the program.
    pub(super) fn read(
        mut self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let mut child = self.spawn(Stdio::piped(), Stdio::null())?;
        let errors = messages(&mut child);
        let mut input = child.stdin.take().ok_or_else(|| self.failed("no input"))?;
        let written = write(&mut input);
        drop(input);
        // Check the program first: if it ended early, its own message contains the reason.
        self.wait(child, errors)?;
        written
    }
}

/// Reads the messages of a program while it runs.
fn messages(child: &mut Child) -> thread::JoinHandle<String> {
    let errors = child.stderr.take();
    thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut errors) = errors {
            drop(errors.read_to_end(&mut text));
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    })
}
