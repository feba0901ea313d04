//! The HTTP client of every call to AWS: DynamoDB, STS, SSO and sign-in. It reads `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`
//! and `AWS_CA_BUNDLE` as other AWS tools do, and it says of a connection that failed which of them was in the way.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_sdk_dynamodb::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::{ProxyConfig, ProxyError};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use axum::http::{StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Error as HyperError;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::CertificateError;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::Failure;
use crate::connection::{is_loopback_name, set};

/// How long a connection may take to a host elsewhere: through a proxy it is four round trips.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection may take to this machine and to its metadata service, which is absent on most machines.
const CONNECT_NEARBY: Duration = Duration::from_secs(1);

/// How long [`Network::reach`] waits for an answer on an open connection.
const ANSWER: Duration = Duration::from_secs(5);

/// The variables, of which the AWS CLI takes the one in small letters where both are set.
const HTTPS_PROXY: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
const HTTP_PROXY: [&str; 2] = ["http_proxy", "HTTP_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// An HTTP client that can be cloned: the clones share their connections.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    /// File and content of the certificates to trust instead of the system's.
    ca_bundle: Option<(String, Vec<u8>)>,
    https: Setting,
    http: Setting,
    /// The same proxies, to ask which one a URL goes through.
    rules: Matcher,
    /// Each is built when it is first needed: the system's list of certificates takes time to read.
    nearby: OnceLock<SharedHttpConnector>,
    nearby_https: OnceLock<SharedHttpConnector>,
    elsewhere: OnceLock<SharedHttpConnector>,
    elsewhere_https: OnceLock<SharedHttpConnector>,
}

/// The proxy for the URLs of one scheme.
struct Setting {
    /// The variable that names the proxy.
    variable: &'static str,
    /// Its value, which may hold a password.
    url: String,
    proxies: ProxyConfig,
}

impl Network {
    /// Reads the environment. `ca_bundle` names the file of the certificates to trust, where there is one.
    ///
    /// # Errors
    /// A variable that names no usable proxy, or a file without certificates.
    pub fn new(ca_bundle: Option<String>) -> Result<Self, Failure> {
        let ca_bundle = match ca_bundle {
            Some(file) => Some((file.clone(), certificates(&file)?)),
            None => None,
        };
        let no = NO_PROXY.into_iter().find_map(set).unwrap_or_default();
        let https = Setting::read(HTTPS_PROXY, ProxyConfig::https, &no)?;
        let http = Setting::read(HTTP_PROXY, ProxyConfig::http, &no)?;
        let rules = Matcher::builder().https(https.url.as_str()).http(http.url.as_str()).no(no).build();
        Ok(Self(Arc::new(Inner {
            ca_bundle,
            https,
            http,
            rules,
            nearby: OnceLock::new(),
            nearby_https: OnceLock::new(),
            elsewhere: OnceLock::new(),
            elsewhere_https: OnceLock::new(),
        })))
    }

    /// The client for the SDK's configuration.
    pub fn client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    /// Opens a connection to the URL, which the first call then uses.
    ///
    /// # Errors
    /// Why no connection can be made. What the server answers does not matter.
    pub async fn reach(&self, url: &str) -> Result<(), NetworkFailure> {
        let mut request = HttpRequest::new(SdkBody::empty());
        if request.set_uri(url).is_err() {
            return Ok(());
        }
        let answer = async {
            let response = self.call(request).await?;
            // Read to its end, so that the connection can be used again.
            let _ = response.into_body().collect().await;
            Ok::<_, ConnectorError>(())
        };
        match tokio::time::timeout(CONNECT + ANSWER, answer).await {
            Ok(Err(error)) => NetworkFailure::within(&error).map_or(Ok(()), |failure| Err(failure.clone())),
            _ => Ok(()),
        }
    }

    fn connector(&self, url: Option<&Uri>) -> SharedHttpConnector {
        let Inner { nearby, nearby_https, elsewhere, elsewhere_https, .. } = &*self.0;
        let build = |trust, proxies: &ProxyConfig, connect| connector(trust, proxies.clone(), connect);
        let none = ProxyConfig::disabled();
        let is_http = url.and_then(Uri::scheme_str) == Some("http");
        match (url.and_then(Uri::host).is_some_and(is_nearby), is_http) {
            (true, true) => nearby.get_or_init(|| build(TrustStore::empty(), &none, CONNECT_NEARBY)),
            (true, false) => nearby_https.get_or_init(|| build(self.trust(), &none, CONNECT_NEARBY)),
            (false, true) => elsewhere.get_or_init(|| build(self.trust(), &self.0.http.proxies, CONNECT)),
            (false, false) => elsewhere_https.get_or_init(|| build(self.trust(), &self.0.https.proxies, CONNECT)),
        }
        .clone()
    }

    fn trust(&self) -> TrustStore {
        match &self.0.ca_bundle {
            Some((_, certificates)) => TrustStore::empty().with_pem_certificate(certificates.as_slice()),
            None => TrustStore::default(),
        }
    }

    /// The proxy for the URL.
    fn proxy(&self, url: &Uri) -> Option<Proxy> {
        if url.host().is_none_or(is_nearby) {
            return None;
        }
        let proxy = self.0.rules.intercept(url)?;
        let setting = if url.scheme_str() == Some("http") { &self.0.http } else { &self.0.https };
        Some(Proxy { variable: setting.variable, address: proxy.uri().authority()?.to_string() })
    }

