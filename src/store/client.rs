//! The DynamoDB client: its connector, the certificates it trusts, and a connection that is open before the first request.
//!
//! The SDK's default configuration chain is not used. It parses about 150 root certificates at each start, and it builds a
//! second client for credentials that Lambda already puts into the environment. The endpoint of the region is resolved
//! once, not for each call.
//!
//! Trust: Amazon signs its endpoints with its own roots, five certificates, so the client trusts only these at first. If AWS
//! uses another issuer one day, the first handshake that meets it logs a warning and switches to the system's certificates,
//! and the call succeeds.

use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_sdk_dynamodb::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::config::{SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime::client::dns::TokioDnsResolver;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError, SharedDnsResolver};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::config::{ConfigError, Endpoint};

/// Within a region a connection takes milliseconds.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);

/// Less than [`CONNECT_TIMEOUT`], so that the cause shows whether the name server or the endpoint did not respond.
const RESOLVE_TIMEOUT: Duration = Duration::from_millis(800);

const AMAZON_ROOTS: &[u8] = include_bytes!("amazon_roots.pem");

/// A client, and what is needed to open its connection before the first call.
#[derive(Debug)]
pub struct DynamoDb {
    /// Its own retries are off, because the store decides about retries.
    pub client: Client,
    /// What the client sends its calls through.
    pub connector: SharedHttpConnector,
    url: String,
}

impl DynamoDb {
    /// Builds the client. It sends nothing.
    ///
    /// # Errors
    /// The environment variable that is invalid.
    pub async fn new(endpoint: &Endpoint, credentials: SharedCredentialsProvider) -> Result<Self, ConfigError> {
        Self::with_resolver(endpoint, credentials, SharedDnsResolver::new(TokioDnsResolver::new())).await
    }

    /// Like [`DynamoDb::new`], with a resolver other than the system's.
    ///
    /// # Errors
    /// The environment variable that is invalid.
    pub async fn with_resolver(
        endpoint: &Endpoint,
        credentials: SharedCredentialsProvider,
        resolver: SharedDnsResolver,
    ) -> Result<Self, ConfigError> {
        let connector = TrustFallback::new(endpoint.ca_bundle.as_deref(), TimedResolver(resolver))?;
        let connector = SharedHttpConnector::new(connector);
        let url = match &endpoint.url {
            Some(url) => url.clone(),
            None => regional_url(endpoint).await?,
        };
        let shared = connector.clone();
        let http_client: SharedHttpClient = http_client_fn(move |_, _| shared.clone());
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(endpoint.region.clone()))
            .endpoint_url(&url)
            .credentials_provider(credentials)
            .http_client(http_client)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        let config = aws_sdk_dynamodb::config::Builder::from(&config).interceptor(RejectEmptyResponses).build();
        Ok(Self { client: Client::from_conf(config), connector, url })
    }

    /// Opens the connection with a health check of DynamoDB, which is neither signed nor billed. If it fails, the first call
    /// opens its own connection.
    pub async fn open_connection(&self) {
        let mut request = HttpRequest::new(SdkBody::empty());
        if request.set_uri(self.url.as_str()).is_err() {
            return;
        }
        let opened = async {
            let response = self.connector.call(request).await.ok()?;
            // Read the whole body, so that the connection returns to the pool.
            response.into_body().collect().await.ok()
        };
        if tokio::time::timeout(CONNECT_TIMEOUT * 2, opened).await.ok().flatten().is_none() {
            tracing::warn!(target: "cdm", "the connection to DynamoDB could not be opened before the first request");
        }
    }
}

/// Rejects an empty response, whatever its status. The SDK would read it as success or as a missing item, but DynamoDB
/// always sends at least `{}`.
#[derive(Debug)]
struct RejectEmptyResponses;

impl Intercept for RejectEmptyResponses {
    fn name(&self) -> &'static str {
        "RejectEmptyResponses"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match context.response().body().bytes() {
            Some([]) => Err("an empty response".into()),
            _ => Ok(()),
        }
    }
}

/// The credentials that Lambda puts into the environment.
pub fn environment_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new())
}

async fn regional_url(endpoint: &Endpoint) -> Result<String, ConfigError> {
    let Endpoint { region, use_fips, use_dual_stack, .. } = endpoint;
    let unknown = ConfigError {
        variable: "AWS_REGION",
        rule: "must name a region, such as us-east-1, that has the endpoints which AWS_USE_FIPS_ENDPOINT and \
               AWS_USE_DUALSTACK_ENDPOINT select",
    };
    let parameters = Params::builder().region(region).use_fips(*use_fips).use_dual_stack(*use_dual_stack).build();
    let parameters = parameters.map_err(|_| unknown.clone())?;
    let endpoint = DefaultResolver::new().resolve_endpoint(&parameters).await.map_err(|_| unknown)?;
    Ok(endpoint.url().to_owned())
}

/// Limits the resolution of a name to [`RESOLVE_TIMEOUT`].
#[derive(Debug, Clone)]
struct TimedResolver(SharedDnsResolver);

impl ResolveDns for TimedResolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            tokio::time::timeout(RESOLVE_TIMEOUT, self.0.resolve_dns(name))
                .await
                .unwrap_or_else(|late| Err(ResolveDnsError::new(late)))
        })
    }
}

