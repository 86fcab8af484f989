//! Takes Swagger UI's script and style out of the archive that holds them, for the binary to serve.
//!
//! Nothing is downloaded: the archive comes with a crate. A release that lies differently in it, or
//! another version than the pages were tried with, stops the build.

use std::error::Error;
use std::fs;
use std::io::{Cursor, Read};
use std::path::PathBuf;

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// What `src/http/docs` was tried with.
const FOLDER: &str = "swagger-ui-5.32.6/dist";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[expect(clippy::disallowed_methods, reason = "cargo says where to write; it is no setting of ours")]
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo runs this")?);
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for (name, kept) in [("swagger-ui-bundle.js", "swagger-ui.js"), ("swagger-ui.css", "swagger-ui.css")] {
        let mut text = String::new();
        archive.by_name(&format!("{FOLDER}/{name}"))?.read_to_string(&mut text)?;
        // The source map is not served, so nothing leads a debugger to it.
        let text = text.rsplit_once("/*# sourceMappingURL=").map_or(&*text, |(text, _)| text);
        fs::write(out.join(kept), text)?;
    }
    Ok(())
}
