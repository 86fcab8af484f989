//! One connection, from the accepted socket to its end.
//!
//! Invariant: everything slow, including the header of the PROXY protocol and the TLS handshake, runs in the
//! connection's own task and under a deadline.
//!
//! Rejects before the endpoint runs: an HTTP/1.1 request without exactly one valid `Host` (RFC 9112 §3.2), an
//! HTTP/2 request with neither `Host` nor `:authority`, a request with a transfer coding other than
//! `chunked`, an HTTP/2 request whose `Host` differs from `:authority` (RFC 9113 §8.3.1), and a request whose
//! authority contains userinfo (RFC 9110 §4.2.4). If a request has both `Content-Length` and
//! `Transfer-Encoding`, hyper uses `Transfer-Encoding`, removes `Content-Length`, and closes the connection
//! after the response (RFC 9112 §6.1). If hyper can't parse a head, the client gets the response of
//! `rejected_head.rs`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use poem::http::header::{CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING};
use poem::http::uri::Scheme;
use poem::http::{Request as HttpRequest, Version};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Request, Response};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::acceptor::{Accepted, Place};
use super::activity::Activity;
use super::deadlines::{Timeout, Watchdog};
use super::monitored_stream::MonitoredStream;
use super::proxy_header::{self, HeaderError, HeaderWarnings};
use super::response_body::TrackedBody;
use super::tls::Stream;
use super::unread_body::{self, UnreadBody};
use super::{ConnectionEvent, Server};

const MAX_HEAD_BYTES: u32 = 32 * 1024;
/// The maximum size of the headers of an HTTP/2 request, computed as in RFC 9113 §6.5.2. If the headers
/// exceed `MAX_HEAD_BYTES`, the HTTP/2 library itself responds with status 431 and no body.
const MAX_H2_HEADER_BYTES: usize = 16 * 1024;
/// Maximum number of streams per connection. Each stream can hold a whole response in memory for as long as
/// its reader meets the minimum rate.
const MAX_H2_STREAMS: u32 = 32;
/// Bytes that a client may send before the server reads them, per stream and per connection.
const H2_STREAM_WINDOW: u32 = 64 * 1024;
const H2_CONNECTION_WINDOW: u32 = 256 * 1024;
/// Maximum number of pending streams that the client reset before the server accepted them, and of streams
/// that the server reset because of client errors. If one of these two numbers is exceeded, the connection is
/// closed (CVE-2023-44487, CVE-2025-8671).
const MAX_H2_UNUSED_STREAMS: usize = 20;
const MAX_H2_FAULTY_STREAMS: usize = 100;
const H2_PING_EVERY: Duration = Duration::from_secs(20);
const H2_PING_WAIT: Duration = Duration::from_secs(10);

/// State shared by all connections.
pub(super) struct Shared<E> {
    pub(super) server: Server,
    pub(super) endpoint: Arc<E>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) header_warnings: HeaderWarnings,
    pub(super) http: auto::Builder<TokioExecutor>,
    pub(super) local: LocalAddr,
    /// Set before the connections receive the stop signal.
    pub(super) stopping: AtomicBool,
}

/// Returns the configuration of HTTP/1.1 and HTTP/2.
pub(super) fn http() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Responses are small, so copying them into one buffer and writing the buffer costs less than a vectored
    // write.
    builder.http1().header_read_timeout(None).max_buf_size(MAX_HEAD_BYTES as usize).writev(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_WAIT)
        .adaptive_window(false)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_H2_STREAMS)
        .max_pending_accept_reset_streams(MAX_H2_UNUSED_STREAMS)
        .max_local_error_reset_streams(MAX_H2_FAULTY_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES);
    builder
}

