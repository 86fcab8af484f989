//! The minimal work per request: a hello-world route.

use std::sync::Arc;

use poem::listener::TcpListener;
use poem::{IntoEndpoint, Route, get, handler};
use tripgate::http::bad_request;
use tripgate::listener::{Limits, ProxyProtocol, Server, bind};

#[handler]
fn hello() -> &'static str {
    "Hello, world!"
}

fn routes() -> Route {
    Route::new().at("/", get(hello))
}

/// Serves the route on Tripgate's accept loop, with its deadlines and checks but without its middleware,
/// until the process is terminated.
pub(crate) async fn on_tripgate(port: u16) -> Result<(), crate::connection::Error> {
    let listener = bind(([127, 0, 0, 1], port).into()).await?;
    let server = Server {
        limits: Limits::default(),
        bad_request,
        observe: |_| {},
        head_too_large: tripgate::http::head_too_large,
        overloaded: tripgate::http::overloaded,
        is_reserved: |_| false,
    };
    let (proxy_protocol, endpoint) = (ProxyProtocol::default(), Arc::new(routes().into_endpoint()));
    Ok(server.serve(listener, proxy_protocol, None, endpoint, std::future::pending()).await?)
}

/// Serves the route on poem's own server, without Tripgate's deadlines and checks, until the process is
/// terminated.
pub(crate) async fn on_poem(port: u16) -> std::io::Result<()> {
    poem::Server::new(TcpListener::bind(("127.0.0.1", port))).run(routes()).await
}
