//! The user of the operating system who runs this process.

use std::fs;

use rustix::process::getuid;

/// The login id that Linux reports for a process that was not started by a login, such as a service.
const NO_LOGIN: u32 = u32::MAX;

/// Returns the name of the user, or `uid N` if the user has no name. If `sudo` or `su` has changed the user
/// since the login, the text also contains the id of the user who logged in.
pub fn current_operator() -> String {
    let uid = getuid().as_raw();
    let name = whoami::username().unwrap_or_else(|_| format!("uid {uid}"));
    match login_uid().filter(|login| *login != uid) {
        Some(login) => format!("{name} (logged in as uid {login})"),
        None => name,
    }
}

/// Returns the id of the user who logged in, which stays the same under `sudo`. Only Linux records this id.
fn login_uid() -> Option<u32> {
    let text = fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != NO_LOGIN)
}
