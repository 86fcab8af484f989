//! Extracts Swagger UI's script and style sheet from their archive, for the binary to serve, and compresses them.
//!
//! The archive is part of a crate, so the build downloads nothing. The build fails if the archive's
//! layout or the version of Swagger UI differs from the one that the pages were tested with.

use std::error::Error;
use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::path::PathBuf;

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// The version that `src/http/docs` was tested with.
const FOLDER: &str = "swagger-ui-5.32.6/dist";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[expect(
        clippy::disallowed_methods,
        reason = "OUT_DIR comes from cargo; it is not a setting of Tripgate"
    )]
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for (name, target) in [("swagger-ui-bundle.js", "swagger-ui.js"), ("swagger-ui.css", "swagger-ui.css")] {
        let mut text = String::new();
        archive.by_name(&format!("{FOLDER}/{name}"))?.read_to_string(&mut text)?;
        // The source map is not served, so remove the reference to it.
        let text = text.rsplit_once("/*# sourceMappingURL=").map_or(&*text, |(text, _)| text);
        fs::write(out.join(target), text)?;
        fs::write(out.join(format!("{target}.gz")), gzip(text.as_bytes())?)?;
        fs::write(out.join(format!("{target}.br")), brotli(text.as_bytes())?)?;
    }
    Ok(())
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn brotli(bytes: &[u8]) -> io::Result<Vec<u8>> {
    // A buffer of 4 KiB, the second-best quality, and the window of 4 MiB that browsers support.
    let mut encoder = CompressorWriter::new(Vec::new(), 4096, 10, 22);
    encoder.write_all(bytes)?;
    Ok(encoder.into_inner())
}
