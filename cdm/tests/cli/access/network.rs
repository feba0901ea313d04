//! Proxies and certificates: every call uses them, and the messages name the setting that caused a failure.

use testkit::tls::Authority;

use super::aws::{Aws, Machine, Manner, Proxy};
use crate::helpers::path;

const NAMES: [&str; 1] = ["*.aws.invalid"];

/// A profile whose credentials need a call to STS.
const ROLE: &str = "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = base-secret\n\
    [profile clinic]\nrole_arn = arn:aws:iam::012345678901:role/operator\nsource_profile = base\n";

/// A machine that reaches the services over TLS through a proxy.
async fn behind(manner: Manner) -> (Machine, Aws, Proxy) {
    let (aws, authority) = (Aws::start().await, Authority::new());
    let proxy = Proxy::start(authority.serve(aws.address(), &NAMES).await, manner).await;
    let machine = Machine::new("https").set("AWS_PROFILE", "clinic").file(".aws/config", ROLE);
    let bundle = machine.home.path().join("authority.pem");
    authority.write(&bundle);
    (machine.set("AWS_CA_BUNDLE", path(&bundle)), aws, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_goes_through_the_proxy_and_trusts_the_bundle() {
    for variable in ["HTTPS_PROXY", "https_proxy"] {
        let (machine, aws, proxy) = behind(Manner::Open).await;
        machine.set(variable, &proxy.url()).works().await;
        assert_eq!(proxy.targets(), ["dynamodb.aws.invalid:443", "sts.aws.invalid:443"]);
        assert_eq!(aws.keys_at_dynamodb(), ["ASIAoperator"]);
    }
    for variable in ["HTTP_PROXY", "http_proxy"] {
        let aws = Aws::start().await;
        let proxy = Proxy::start(aws.address(), Manner::Open).await;
        let machine = Machine::new("http").set("AWS_PROFILE", "clinic").file(".aws/config", ROLE);
        machine.set(variable, &proxy.url()).works().await;
        assert_eq!(proxy.targets(), ["http://dynamodb.aws.invalid/", "http://sts.aws.invalid/"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_is_respected() {
    for (variable, value) in [("NO_PROXY", "dynamodb.aws.invalid"), ("no_proxy", "example.com, .dynamodb.aws.invalid")]
    {
        let (machine, _, proxy) = behind(Manner::Open).await;
        let said = machine.set("HTTPS_PROXY", &proxy.url()).set(variable, value).refused().await;
        assert_eq!(
            said,
            "DynamoDB cannot be reached: dynamodb.aws.invalid:443 does not respond: check the network, the region and \
             AWS_ENDPOINT_URL_DYNAMODB"
        );
        assert_eq!(proxy.targets(), ["sts.aws.invalid:443"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_on_this_machine_is_reached_without_a_proxy() {
    let aws = Aws::start().await;
    let proxy = Proxy::start(aws.address(), Manner::Open).await;
    let url = format!("http://localhost:{}", aws.address().port());
    let machine = Machine::new("http").set("HTTP_PROXY", &proxy.url()).set("AWS_ENDPOINT_URL_DYNAMODB", &url);
    machine.works().await;
    assert_eq!(proxy.targets().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machines_and_a_containers_own_credentials_are_fetched_without_a_proxy() {
    let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/credentials");
    for (variable, path) in [container, ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "")] {
        let aws = Aws::start().await;
        let proxy = Proxy::start(aws.address(), Manner::Open).await;
        let url = format!("http://127.0.0.1:{}{path}", aws.address().port());
        let machine = Machine::new("http").set("HTTP_PROXY", &proxy.url()).set("AWS_EC2_METADATA_DISABLED", "false");
        machine.set(variable, &url).works().await;
        assert_eq!(aws.keys_at_dynamodb(), ["ASIANEAR"]);
        assert_eq!(proxy.targets(), ["http://dynamodb.aws.invalid/"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    for manner in [Manner::Refusing, Manner::Asking, Manner::Silent] {
        let (machine, _, proxy) = behind(manner).await;
        let address = proxy.url().replace("http://", "");
        let url = format!("http://you:pass-word@{address}");
        assert_eq!(
            machine.set("HTTPS_PROXY", &url).refused().await,
            format!(
                "STS cannot be reached for the role of the profile clinic: the proxy {address} refused the connection to \
                 sts.aws.invalid:443: check the user name and password in HTTPS_PROXY, and what the proxy allows"
            ),
            "{manner:?}"
        );
    }
    let (machine, _, proxy) = behind(Manner::Asking).await;
    machine.set("HTTPS_PROXY", &proxy.url().replace("http://", "http://me:pass-word@")).works().await;
    // Without TLS, the proxy itself sends the refusal.
    let aws = Aws::start().await;
    let proxy = Proxy::start(aws.address(), Manner::Asking).await;
    let machine = Machine::new("http").set("AWS_ACCESS_KEY_ID", "a").set("AWS_SECRET_ACCESS_KEY", "b");
    let said = machine.set("HTTP_PROXY", &proxy.url()).refused().await;
    assert!(said.contains("refused the connection to dynamodb.aws.invalid:80: check the user name"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_proxy_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let machine = Machine::new("https").set("AWS_ACCESS_KEY_ID", "a").set("AWS_SECRET_ACCESS_KEY", "b");
    for proxy in [format!("127.0.0.1:{port}"), "proxy.invalid:3128".to_owned()] {
        let machine = Machine::new("https").set("AWS_ACCESS_KEY_ID", "a").set("AWS_SECRET_ACCESS_KEY", "b");
        assert_eq!(
            machine.set("HTTPS_PROXY", &format!("http://{proxy}")).refused().await,
            format!(
                "DynamoDB cannot be reached: the proxy {proxy} does not respond: check HTTPS_PROXY, or name the host in \
                 NO_PROXY (dynamodb.aws.invalid:443)"
            )
        );
    }
    // Lower case takes precedence, as in the AWS CLI.
    let machine = machine.set("HTTPS_PROXY", "http://other.invalid").set("https_proxy", "proxy.invalid:3128");
    assert!(machine.refused().await.contains("the proxy proxy.invalid:3128 does not respond: check https_proxy"));
    for bad in ["socks5://me:pass-word@proxy.invalid:1080", "http://", "ftp://proxy", "http://pro xy:1", "a b"] {
        let machine = Machine::new("https").set("AWS_ACCESS_KEY_ID", "a").set("AWS_SECRET_ACCESS_KEY", "b");
        assert_eq!(
            machine.set("HTTPS_PROXY", bad).refused().await,
            "DynamoDB cannot be reached: HTTPS_PROXY must be the URL of an HTTP proxy, such as http://proxy:3128",
            "{bad}"
        );
    }
    // An invalid value matters only for URLs that use it.
    let aws = Aws::start().await;
    let url = format!("http://127.0.0.1:{}", aws.address().port());
    machine.set("http_proxy", "socks5://proxy.invalid:1080").set("AWS_ENDPOINT_URL_DYNAMODB", &url).works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_is_named() {
    let (machine, aws, proxy) = behind(Manner::Open).await;
    let machine = machine.set("HTTPS_PROXY", &proxy.url());
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("authority.pem");
    Authority::new().write(&file);
    let machine = machine.set("AWS_CA_BUNDLE", path(&file));
    assert_eq!(
        machine.refused().await,
        format!(
            "STS cannot be reached for the role of the profile clinic: no authority in AWS_CA_BUNDLE ({}) signed the \
             certificate of sts.aws.invalid:443",
            file.display()
        )
    );
    let said = machine.set("AWS_CA_BUNDLE", "").refused().await;
    assert!(
        said.contains("no authority that this machine trusts signed the certificate of sts.aws.invalid:443"),
        "{said}"
    );
    assert!(aws.asked("sts").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_an_old_one_and_a_server_without_tls_are_told_apart() {
    let (aws, authority) = (Aws::start().await, Authority::new());
    for (server, why) in [
        (
            authority.serve(aws.address(), &["elsewhere.invalid"]).await,
            "the certificate of sts.aws.invalid:443 is for another name",
        ),
        (
            authority.serve_until(aws.address(), &NAMES, 2020).await,
            "the certificate of sts.aws.invalid:443 is out of date",
        ),
        (aws.address(), "the TLS handshake with sts.aws.invalid:443 failed"),
    ] {
        let proxy = Proxy::start(server, Manner::Open).await;
        let machine = Machine::new("https").set("AWS_PROFILE", "clinic").file(".aws/config", ROLE);
        let bundle = machine.home.path().join("authority.pem");
        authority.write(&bundle);
        let machine = machine.set("AWS_CA_BUNDLE", path(&bundle)).set("HTTPS_PROXY", &proxy.url());
        let said = machine.refused().await;
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_without_certificates_is_named_and_a_profile_may_name_one() {
    let (machine, _, proxy) = behind(Manner::Open).await;
    let machine = machine.set("HTTPS_PROXY", &proxy.url());
    let bundle = machine.home.path().join("authority.pem");
    let config = format!("{ROLE}ca_bundle = {}\n", bundle.display());
    let machine = machine.set("AWS_CA_BUNDLE", "").file(".aws/config", &config);
    machine.works().await;
    let empty = machine.home.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    let machine = machine.set("AWS_CA_BUNDLE", path(&empty));
    assert_eq!(
        machine.refused().await,
        format!("AWS_CA_BUNDLE: {} must hold valid certificates in PEM form", empty.display())
    );
    let said = machine.set("AWS_CA_BUNDLE", "/no/such/file").refused().await;
    assert_eq!(said, "AWS_CA_BUNDLE: /no/such/file cannot be read (entity not found)");
}