/// A connector that trusts Amazon's roots until a server shows another issuer, and from then on the system's roots.
#[derive(Debug)]
struct TrustFallback {
    first: SharedHttpConnector,
    resolver: TimedResolver,
    /// `None` if the operator named the certificates to trust. Then there is no fallback.
    system: Option<Arc<OnceLock<SharedHttpConnector>>>,
}

impl TrustFallback {
    fn new(ca_bundle: Option<&str>, resolver: TimedResolver) -> Result<Self, ConfigError> {
        let (roots, system) = match ca_bundle {
            None => (AMAZON_ROOTS.to_vec(), Some(Arc::default())),
            Some(file) => (certificates(file)?, None),
        };
        let first = connector(TrustStore::empty().with_pem_certificate(roots), resolver.clone());
        Ok(Self { first, resolver, system })
    }
}

impl HttpConnector for TrustFallback {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Some(system) = &self.system else {
            return self.first.call(request);
        };
        if let Some(system) = system.get() {
            return system.call(request);
        }
        let (system, resolver) = (Arc::clone(system), self.resolver.clone());
        let response = self.first.call(request);
        HttpConnectorFuture::new(async move {
            let response = response.await;
            // Nothing was sent, so the store makes another attempt, which uses the system's roots.
            if response.as_ref().is_err_and(|error| is_unknown_issuer(error)) {
                system.get_or_init(|| {
                    tracing::warn!(target: "cdm", "DynamoDB's certificate does not come from Amazon's roots: trusting the system's roots");
                    connector(TrustStore::default(), resolver)
                });
            }
            response
        })
    }
}

fn connector(trust: TrustStore, resolver: TimedResolver) -> SharedHttpConnector {
    let mut connector = Connector::builder()
        .connector_settings(HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .sleep_impl(TokioSleep::new())
        // ring, because aws-lc spends 40 ms of CPU on jitter entropy at its first connection and is 2 MB larger.
        .tls_provider(Provider::Rustls(CryptoMode::Ring));
    // It cannot fail: the builder checks nothing.
    if let Ok(context) = TlsContext::builder().with_trust_store(trust).build() {
        connector = connector.tls_context(context);
    }
    SharedHttpConnector::new(connector.build_with_resolver(resolver))
}

/// Reads a bundle and checks that it has certificates, and that each can be parsed, because the TLS library panics on one
/// that cannot.
fn certificates(file: &str) -> Result<Vec<u8>, ConfigError> {
    let bad = ConfigError { variable: "AWS_CA_BUNDLE", rule: "must name a readable PEM file of certificates" };
    let pem = std::fs::read(file).map_err(|_| bad.clone())?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| bad.clone())?;
    let mut roots = rustls::RootCertStore::empty();
    let (added, refused) = roots.add_parsable_certificates(certificates);
    if added > 0 && refused == 0 { Ok(pem) } else { Err(bad) }
}

fn is_unknown_issuer(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) = error.downcast_ref() {
            return true;
        }
        // The source of an I/O error skips the error that it wraps, so look at the wrapped error first.
        cause = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(within) => Some(within),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError::{BadSignature, UnknownIssuer};

    use super::*;

    #[tokio::test]
    async fn each_kind_of_endpoint_is_resolved_for_a_region() {
        let url = async |region: &str, use_fips, use_dual_stack| {
            let region = region.to_owned();
            let endpoint = Endpoint { region, url: None, ca_bundle: None, use_fips, use_dual_stack };
            regional_url(&endpoint).await.map_err(|error| error.variable)
        };
        for (region, use_fips, use_dual_stack, expected) in [
            ("eu-central-1", false, false, Ok("https://dynamodb.eu-central-1.amazonaws.com")),
            ("us-east-1", true, false, Ok("https://dynamodb-fips.us-east-1.amazonaws.com")),
            ("us-east-1", false, true, Ok("https://dynamodb.us-east-1.api.aws")),
            ("us-east-1", true, true, Ok("https://dynamodb-fips.us-east-1.api.aws")),
            ("no region", false, false, Err("AWS_REGION")),
            ("no region", true, true, Err("AWS_REGION")),
        ] {
            let url = url(region, use_fips, use_dual_stack).await;
            assert_eq!(url.as_deref().map_err(|variable| *variable), expected, "{region}");
        }
    }

    #[test]
    fn a_bundle_has_certificates_that_can_be_parsed() {
        let bundle = |text: &[u8]| {
            let file = std::env::temp_dir().join(format!("cdm-lambda-{:032x}.pem", fastrand::u128(..)));
            std::fs::write(&file, text).unwrap();
            let read = certificates(file.to_str().unwrap());
            std::fs::remove_file(file).unwrap();
            read
        };
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".as_slice();
        assert_eq!(bundle(AMAZON_ROOTS).as_deref(), Ok(AMAZON_ROOTS));
        for bad in [b"".as_slice(), b"no certificate", broken, &[AMAZON_ROOTS, broken].concat()] {
            assert_eq!(bundle(bad).unwrap_err().variable, "AWS_CA_BUNDLE");
        }
        assert!(certificates("/no/such/file").is_err());
    }

    #[test]
    fn an_unknown_issuer_is_found_in_wrapped_errors() {
        let wrapped = |error| std::io::Error::other(std::io::Error::other(rustls::Error::InvalidCertificate(error)));
        assert!(is_unknown_issuer(&wrapped(UnknownIssuer)));
        assert!(!is_unknown_issuer(&wrapped(BadSignature)));
        assert!(!is_unknown_issuer(&std::io::Error::other("reset")));
    }
}
