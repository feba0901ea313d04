//! Whom the function trusts with its connection: Amazon's roots, the system's where those are not enough, and nobody
//! but the operator's own where one is named.

use std::path::Path;

use testkit::demo;

use testkit::TIMEOUT;
use testkit::runtime_api::Environment;
use testkit::tls::Authority;

use crate::{BOOTSTRAP, DemoDatabase, add, answer_body, assert_private, status};

/// The answer to one add over TLS, and what the function logged.
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
    let (status, output) = add_over_tls(None, Some(&authority), &authority).await;
    assert_eq!((status, output.matches(FALLEN_BACK).count()), (200, 1), "{output}");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_never_talked_to() {
    let (status, output) = add_over_tls(None, Some(&Authority::new()), &Authority::new()).await;
    assert_eq!((status, output.matches(FALLEN_BACK).count()), (500, 1), "{output}");
}

#[tokio::test]
async fn a_named_bundle_is_trusted() {
    let authority = Authority::new();
    let (status, output) = add_over_tls(Some(&authority), None, &authority).await;
    assert_eq!((status, output.contains(FALLEN_BACK)), (200, false), "{output}");
}

#[tokio::test]
async fn a_named_bundle_is_the_only_thing_trusted() {
    let authority = Authority::new();
    let (status, output) = add_over_tls(Some(&Authority::new()), Some(&authority), &authority).await;
    assert_eq!((status, output.contains(FALLEN_BACK)), (500, false), "{output}");
}
