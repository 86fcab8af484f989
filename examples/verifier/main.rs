//! Says of each token on standard input whether the README's service in Rust takes it.

use std::error::Error;
use std::io::{Write, stdin, stdout};

#[expect(unreachable_pub, reason = "it stands in a crate of its own in the README")]
mod access_tokens;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let (issuer, audience) = (given.next().ok_or("no issuer")?, given.next().ok_or("no audience")?);
    let keys = access_tokens::keys(&issuer).await?;
    for token in stdin().lines() {
        match access_tokens::verify(token?.trim(), &keys, &issuer, &audience) {
            Ok(claims) if !claims.scope.is_empty() => writeln!(stdout(), "takes {}", claims.sub)?,
            Ok(_) => writeln!(stdout(), "refuses a token for nothing")?,
            Err(error) => writeln!(stdout(), "refuses {error}")?,
        }
    }
    Ok(())
}
