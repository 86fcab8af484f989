//! What the benchmarks compare with, each as fast as its library alone goes.
//!
//! `yardstick hello PORT`: a route that says hello on the same server as Tripgate's. `yardstick
//! hello-on-poem PORT`: the same on poem's. `yardstick bcrypt COST THREADS SECONDS`: a loop
//! that hashes. `yardstick writes DATABASE CLIENTS SECONDS`: a transaction for each new trip.
//! `yardstick refreshes PORT FILE SECONDS`: a client for each refresh token in the file.
//! Called otherwise, as `cargo test --all-targets` does, it does nothing.

mod hashes;
mod hello;
mod refreshes;
mod writes;

use std::error::Error;
use std::io::Write;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
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
        _ => {
            "yardstick hello PORT | hello-on-poem PORT | bcrypt COST THREADS SECONDS | writes DATABASE CLIENTS SECONDS | refreshes PORT FILE SECONDS".to_owned()
        }
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
