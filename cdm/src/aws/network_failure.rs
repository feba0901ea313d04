//! Why a connection could not be made, in words for the operator.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use aws_smithy_runtime_api::client::result::ConnectorError;

use crate::aws::proxies::Proxy;

/// A connection that could not be made.
#[derive(Debug, Clone)]
pub(crate) struct NetworkFailure {
    /// Host and port.
    pub(crate) host: String,
    pub(crate) cause: Cause,
    /// The HTTP client's error, if it had one.
    pub(crate) source: Option<Arc<ConnectorError>>,
}

/// What prevented the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    BadProxy(Proxy),
    NoResponse,
    ProxyNoResponse(Proxy),
    ProxyRefused(Proxy),
    UnknownIssuer { ca_bundle: Option<String> },
    OtherName,
    Expired,
    BadCertificate,
    NoTls,
}

impl NetworkFailure {
    /// The failure in the chain of an SDK error.
    pub(crate) fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find(error)
    }

    /// Whether the host did not respond. Then the operator must check its name and the network.
    pub(crate) fn is_no_response(&self) -> bool {
        self.cause == Cause::NoResponse
    }
}

impl fmt::Display for NetworkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, cause, .. } = self;
        match cause {
            Cause::BadProxy(Proxy { variable, .. }) => {
                write!(f, "{variable} must be the URL of an HTTP proxy, such as http://proxy:3128")
            }
            Cause::NoResponse => write!(f, "{host} does not respond"),
            Cause::ProxyNoResponse(Proxy { variable, address, .. }) => {
                write!(
                    f,
                    "the proxy {address} does not respond: check {variable}, or name the host in NO_PROXY ({host})"
                )
            }
            Cause::ProxyRefused(Proxy { variable, address, .. }) => write!(
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
                 signs certificates, set AWS_CA_BUNDLE to a PEM file with the certificate of its authority"
            ),
            Cause::OtherName => write!(f, "the certificate of {host} is for another name: check the URL and the proxy"),
            Cause::Expired => write!(f, "the certificate of {host} is out of date: check the clock of this machine"),
            Cause::BadCertificate => write!(f, "the certificate of {host} is not valid: check the URL and the proxy"),
            Cause::NoTls => write!(f, "the TLS handshake with {host} failed: check the URL and the proxy"),
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
        // The source of an I/O error skips the error that it wraps, so look at the wrapped error first.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(within) => Some(within),
            None => error.source(),
        };
    }
    None
}
