//! Secret files that the server refuses to use.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::process::{run, stderr};

const SECRET: &str = "a secret of more than thirty-two bytes";

/// Runs commands that read the secret file, all of which must fail with one line. Returns the lines.
fn failures(dir: &Path) -> Vec<String> {
    let commands: [&[&str]; 3] =
        [&["serve", "--listen", "127.0.0.1:0"], &["keys", "rotate"], &["secret", "rotate"]];
    let failure = |args: &&[&str]| {
        let output = run(dir, &[args, &["--secret-file", "secret"][..]].concat());
        let text = stderr(&output);
        assert!(!output.status.success(), "{args:?} succeeds");
        assert!(!text.contains(SECRET), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("tripgate: ")).count(), 1, "{text}");
        text
    };
    commands.iter().map(failure).collect()
}

#[test]
fn a_secret_file_that_others_can_write_is_refused() {
    // S-36, A-10
    for mode in [0o666, 0o620, 0o602] {
        let dir = TempDir::new().unwrap();
        assert!(run(dir.path(), &["migrate"]).status.success());
        let path = dir.path().join("secret");
        fs::write(&path, SECRET).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        for line in failures(dir.path()) {
            assert!(line.contains(&format!("mode {mode:o}")) && line.contains("chmod 600"), "{line}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), SECRET);
    }
}

#[test]
fn a_secret_file_that_is_not_a_regular_file_is_refused_without_blocking() {
    //
    let dir = TempDir::new().unwrap();
    assert!(run(dir.path(), &["migrate"]).status.success());
    let path = dir.path().join("secret");
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().unwrap().success());
    for line in failures(dir.path()) {
        assert!(line.contains("not a regular file"), "{line}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    for line in failures(dir.path()) {
        assert!(line.contains("not a regular file"), "{line}");
    }
}