/// Serves one connection until it ends, a deadline passes, or, after `stop`, the response to its last
/// request is sent.
pub(super) async fn run<E: Endpoint + 'static>(
    Accepted { mut tcp, mut peer, has_header, place }: Accepted,
    shared: Arc<Shared<E>>,
    mut stop: watch::Receiver<bool>,
) {
    let _counted = Counted::begin(shared.server.observe);
    let mut stopping = pin!(async move {
        // If the sender was dropped, the server has ended, so stop too.
        let _ = stop.wait_for(|stop| *stop).await;
    });
    if has_header {
        let client = tokio::select! {
            biased;
            () = &mut stopping => return,
            () = eviction(&place) => {
                return debug!(%peer, "closed a connection to make room: its PROXY protocol header had not arrived");
            }
            client = client(&mut tcp, peer, &place, &shared) => client,
        };
        let Some(client) = client else { return };
        peer = client;
    }
    let activity = Arc::new(Activity::default());
    let io = MonitoredStream::new(tcp, Arc::clone(&activity));
    let Some(acceptor) = &shared.tls else {
        let stream = Stream::plain(io, Arc::clone(&activity), shared.server, peer.ip());
        return serve_http(stream, Scheme::HTTP, peer, &place, &shared, activity, stopping).await;
    };
    let handshake = timeout(shared.server.limits.handshake, acceptor.accept(io));
    let stream = tokio::select! {
        biased;
        () = &mut stopping => return,
        () = eviction(&place) => {
            return debug!(%peer, "closed a connection to make room: its TLS handshake was not complete");
        }
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => Stream::tls(stream, Arc::clone(&activity), shared.server, peer.ip()),
            Ok(Err(error)) => return debug!(%peer, %error, "the TLS handshake failed"),
            Err(_) => return debug!(%peer, "the TLS handshake took too long"),
        },
    };
    serve_http(stream, Scheme::HTTPS, peer, &place, &shared, activity, stopping).await;
}

/// Reads the header of the PROXY protocol. Returns the address that is the peer of the requests, or `None` if the
/// connection must close.
async fn client<E>(
    tcp: &mut TcpStream,
    peer: SocketAddr,
    place: &Place,
    shared: &Shared<E>,
) -> Option<SocketAddr> {
    let limits = &shared.server.limits;
    let header = timeout(limits.header, proxy_header::read(tcp)).await;
    match header.unwrap_or(Err(HeaderError::TooSlow)) {
        Ok(None) => Some(peer),
        Ok(Some(client)) if place.registered.assign(client, limits.max_connections_per_address) => {
            Some(client)
        }
        Ok(Some(client)) => {
            (shared.server.observe)(ConnectionEvent::Refused);
            debug!(
                peer = %client,
                "refused a connection: every open connection of this address has a request in flight"
            );
            None
        }
        Err(error) => {
            shared.header_warnings.log(peer, &error);
            None
        }
    }
}

/// An open connection, reported as closed when this value is dropped.
struct Counted(fn(ConnectionEvent));

impl Counted {
    fn begin(observe: fn(ConnectionEvent)) -> Self {
        observe(ConnectionEvent::Opened);
        Self(observe)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.0)(ConnectionEvent::Closed);
    }
}

