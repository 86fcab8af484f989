//! The least that poem can do for a request.

use poem::listener::TcpListener;
use poem::{Route, Server, get, handler};

#[handler]
fn hello() -> &'static str {
    "Hello, world!"
}

/// Says hello on the port of the loopback interface until the process is ended.
pub(crate) async fn serve(port: u16) -> std::io::Result<()> {
    let routes = Route::new().at("/", get(hello));
    Server::new(TcpListener::bind(("127.0.0.1", port))).run(routes).await
}
