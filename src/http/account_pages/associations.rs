//! The files that let an app on iOS or Android open the links of this server and use its passwords and
//! passkeys.
//!
//! Apple's file (associated domains) contains `applinks` and `webcredentials`. Google's file (Digital Asset
//! Links) contains `handle_all_urls` and `get_login_creds`. A file exists only if the settings name an app.

use std::sync::Arc;

use bytes::Bytes;
use poem::http::header;
use poem::web::Data;
use poem::{Response, Result, RouteMethod, get, handler};
use serde_json::{Value, json};
use url::Url;

use crate::config::AndroidApp;
use crate::web::problem::Problem;

const APPLE: &str = "/.well-known/apple-app-site-association";
const ANDROID: &str = "/.well-known/assetlinks.json";

/// The content of Apple's file and of Google's file, each if the settings name an app for it.
#[derive(Clone)]
pub(in crate::http) struct AppAssociations {
    apple: Option<Bytes>,
    android: Option<Bytes>,
}

impl AppAssociations {
    /// Builds the files. The apps open the account pages below `public_url`.
    pub(in crate::http) fn new(
        ios_apps: &[String],
        android_apps: &[AndroidApp],
        public_url: &str,
    ) -> Arc<Self> {
        let text = |value: Value| Bytes::from(value.to_string());
        Arc::new(Self {
            apple: (!ios_apps.is_empty()).then(|| text(apple_file(ios_apps, public_url))),
            android: (!android_apps.is_empty()).then(|| text(android_file(android_apps))),
        })
    }
}

fn apple_file(apps: &[String], public_url: &str) -> Value {
    let prefix = Url::parse(public_url).map(|url| url.path().trim_end_matches('/').to_owned());
    let pages = format!("{}/account/*", prefix.unwrap_or_default());
    json!({
        "applinks": { "details": [{ "appIDs": apps, "components": [{ "/": pages }] }] },
        "webcredentials": { "apps": apps },
    })
}

fn android_file(apps: &[AndroidApp]) -> Value {
    let statement = |app: &AndroidApp| {
        json!({
            "relation": ["delegate_permission/common.handle_all_urls", "delegate_permission/common.get_login_creds"],
            "target": {
                "namespace": "android_app",
                "package_name": app.package,
                "sha256_cert_fingerprints": [app.fingerprint],
            },
        })
    };
    apps.iter().map(statement).collect()
}

/// Returns whether a path is the path of an association file.
pub(in crate::http) fn is_association(path: &str) -> bool {
    [APPLE, ANDROID].contains(&path)
}

/// Returns the routes of the association files.
pub(super) fn routes() -> [(&'static str, RouteMethod); 2] {
    [(APPLE, get(apple)), (ANDROID, get(android))]
}

fn file(content: Option<&Bytes>) -> Result<Response> {
    let content = content.ok_or_else(Problem::not_found)?.clone();
    let response = Response::builder().content_type("application/json");
    Ok(response.header(header::CACHE_CONTROL, "public, max-age=3600").body(content))
}

#[handler]
fn apple(Data(files): Data<&Arc<AppAssociations>>) -> Result<Response> {
    file(files.apple.as_ref())
}

#[handler]
fn android(Data(files): Data<&Arc<AppAssociations>>) -> Result<Response> {
    file(files.android.as_ref())
}
