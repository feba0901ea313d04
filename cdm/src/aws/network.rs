//! The HTTP client of every call to AWS: DynamoDB, STS, SSO and sign-in. It reads `HTTPS_PROXY`, `HTTP_PROXY`,
//! `NO_PROXY` and `AWS_CA_BUNDLE` as other AWS tools do. If a connection fails, it names the setting that caused
//! the failure.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_sdk_dynamodb::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use axum::http::{StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Error as HyperError;
use rustls::CertificateError;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::aws::environment::is_loopback_name;
use crate::aws::network_failure::{Cause, NetworkFailure, find};
use crate::aws::proxies::{Proxies, Proxy};
use crate::ui::Failure;

/// How long a connection to a remote host may take. Through a proxy it needs four round trips.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection to this machine or to its metadata service may take. Most machines have no metadata
/// service.
const CONNECT_NEARBY: Duration = Duration::from_secs(1);

/// How long [`Network::reach`] waits for a response on an open connection.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An HTTP client. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Network {
    inner: Arc<Inner>,
    /// How long a response may take to begin, if the caller set a limit.
    response_timeout: Option<Duration>,
}

struct Inner {
    /// The file and the content of the certificates that replace the system's.
    ca_bundle: Option<(String, Vec<u8>)>,
    proxies: Proxies,
    /// Built on first use, because reading the system's certificates takes time.
    nearby: OnceLock<SharedHttpConnector>,
    nearby_https: OnceLock<SharedHttpConnector>,
    elsewhere: OnceLock<SharedHttpConnector>,
    elsewhere_https: OnceLock<SharedHttpConnector>,
}

impl Network {
    /// Reads the environment. `ca_bundle` names the file of the certificates to trust, if there is one.
    ///
    /// # Errors
    /// The file does not contain certificates.
    pub(crate) fn new(ca_bundle: Option<String>) -> Result<Self, Failure> {
        let ca_bundle = match ca_bundle {
            Some(file) => Some((file.clone(), certificates(&file)?)),
            None => None,
        };
        let inner = Inner {
            ca_bundle,
            proxies: Proxies::from_environment(),
            nearby: OnceLock::new(),
            nearby_https: OnceLock::new(),
            elsewhere: OnceLock::new(),
            elsewhere_https: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner), response_timeout: None })
    }

    /// The client for the SDK's configuration.
    pub(crate) fn client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    /// Opens a connection to the URL, which the first call then uses. The server's response does not matter.
    ///
    /// # Errors
    /// Why no connection can be made.
    pub(crate) async fn reach(&self, url: &str) -> Result<(), NetworkFailure> {
        let mut request = HttpRequest::new(SdkBody::empty());
        if request.set_uri(url).is_err() {
            return Ok(());
        }
        let response = async {
            let response = self.call(request).await?;
            // Read the whole body, so that the connection can be used again.
            let _ = response.into_body().collect().await;
            Ok::<_, ConnectorError>(())
        };
        match tokio::time::timeout(CONNECT + RESPONSE_TIMEOUT, response).await {
            Ok(Err(error)) => NetworkFailure::within(&error).map_or(Ok(()), |failure| Err(failure.clone())),
            _ => Ok(()),
        }
    }

    fn connector(&self, url: &Uri) -> SharedHttpConnector {
        let Inner { proxies, nearby, nearby_https, elsewhere, elsewhere_https, .. } = &*self.inner;
        let none = ProxyConfig::disabled;
        let is_http = url.scheme_str() == Some("http");
        match (url.host().is_some_and(is_nearby), is_http) {
            (true, true) => nearby.get_or_init(|| connector(TrustStore::empty(), none(), CONNECT_NEARBY)),
            (true, false) => nearby_https.get_or_init(|| connector(self.trust(), none(), CONNECT_NEARBY)),
            (false, true) => elsewhere.get_or_init(|| connector(self.trust(), proxies.config(true), CONNECT)),
            (false, false) => elsewhere_https.get_or_init(|| connector(self.trust(), proxies.config(false), CONNECT)),
        }
        .clone()
    }

    fn trust(&self) -> TrustStore {
        match &self.inner.ca_bundle {
            Some((_, certificates)) => TrustStore::empty().with_pem_certificate(certificates.as_slice()),
            None => TrustStore::default(),
        }
    }

    /// The proxy of the URL.
    fn proxy(&self, url: &Uri) -> Option<Proxy> {
        if url.host().is_none_or(is_nearby) { None } else { self.inner.proxies.for_url(url) }
    }

    /// Describes a failure to connect. `None` if the connection was made; then the request may have arrived.
    fn explain(&self, proxy: Option<Proxy>, error: &ConnectorError) -> Option<Cause> {
        find::<HyperError>(error).filter(|error| error.is_connect())?;
        if let Some(error) = find::<rustls::Error>(error) {
            return Some(match error {
                // A bad signature: a trusted authority has the issuer's name but did not sign the
                // certificate.
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                    Cause::UnknownIssuer { ca_bundle: self.inner.ca_bundle.as_ref().map(|(file, _)| file.clone()) }
                }
                rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                ) => Cause::OtherName,
                rustls::Error::InvalidCertificate(
                    CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. },
                ) => Cause::Expired,
                rustls::Error::InvalidCertificate(_) => Cause::BadCertificate,
                _ => Cause::NoTls,
            });
        }
        let Some(proxy) = proxy else { return Some(Cause::NoResponse) };
        Some(match find::<io::Error>(error).map(io::Error::kind) {
            // The proxy itself responded, with an error.
            None if !error.is_timeout() => Cause::ProxyRefused(proxy),
            Some(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Cause::ProxyRefused(proxy)
            }
            _ => Cause::ProxyNoResponse(proxy),
        })
    }
}

