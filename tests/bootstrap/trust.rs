//! Which certificate authorities the function trusts: Amazon's roots, then the system's roots if those do not suffice. If
//! `AWS_CA_BUNDLE` names a file, only the authorities in it.

use std::path::Path;

use testkit::demo;

use testkit::TIMEOUT;
use testkit::runtime_api::Environment;
use testkit::tls::Authority;

use crate::{BOOTSTRAP, DemoDatabase, add, assert_private, response_body, status};

/// The status of one add over TLS, and the function's output.
async fn add_over_tls(bundle: Option<&Authority>, system: Option<&Authority>, server: &Authority) -> (u64, String) {
    let database = DemoDatabase::start().await;
    let address = server.serve(database.database.address(), &["localhost"]).await;
    let mut variables = vec![
        ("TABLE_NAME", demo::TABLE.to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", format!("https://localhost:{}", address.port())),
        ("AWS_ACCESS_KEY_ID", database.database.access_key().to_owned()),
    ];
    for (variable, authority) in [("AWS_CA_BUNDLE", bundle), ("SSL_CERT_FILE", system)] {
        if let Some(authority) = authority {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("authority-{}.pem", fastrand::u64(..)));
            authority.write(&file);
            variables.push((variable, file.to_str().unwrap().to_owned()));
        }
    }
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let environment = Environment::start(BOOTSTRAP, &variables).await;
    let invocation = environment.invoke(add("6105551212"), TIMEOUT / 10).await;
    let status = status(&invocation);
    assert!(status == 200 || response_body(&invocation).contains("try_again"));
    let output = environment.kill().await;
    assert_private(&output);
    (status, output)
}

const FALLBACK: &str = "trusting the system's";

#[tokio::test]
async fn an_issuer_outside_amazons_roots_is_looked_up_once_in_the_systems_roots() {
    let authority = Authority::new();
    let (status, output) = add_over_tls(None, Some(&authority), &authority).await;
    assert_eq!((status, output.matches(FALLBACK).count()), (200, 1), "{output}");
}

#[tokio::test]
async fn a_server_with_an_unknown_issuer_is_not_trusted() {
    let (status, output) = add_over_tls(None, Some(&Authority::new()), &Authority::new()).await;
    assert_eq!((status, output.matches(FALLBACK).count()), (500, 1), "{output}");
}

#[tokio::test]
async fn a_named_bundle_is_trusted() {
    let authority = Authority::new();
    let (status, output) = add_over_tls(Some(&authority), None, &authority).await;
    assert_eq!((status, output.contains(FALLBACK)), (200, false), "{output}");
}

#[tokio::test]
async fn with_a_named_bundle_no_other_authority_is_trusted() {
    let authority = Authority::new();
    let (status, output) = add_over_tls(Some(&Authority::new()), Some(&authority), &authority).await;
    assert_eq!((status, output.contains(FALLBACK)), (500, false), "{output}");
}
