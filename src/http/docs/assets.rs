//! The static files of the pages, embedded in the binary.

use crate::http::compression::Copies;
use crate::web::page;

/// A file: its name, media type and content.
pub(super) type File = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The files of the documentation, under `/docs/`. `build.rs` extracts Swagger UI from its archive.
pub(super) const DOCS: [File; 9] = [
    ("swagger-ui.js", SCRIPT, include_str!(concat!(env!("OUT_DIR"), "/swagger-ui.js"))),
    ("swagger-ui.css", STYLE, include_str!(concat!(env!("OUT_DIR"), "/swagger-ui.css"))),
    ("docs.css", STYLE, include_str!("docs.css")),
    ("account.js", SCRIPT, include_str!("account.js")),
    ("authorize.js", SCRIPT, include_str!("authorize.js")),
    ("layout.js", SCRIPT, include_str!("layout.js")),
    ("session.js", SCRIPT, include_str!("session.js")),
    ("hints.js", SCRIPT, include_str!("hints.js")),
    ("init.js", SCRIPT, include_str!("init.js")),
];

/// The files that `build.rs` has compressed. The other files are small.
pub(super) const COMPRESSED: [(&str, Copies); 2] = [
    (
        "swagger-ui.js",
        Copies {
            brotli: include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.js.br")),
            gzip: include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.js.gz")),
        },
    ),
    (
        "swagger-ui.css",
        Copies {
            brotli: include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.br")),
            gzip: include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz")),
        },
    ),
];

/// The files that all pages share. They are under `/problems/`, which is served even if the documentation is
/// disabled.
pub(super) const SHARED: [File; 2] =
    [("page.css", STYLE, page::STYLE), ("mark.svg", "image/svg+xml", page::MARK)];
