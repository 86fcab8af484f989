//! The HTTP client of the exporter: HTTP/1.1 over hyper, with the same TLS library as the rest of the server.
//!
//! The exporter runs on a thread outside of the runtime. Each request therefore runs as a task of the
//! runtime, with a timeout. The client reuses an idle connection.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use url::{Host, Url};

use crate::error_chain::error_chain;

/// The maximum size of a response of the collector, in bytes.
const RESPONSE_MAX: usize = 64 * 1024;

/// The URL of the collector is not usable.
#[derive(Debug, thiserror::Error)]
#[error("otlp_endpoint: {endpoint} is not usable: {reason}")]
pub struct InvalidEndpoint {
    endpoint: String,
    reason: String,
}

/// The reason why the last request failed, which the exporter does not return.
#[derive(Debug, Default)]
pub(super) struct LastError(StdMutex<Option<String>>);

impl LastError {
    /// Removes and returns the reason.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// Sends requests to one collector.
#[derive(Debug)]
pub(super) struct CollectorClient {
    connections: Arc<Connections>,
    timeout: Duration,
    runtime: Handle,
    last_error: Arc<LastError>,
}

/// The address of the collector, and the idle connection, if there is one.
struct Connections {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl CollectorClient {
    /// Creates a client of the collector at `endpoint`. Nothing is connected yet.
    pub(super) fn new(endpoint: &str, timeout: Duration, runtime: Handle) -> Result<Self, InvalidEndpoint> {
        let invalid = |reason: String| InvalidEndpoint { endpoint: endpoint.to_owned(), reason };
        let url = Url::parse(endpoint).map_err(|error| invalid(error.to_string()))?;
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(invalid("it has no host".to_owned()));
        };
        // The connection and TLS need an IPv6 address without brackets.
        let host = match host {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let tls = if url.scheme() == "https" {
            let name = ServerName::try_from(host.clone()).map_err(|error| invalid(error.to_string()))?;
            Some((connector().map_err(|error| invalid(error.to_string()))?, name))
        } else {
            None
        };
        let connections = Arc::new(Connections { host, port, tls, idle: Mutex::default() });
        Ok(Self { connections, timeout, runtime, last_error: Arc::default() })
    }

    /// Returns the place in which the client stores the reason of its last failure.
    pub(super) fn last_error(&self) -> Arc<LastError> {
        Arc::clone(&self.last_error)
    }
}

fn connector() -> Result<TlsConnector, rustls::Error> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl HttpClient for CollectorClient {
    // This is the signature that `#[async_trait]` generates for the method of the trait.
    fn send_bytes<'client, 'sending>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sending>>
    where
        'client: 'sending,
        Self: 'sending,
    {
        let (connections, limit) = (Arc::clone(&self.connections), self.timeout);
        let sending = self.runtime.spawn(async move {
            let sending = connections.send(request.map(Full::new));
            timeout(limit, sending)
                .await
                .unwrap_or_else(|_| Err(format!("no response within {limit:?}").into()))
        });
        Box::pin(async move {
            let sent = sending.await.unwrap_or_else(|error| Err(error.into()));
            self.last_error.set(match &sent {
                Ok(response) if response.status().is_success() => None,
                Ok(response) => Some(format!("the collector returned the status {}", response.status())),
                Err(error) => Some(error_chain(&**error)),
            });
            sent
        })
    }
}

impl Connections {
    async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, HttpError> {
        if let Some(authority) = request.uri().authority() {
            let host = HeaderValue::try_from(authority.as_str())?;
            request.headers_mut().insert(HOST, host);
        }
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse::<Uri>()?;
        let mut idle = self.idle.lock().await;
        if let Some(mut connection) = idle.take()
            && connection.ready().await.is_ok()
            // The collector may have closed the connection in the meantime.
            && let Ok(response) = exchange(&mut connection, request.clone()).await
        {
            *idle = Some(connection);
            return Ok(response);
        }
        let mut connection = self.connect().await?;
        let response = exchange(&mut connection, request).await?;
        *idle = Some(connection);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            Some((connector, name)) => open(connector.connect(name.clone(), tcp).await?).await,
            None => open(tcp).await,
        }
    }
}

/// Begins HTTP/1.1 on a stream.
async fn open<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, HttpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (connection, driver) = handshake(TokioIo::new(stream)).await?;
    // The task ends with the connection. An error of the connection also fails the request, so the task
    // ignores it.
    tokio::spawn(async move { drop(driver.await) });
    Ok(connection)
}

/// Sends a request and reads the whole response.
async fn exchange(
    connection: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, HttpError> {
    let (head, body) = connection.send_request(request).await?.into_parts();
    let body = Limited::new(body, RESPONSE_MAX).collect().await?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
