//! Baselines and clients for the benchmarks. A baseline is as fast as the library that it uses.
//!
//! - `yardstick hello PORT`: a hello-world route on Tripgate's own accept loop.
//! - `yardstick hello-on-poem PORT`: the same route on poem's server.
//! - `yardstick bcrypt COST THREADS SECONDS`: a loop that hashes.
//! - `yardstick writes DATABASE CLIENTS SECONDS`: one transaction per new trip.
//! - `yardstick refreshes PORT FILE SECONDS`: one client per refresh token in the file.
//! - `yardstick passkeys PORT ORIGIN FILE SECONDS`: one device with a passkey per access token in the file.
//!
//! With other arguments, as from `cargo test --all-targets`, the program only prints its usage.

mod connection;
mod hashes;
mod hello;
mod passkeys;
mod refreshes;
mod writes;

use std::io::Write;

use connection::Error;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let line = match args.as_slice() {
        ["hello", port] => {
            hello::on_tripgate(port.parse()?).await?;
            return Ok(());
        }
        ["hello-on-poem", port] => {
            hello::on_poem(port.parse()?).await?;
            return Ok(());
        }
        ["bcrypt", cost, threads, seconds] => {
            hashes::measure(cost.parse()?, threads.parse()?, seconds.parse()?)
        }
        ["writes", database, clients, seconds] => {
            writes::measure(database, clients.parse()?, seconds.parse()?).await?
        }
        ["refreshes", port, file, seconds] => {
            refreshes::measure(port.parse()?, file, seconds.parse()?).await?
        }
        ["passkeys", port, origin, file, seconds] => {
            passkeys::measure(port.parse()?, origin, file, seconds.parse()?).await?
        }
        _ => {
            "yardstick hello PORT | hello-on-poem PORT | bcrypt COST THREADS SECONDS | writes DATABASE CLIENTS SECONDS | refreshes PORT FILE SECONDS | passkeys PORT ORIGIN FILE SECONDS".to_owned()
        }
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
