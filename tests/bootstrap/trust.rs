//! Whom the function trusts with its connection: Amazon's roots, the system's where those are not enough, and nobody
//! but the operator's own where one is named.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use cdm::demo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::runtime_api::Environment;
use crate::{BOOTSTRAP, Database, TIMEOUT, add, answer_body, assert_private, status};

/// An authority that nobody knows yet.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate as a file.
    fn file(&self, name: &str) -> PathBuf {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.pem", std::process::id()));
        std::fs::write(&file, self.0.pem()).unwrap();
        file
    }

    /// TLS for `localhost` in front of `database`, with a certificate of this authority.
    async fn serve(&self, database: SocketAddr) -> String {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust us hangs up.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut database = TcpStream::connect(database).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut database).await;
                });
            }
        });
        format!("https://localhost:{port}")
    }
}

/// The answer to one add over TLS, and what the function logged.
async fn add_over_tls(
    bundle: Option<&Authority>,
    system: Option<&Authority>,
    server: &Authority,
    name: &str,
) -> (u64, String) {
    let database = Database::new().await;
    let url = server.serve(database.embedded.address()).await;
    let mut variables = vec![("TABLE_NAME", demo::TABLE.to_owned()), ("AWS_ENDPOINT_URL_DYNAMODB", url)];
    for (variable, authority) in [("AWS_CA_BUNDLE", bundle), ("SSL_CERT_FILE", system)] {
        if let Some(authority) = authority {
            let file = authority.file(&format!("{name}-{variable}"));
            variables.push((variable, file.to_str().unwrap().to_owned()));
        }
    }
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let environment = Environment::start(BOOTSTRAP, &variables).await;
    let answer = environment.invoke(add("6105551212"), TIMEOUT / 10).await;
    let status = status(&answer);
    assert!(status == 200 || answer_body(&answer).contains("try_again"));
    let output = environment.kill().await;
    assert_private(&output);
    (status, output)
}

const FALLEN_BACK: &str = "trusting the system's";

#[tokio::test]
async fn an_unknown_issuer_turns_to_the_systems_roots_once_and_the_request_is_answered() {
    let authority = Authority::new();
    let (status, output) = add_over_tls(None, Some(&authority), &authority, "fallback").await;
    assert_eq!((status, output.matches(FALLEN_BACK).count()), (200, 1), "{output}");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_never_talked_to() {
    let (status, output) = add_over_tls(None, Some(&Authority::new()), &Authority::new(), "nobody").await;
    assert_eq!((status, output.matches(FALLEN_BACK).count()), (500, 1), "{output}");
}

#[tokio::test]
async fn a_named_bundle_is_trusted() {
    let authority = Authority::new();
    let (status, output) = add_over_tls(Some(&authority), None, &authority, "bundle").await;
    assert_eq!((status, output.contains(FALLEN_BACK)), (200, false), "{output}");
}

#[tokio::test]
async fn a_named_bundle_is_the_only_thing_trusted() {
    let authority = Authority::new();
    let (status, output) = add_over_tls(Some(&Authority::new()), Some(&authority), &authority, "only").await;
    assert_eq!((status, output.contains(FALLEN_BACK)), (500, false), "{output}");
}