    /// What a failure to connect means. `None` where the connection was made, and what was sent on it may have arrived.
    fn explain(&self, url: &Uri, error: &ConnectorError) -> Option<Cause> {
        find::<HyperError>(error).filter(|error| error.is_connect())?;
        let proxy = self.proxy(url);
        if let Some(error) = find::<rustls::Error>(error) {
            return Some(match error {
                // A bad signature: there is an authority of the issuer's name, which did not sign it.
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                    Cause::UnknownIssuer { ca_bundle: self.0.ca_bundle.as_ref().map(|(file, _)| file.clone()) }
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
        let Some(proxy) = proxy else { return Some(Cause::NoAnswer) };
        Some(match find::<io::Error>(error).map(io::Error::kind) {
            // The proxy itself answered, and not with success.
            None if !error.is_timeout() => Cause::ProxyRefused(proxy),
            Some(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Cause::ProxyRefused(proxy)
            }
            _ => Cause::ProxyNoAnswer(proxy),
        })
    }
}

impl fmt::Debug for Network {
    /// Without the proxies, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl Setting {
    /// Reads the first of the variables that is set. Without one there is no proxy.
    fn read(
        variables: [&'static str; 2],
        proxies: impl Fn(String) -> Result<ProxyConfig, ProxyError>,
        no: &str,
    ) -> Result<Self, Failure> {
        let Some((variable, value)) = variables.into_iter().find_map(|variable| Some((variable, set(variable)?)))
        else {
            return Ok(Self { variable: "", url: String::new(), proxies: ProxyConfig::disabled() });
        };
        let url = if value.contains("://") { value } else { format!("http://{value}") };
        let proxies = proxies(url.clone()).map_err(|_| {
            // The value may hold a password.
            Failure(format!("{variable} must be the URL of an HTTP proxy, such as http://proxy:3128"))
        })?;
        Ok(Self { variable, url, proxies: proxies.no_proxy(no) })
    }
}

impl HttpClient for Network {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Network {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let url = request.uri().parse::<Uri>().ok();
        let called = self.connector(url.as_ref()).call(request);
        let network = self.clone();
        HttpConnectorFuture::new(async move {
            let ended: Result<HttpResponse, ConnectorError> = called.await;
            let Some(url) = url else { return ended };
            let proxy_refused = |response: &HttpResponse| {
                response.status().as_u16() == StatusCode::PROXY_AUTHENTICATION_REQUIRED.as_u16()
            };
            let (cause, source) = match ended {
                Ok(response) => match network.proxy(&url) {
                    Some(proxy) if proxy_refused(&response) => (Cause::ProxyRefused(proxy), None),
                    _ => return Ok(response),
                },
                Err(error) => match network.explain(&url, &error) {
                    Some(cause) => (cause, Some(Arc::new(error))),
                    None => return Err(error),
                },
            };
            let passes = matches!(cause, Cause::NoAnswer | Cause::ProxyNoAnswer(_));
            let failure = Box::new(NetworkFailure { host: authority(&url), cause, source });
            // The SDK repeats calls that ended in an I/O error.
            Err(if passes { ConnectorError::io(failure) } else { ConnectorError::user(failure) })
        })
    }
}

/// A connection that could not be made.
#[derive(Debug, Clone)]
pub struct NetworkFailure {
    /// Host and port.
    host: String,
    cause: Cause,
    source: Option<Arc<ConnectorError>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Proxy {
    variable: &'static str,
    /// Host and port, without the user name and password that the variable may hold.
    address: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    NoAnswer,
    ProxyNoAnswer(Proxy),
    ProxyRefused(Proxy),
    UnknownIssuer { ca_bundle: Option<String> },
    OtherName,
    Expired,
    BadCertificate,
    NoTls,
}

impl NetworkFailure {
    /// The failure in the chain of an error of the SDK's.
    pub fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find(error)
    }

    /// Whether the host simply did not answer, so that its name and the network are to be checked.
    pub fn is_no_answer(&self) -> bool {
        self.cause == Cause::NoAnswer
    }
}

impl fmt::Display for NetworkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, cause, .. } = self;
        match cause {
            Cause::NoAnswer => write!(f, "{host} does not answer"),
            Cause::ProxyNoAnswer(Proxy { variable, address }) => {
                write!(
                    f,
                    "the proxy {address} does not answer: check {variable}, or name the host in NO_PROXY ({host})"
                )
            }
            Cause::ProxyRefused(Proxy { variable, address }) => write!(
                f,
                "the proxy {address} refused the connection to {host}: check the user name and password in {variable}, \
                 and what the proxy allows"
            ),
            Cause::UnknownIssuer { ca_bundle: Some(file) } => {
                write!(f, "no authority in AWS_CA_BUNDLE ({file}) signed the certificate of {host}")
            }
            Cause::UnknownIssuer { ca_bundle: None } => write!(
                f,
                "no authority that this machine trusts signed the certificate of {host}: if a proxy of your network \
                 signs certificates, set AWS_CA_BUNDLE to the file of its own"
            ),
            Cause::OtherName => write!(f, "the certificate of {host} is for another name: check the URL and the proxy"),
            Cause::Expired => write!(f, "the certificate of {host} is out of date: check the clock of this machine"),
            Cause::BadCertificate => write!(f, "the certificate of {host} is not valid: check the URL and the proxy"),
            Cause::NoTls => write!(f, "{host} does not speak TLS as it must: check the URL and the proxy"),
        }
    }
}

impl Error for NetworkFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}

/// The first error of this type in an error's chain.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error's source is that of the error within it, which would be passed over.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(within) => Some(within),
            None => error.source(),
        };
    }
    None
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

/// This machine, and the addresses where AWS gives a machine or a container its own credentials. No proxy reaches them.
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

/// The bundle's text, once it is known to hold certificates: the TLS library panics on anything else.
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