impl fmt::Debug for Network {
    /// Without the proxies, whose URLs may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl HttpClient for Network {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Self { inner: Arc::clone(&self.inner), response_timeout: settings.read_timeout() })
    }
}

impl HttpConnector for Network {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Ok(url) = request.uri().parse::<Uri>() else {
            return HttpConnectorFuture::ready(Err(ConnectorError::user("no URL".into())));
        };
        let proxy = self.proxy(&url);
        if let Some(proxy) = proxy.as_ref().filter(|proxy| !proxy.is_usable) {
            let failure = NetworkFailure { host: authority(&url), cause: Cause::BadProxy(proxy.clone()), source: None };
            return HttpConnectorFuture::ready(Err(ConnectorError::user(failure.into())));
        }
        let called = self.connector(&url).call(request);
        let network = self.clone();
        HttpConnectorFuture::new(async move {
            let ended = match network.response_timeout {
                Some(time) => tokio::time::timeout(CONNECT + time, called)
                    .await
                    .unwrap_or_else(|elapsed| Err(ConnectorError::timeout(elapsed.into()))),
                None => called.await,
            };
            let refused = StatusCode::PROXY_AUTHENTICATION_REQUIRED.as_u16();
            let (cause, source) = match (ended, proxy) {
                (Ok(response), Some(proxy)) if response.status().as_u16() == refused => {
                    (Cause::ProxyRefused(proxy), None)
                }
                (Ok(response), _) => return Ok(response),
                (Err(error), proxy) => match network.explain(proxy, &error) {
                    Some(cause) => (cause, Some(Arc::new(error))),
                    None => return Err(error),
                },
            };
            let may_pass = matches!(cause, Cause::NoResponse | Cause::ProxyNoResponse(_));
            let failure = NetworkFailure { host: authority(&url), cause, source }.into();
            // The SDK repeats calls that ended in an I/O error.
            Err(if may_pass { ConnectorError::io(failure) } else { ConnectorError::user(failure) })
        })
    }
}

fn connector(trust: TrustStore, proxies: ProxyConfig, connect: Duration) -> SharedHttpConnector {
    let mut connector = Connector::builder()
        .connector_settings(HttpConnectorSettings::builder().connect_timeout(connect).build())
        .proxy_config(proxies)
        .tls_provider(Provider::Rustls(CryptoMode::Ring));
    if let Ok(context) = TlsContext::builder().with_trust_store(trust).build() {
        connector = connector.tls_context(context);
    }
    SharedHttpConnector::new(connector.build())
}

/// This machine, and the addresses at which AWS offers credentials to a machine or a container. No proxy reaches
/// them.
fn is_nearby(host: &str) -> bool {
    is_loopback_name(host)
        || match host.trim_matches(['[', ']']).parse() {
            Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_link_local(),
            Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.segments().starts_with(&[0xfd00, 0xec2]),
            Err(_) => false,
        }
}

fn authority(url: &Uri) -> String {
    let host = url.host().unwrap_or_default();
    match (url.port_u16(), url.scheme_str()) {
        (Some(port), _) => format!("{host}:{port}"),
        (None, Some("http")) => format!("{host}:80"),
        (None, _) => format!("{host}:443"),
    }
}

/// Reads a bundle and checks that it contains certificates only, because the TLS library panics on anything else.
fn certificates(file: &str) -> Result<Vec<u8>, Failure> {
    let pem = std::fs::read(file)
        .map_err(|error| Failure(format!("AWS_CA_BUNDLE: {file} cannot be read ({})", error.kind())))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let (added, refused) = rustls::RootCertStore::empty().add_parsable_certificates(certificates.into_iter().flatten());
    if added > 0 && refused == 0 {
        Ok(pem)
    } else {
        Err(Failure(format!("AWS_CA_BUNDLE: {file} must hold valid certificates in PEM form")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_its_metadata_are_reached_without_a_proxy() {
        for near in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]", "169.254.169.254", "169.254.170.2"] {
            assert!(is_nearby(near), "{near}");
        }
        assert!(is_nearby("[fd00:ec2::254]") && is_nearby("[fd00:ec2::23]"));
        for far in ["localhost.example", "10.0.0.1", "[fd00:ec3::254]", "dynamodb.us-east-1.amazonaws.com", ""] {
            assert!(!is_nearby(far), "{far}");
        }
    }
}
