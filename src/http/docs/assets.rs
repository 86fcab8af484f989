//! The files that the pages are made of, as they lie in the binary.

/// A file: its name, its media type, what is in it.
pub(super) type File = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Of the documentation, under `/docs/`. Swagger UI comes as `build.rs` took it out of its archive.
pub(super) const DOCS: [File; 6] = [
    ("swagger-ui.js", SCRIPT, include_str!(concat!(env!("OUT_DIR"), "/swagger-ui.js"))),
    ("swagger-ui.css", STYLE, include_str!(concat!(env!("OUT_DIR"), "/swagger-ui.css"))),
    ("docs.css", STYLE, include_str!("docs.css")),
    ("session.js", SCRIPT, include_str!("session.js")),
    ("hints.js", SCRIPT, include_str!("hints.js")),
    ("init.js", SCRIPT, include_str!("init.js")),
];

/// Of all pages, under `/problems/`, which is always there.
pub(super) const SHARED: [File; 2] =
    [("page.css", STYLE, include_str!("page.css")), ("mark.svg", "image/svg+xml", include_str!("mark.svg"))];

/// All of them.
pub(super) const ALL: [&[File]; 2] = [&DOCS, &SHARED];