/// Resolves when the connection must make room for another connection.
async fn eviction(place: &Place) {
    let presence = &place.registered.presence;
    poll_fn(|cx| {
        presence.register(cx);
        if presence.is_evicted() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn serve_http<E: Endpoint + 'static>(
    stream: Stream,
    scheme: Scheme,
    peer: SocketAddr,
    place: &Place,
    shared: &Arc<Shared<E>>,
    activity: Arc<Activity>,
    mut stopping: Pin<&mut impl Future<Output = ()>>,
) {
    let mut watchdog = Watchdog::new(shared.server.limits, &activity);
    let service = service_fn(|request: HttpRequest<Incoming>| {
        let in_flight = Activity::begin(&activity);
        let shared = Arc::clone(shared);
        let scheme = scheme.clone();
        let is_refused = place.is_reserved && !(shared.server.is_reserved)(request.uri().path());
        async move {
            let response = if is_refused {
                (shared.server.observe)(ConnectionEvent::Refused);
                close_connection((shared.server.overloaded)(peer.ip()))
            } else {
                respond(&shared, request, scheme, peer).await
            };
            let response = hyper::Response::from(response);
            Ok::<_, Infallible>(response.map(|body| TrackedBody::new(body, in_flight)))
        }
    });
    let mut conn = pin!(shared.http.serve_connection(TokioIo::new(stream), service));
    let presence = &place.registered.presence;
    let mut is_draining = false;
    let mut is_registered = false;
    poll_fn(|cx| {
        loop {
            // The first poll of `stopping` registers this task's waker. Polling `stopping` at every request
            // would make all connections contend for one lock.
            let poll_stop = !is_registered || shared.stopping.load(Ordering::Acquire);
            is_registered = true;
            if !is_draining && poll_stop && stopping.as_mut().poll(cx).is_ready() {
                is_draining = true;
                conn.as_mut().graceful_shutdown();
            }
            presence.register(cx);
            if let Poll::Ready(end) = conn.as_mut().poll(cx) {
                if let Err(error) = end {
                    debug!(%peer, %error, "a connection ended with an error");
                }
                return Poll::Ready(());
            }
            match watchdog.poll(cx, &activity, presence) {
                Poll::Pending => return Poll::Pending,
                // Send GOAWAY first. Without GOAWAY, an h2 client can lose a request that it sends at the
                // same time.
                Poll::Ready(Timeout::Idle | Timeout::Evicted) if activity.is_http2() && !is_draining => {
                    is_draining = true;
                    conn.as_mut().graceful_shutdown();
                    watchdog.drain();
                }
                Poll::Ready(expired) => {
                    debug!(%peer, why = expired.name(), "closed a connection");
                    if matches!(expired, Timeout::WriteStall | Timeout::WindowStall) {
                        activity.abandon();
                    }
                    return Poll::Ready(());
                }
            }
        }
    })
    .await;
}

async fn respond<E: Endpoint>(
    shared: &Shared<E>,
    request: HttpRequest<Incoming>,
    scheme: Scheme,
    peer: SocketAddr,
) -> Response {
    if request.version() >= Version::HTTP_2 && header_list_size(&request) > MAX_H2_HEADER_BYTES {
        return (shared.server.head_too_large)(peer.ip());
    }
    if let Err(detail) = check_host(&request).and_then(|()| check_transfer_coding(&request)) {
        let response = (shared.server.bad_request)(peer.ip(), detail);
        return if request.version() < Version::HTTP_2 { close_connection(response) } else { response };
    }
    let remote = RemoteAddr(peer.into());
    let mut request = Request::from((request, shared.local.clone(), remote, scheme));
    if request.version() >= Version::HTTP_2 {
        return shared.endpoint.get_response(request).await;
    }
    let unread = match unread_body::share(request.take_body().into()) {
        Ok((body, unread)) => {
            request.set_body(BoxBody::new(body));
            Some(unread)
        }
        Err(empty) => {
            request.set_body(empty);
            None
        }
    };
    let response = shared.endpoint.get_response(request).await;
    if unread.is_some_and(UnreadBody::has_rest) { close_connection(response) } else { response }
}

/// Returns the size of the header list of an HTTP/2 request (RFC 9113 §6.5.2).
fn header_list_size<B>(request: &HttpRequest<B>) -> usize {
    const FIELD_OVERHEAD: usize = 32;
    const PSEUDO_FIELDS: usize = ":method:scheme:path:authority".len() + 4 * FIELD_OVERHEAD;
    let uri = request.uri();
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let scheme = uri.scheme_str().unwrap_or_default().len();
    let pseudo = PSEUDO_FIELDS + request.method().as_str().len() + scheme + target + authority;
    let fields = request.headers().iter();
    fields.fold(pseudo, |size, (name, value)| size + name.as_str().len() + value.len() + FIELD_OVERHEAD)
}

/// Adds `Connection: close`, so that hyper reads no other request from the connection.
fn close_connection(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Checks that `Host` is present where HTTP/1.1 requires it, occurs at most once, and is a valid host.
fn check_host<B>(request: &HttpRequest<B>) -> Result<(), &'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("The request has more than one Host header.");
    }
    let h2 = request.version() == Version::HTTP_2;
    let authority = request.uri().authority();
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("The authority of the request contains userinfo.");
    }
    match (host, authority) {
        (None, _) if request.version() == Version::HTTP_11 => Err("The Host header is missing."),
        (None, None) if h2 => Err("The request has no authority."),
        (Some(host), Some(authority))
            if h2 && !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) =>
        {
            Err("The Host header differs from the authority.")
        }
        (Some(host), _) if !host.as_bytes().iter().all(|byte| is_host_byte(*byte)) => {
            Err("The Host header is not a valid host.")
        }
        _ => Ok(()),
    }
}

/// Checks that `chunked` is the only transfer coding. hyper decodes only `chunked`, so the endpoint would
/// treat the bytes of another coding as the body (RFC 9112 §6.1).
fn check_transfer_coding<B>(request: &HttpRequest<B>) -> Result<(), &'static str> {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err("The request has a transfer coding other than chunked."),
    }
}

/// Returns whether `byte` may occur in `uri-host [ ":" port ]` (RFC 3986 §3.2.2).
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b':'
                | b'['
                | b']'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}
