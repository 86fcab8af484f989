//! Verifies each token on standard input with the Rust example of docs/services.md and prints the result.

use std::error::Error;
use std::io::{Write, stdin, stdout};

#[expect(unreachable_pub, reason = "docs/services.md shows the file as a module of another crate")]
mod access_tokens;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (issuer, audience) = (args.next().ok_or("no issuer")?, args.next().ok_or("no audience")?);
    let keys = access_tokens::keys(&issuer).await?;
    for token in stdin().lines() {
        match access_tokens::verify(token?.trim(), &keys, &issuer, &audience) {
            Ok(claims) if !claims.scope.is_empty() => writeln!(stdout(), "accepts {}", claims.sub)?,
            Ok(_) => writeln!(stdout(), "rejects a token without a scope")?,
            Err(error) => writeln!(stdout(), "rejects {error}")?,
        }
    }
    Ok(())
}
