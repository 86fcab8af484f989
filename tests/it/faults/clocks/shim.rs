//! Servers whose system clock is shifted by `tests/interop/clock_shim`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::TimeDelta;
use tempfile::TempDir;
use tripgate::config::Settings;

use crate::harness::PUBLIC_URL;
use crate::harness::process::{Process, command};

/// A compiled shim and the file that contains the shift of the clock.
#[derive(Debug)]
pub(super) struct ShiftedClock {
    dir: TempDir,
    library: PathBuf,
}

impl ShiftedClock {
    /// Compiles the shim with `cc`. The clock is not shifted yet.
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let library = dir.path().join("clock_shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/clock_shim/clock_shim.c");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        assert!(cc.status().unwrap().success(), "the shim does not compile");
        let clock = Self { dir, library };
        clock.set(TimeDelta::zero());
        clock
    }

    /// Shifts the clock of all servers of this shim, including running servers.
    pub(super) fn set(&self, shift: TimeDelta) {
        // Running servers have mapped the file into memory. Do not truncate it: a server that reads the clock
        // while the file is empty is killed by SIGBUS.
        let file = File::options().create(true).truncate(false).write(true).open(self.file()).unwrap();
        file.write_all_at(&shift.num_milliseconds().to_ne_bytes(), 0).unwrap();
    }

    /// Starts a server with the shifted clock, and with the database and the master secret of these settings.
    pub(super) fn serve(&self, settings: &Settings) -> Process {
        let mut command = command(self.dir.path(), &[]);
        command
            .env("LD_PRELOAD", &self.library)
            .env("CLOCK_SHIM_FILE", self.file())
            .env("TRIPGATE_LISTEN", "127.0.0.1:0")
            .env("TRIPGATE_BCRYPT_COST", "4")
            .env("TRIPGATE_PUBLIC_URL", PUBLIC_URL)
            .env("TRIPGATE_DATABASE_URL", settings.database_url.expose())
            .env("TRIPGATE_SECRET_FILE", &settings.secret_file);
        Process::start(command)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("shift")
    }
}
