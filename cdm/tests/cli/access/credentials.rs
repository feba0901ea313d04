//! Where credentials come from, against stand-ins for AWS's services, and the messages when a service refuses.

use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;

use super::aws::{CODE, DEVICE, Machine, TOKEN};
use crate::helpers::{one_line, ran};

const KEYS: &str = "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = base-secret\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_does_not_exist_is_named() {
    let (machine, _) = Machine::with_profiles(KEYS).await;
    let machine = machine.set("AWS_PROFILE", "clinic");
    assert_eq!(
        machine.refused().await,
        "the AWS profile clinic does not exist: `aws configure list-profiles` lists those that do"
    );
    let machine =
        machine.file(".aws/config", "[profile clinic]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = gone\n");
    assert_eq!(machine.refused().await, "the AWS profile gone, the source_profile of clinic, does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_incomplete_is_named_with_what_it_lacks() {
    for (profile, line) in [
        ("aws_access_key_id = a", "the AWS profile clinic has no aws_secret_access_key"),
        ("aws_secret_access_key = hush", "the AWS profile clinic has no aws_access_key_id"),
        (
            "role_arn = arn:aws:iam::1:role/r",
            "the AWS profile clinic has a role_arn and needs one of source_profile and credential_source",
        ),
        (
            "role_arn = arn:aws:iam::1:role/r\nsource_profile = clinic",
            "the AWS profile clinic has no credentials to assume a role with",
        ),
        (
            "role_arn = arn:aws:iam::1:role/r\nsource_profile = two\n[profile two]\nrole_arn = r\nsource_profile = clinic",
            "the AWS profile clinic leads back to itself through source_profile",
        ),
        ("sso_session = gone", "the AWS profile clinic names the sso-session gone, which does not exist"),
        (
            "sso_start_url = https://a.invalid\nsso_region = us-east-1\nsso_account_id = 1",
            "the AWS profile clinic lacks sso_role_name: `aws configure sso --profile clinic` sets it",
        ),
        (
            "role_arn = arn:aws:iam::1:role/r\ncredential_source = Environment\nmfa_serial = m",
            "the AWS profile clinic needs an MFA code, and contains both a role and credentials: move the \
             credentials to their own profile, and name that profile in source_profile",
        ),
        (
            "role_arn = arn:aws:iam::1:role/r\nsource_profile = clinic\nduration_seconds = 1h",
            "duration_seconds of the AWS profile clinic must be a whole number",
        ),
    ] {
        let (machine, _) = Machine::with_profiles(&format!("[profile clinic]\n{profile}\n")).await;
        assert_eq!(machine.set("AWS_PROFILE", "clinic").refused().await, line);
    }
    let (machine, _) = Machine::with_profiles("[profile clinic]\n").await;
    let said = machine.set("AWS_PROFILE", "clinic").refused().await;
    assert!(said.starts_with("no AWS credentials are found: set AWS_PROFILE"), "{said}");
    let (machine, _) = Machine::with_profiles("[profile clinic\n").await;
    let said = machine.refused().await;
    assert!(said.starts_with("the AWS profiles cannot be read (") && said.contains("on line 1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_key_in_the_environment_is_an_error() {
    let (machine, _) = Machine::with_profiles(KEYS).await;
    let machine = machine.set("AWS_ACCESS_KEY_ID", "AKIAHALF");
    assert_eq!(
        machine.refused().await,
        "AWS_SECRET_ACCESS_KEY is not set, and AWS_ACCESS_KEY_ID is: set both or neither"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_process_runs_once_a_command() {
    let process = "[profile clinic]\ncredential_process = echo run >> $HOME/runs; cat $HOME/answer\n";
    let (machine, aws) = Machine::with_profiles(process).await;
    let machine = machine.set("AWS_PROFILE", "clinic").file("answer", &printed("ASIAPROCESS", "2099-01-01T00:00:00Z"));
    machine.works().await;
    assert_eq!(aws.keys_at_dynamodb(), ["ASIAPROCESS"]);
    assert_eq!(std::fs::read_to_string(machine.home.path().join("runs")).unwrap(), "run\n");
    let machine = machine.file(".aws/config", "[profile clinic]\ncredential_process = echo my-secret >&2; false\n");
    assert_eq!(
        machine.refused().await,
        "the credential_process of the profile clinic failed: run its command by itself to see why"
    );
}

/// The output of a `credential_process`.
fn printed(access_key: &str, expires: &str) -> String {
    format!(
        r#"{{"Version":1,"AccessKeyId":"{access_key}","SecretAccessKey":"s","SessionToken":"t","Expiration":"{expires}"}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_expire_during_a_command_are_renewed_or_reported() {
    // Its credentials expire at once, and the second run of the process fails.
    let process = "[profile clinic]\ncredential_process = cat $HOME/answer; rm $HOME/answer\n";
    let (machine, aws) = Machine::with_profiles(process).await;
    let machine = machine.set("AWS_PROFILE", "clinic").file("answer", &printed("ASIAONE", "2020-01-01T00:00:00Z"));
    assert_eq!(
        machine.refused().await,
        "the item cannot be read: the credentials have expired and cannot be renewed: log in again"
    );
    assert_eq!(aws.asked("dynamodb"), []);
    let process = "[profile clinic]\ncredential_process = cat $HOME/answer; mv $HOME/next $HOME/answer || true\n";
    let machine = machine.file("answer", &printed("ASIAONE", "2020-01-01T00:00:00Z"));
    machine.file("next", &printed("ASIATWO", "2099-01-01T00:00:00Z")).file(".aws/config", process).works().await;
    assert_eq!(aws.keys_at_dynamodb(), ["ASIATWO"]);
    // Expired for AWS, but not by this machine's clock.
    let (machine, _) = Machine::with_profiles("").await;
    let machine = machine.set("AWS_ACCESS_KEY_ID", "ASIAEXPIRED").set("AWS_SECRET_ACCESS_KEY", "s");
    assert_eq!(machine.refused().await, "the item cannot be read: the credentials have expired: log in again");
}

const SSO: &str = "[profile clinic]\nsso_session = clinic\nsso_account_id = 012345678901\nsso_role_name = operator\n\
    [profile closed]\nsso_session = clinic\nsso_account_id = 012345678901\nsso_role_name = closed\n\
    [sso-session clinic]\nsso_region = us-east-1\nsso_start_url = https://clinic.awsapps.invalid/start\n\
    [profile old]\nsso_start_url = https://clinic.awsapps.invalid/start\nsso_region = us-east-1\n\
    sso_account_id = 012345678901\nsso_role_name = operator\n";
/// SHA-1 of `clinic`, and of the start URL. The AWS CLI names the files by them.
const SSO_FILE: &str = ".aws/sso/cache/cdaaa12922c06f8fc0b262e949468467d689e400.json";
const OLD_SSO_FILE: &str = ".aws/sso/cache/657069042c0611c6200ba097289c12a3b3d055dd.json";

/// A file as `aws sso login` writes it.
fn sso_token(token: &str, expires: &str, refresh: &str) -> String {
    format!(
        r#"{{"accessToken":"{token}","expiresAt":"{expires}","region":"us-east-1","clientId":"c","clientSecret":"client-secret","refreshToken":"{refresh}","registrationExpiresAt":"2099-01-01T00:00:00Z","startUrl":"https://clinic.awsapps.invalid/start"}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sso_session_gives_credentials_or_says_how_to_open_one() {
    let (machine, aws) = Machine::with_profiles(SSO).await;
    let machine = machine.set("AWS_PROFILE", "clinic");
    let expired =
        "the SSO session of the profile clinic has expired, or there was none: run `aws sso login --profile clinic`";
    assert_eq!(machine.refused().await, expired, "no login yet");
    let machine = machine.file(SSO_FILE, &sso_token(TOKEN, "2099-01-01T00:00:00Z", "-"));
    machine.works().await;
    assert_eq!(aws.keys_at_dynamodb(), ["ASIASSO"]);
    assert_eq!(aws.asked("sso").len(), 1);
    // Expired, and renewed with the refresh token.
    let machine = machine.file(SSO_FILE, &sso_token("old-token", "2020-01-01T00:00:00Z", "good-refresh"));
    machine.works().await;
    assert_eq!(aws.asked("oidc").len(), 1);
    // Expired, and not renewable.
    let machine = machine.file(SSO_FILE, &sso_token("old-token", "2020-01-01T00:00:00Z", "bad-refresh"));
    assert_eq!(machine.refused().await, expired);
    // Not expired, but revoked by an administrator.
    let machine = machine.file(SSO_FILE, &sso_token("ended-token", "2099-01-01T00:00:00Z", "-"));
    assert_eq!(machine.refused().await, expired);
    let machine = machine.file(SSO_FILE, &sso_token(TOKEN, "2099-01-01T00:00:00Z", "-")).set("AWS_PROFILE", "closed");
    assert_eq!(
        machine.refused().await,
        "SSO does not give you the role of the profile closed: check its sso_account_id and sso_role_name"
    );
    // The older form, without a session.
    let machine = machine.file(OLD_SSO_FILE, &sso_token(TOKEN, "2099-01-01T00:00:00Z", "-")).set("AWS_PROFILE", "old");
    machine.works().await;
    let machine = machine.file(OLD_SSO_FILE, &sso_token("old-token", "2020-01-01T00:00:00Z", "-"));
    assert_eq!(machine.refused().await, expired.replace("clinic", "old"));
}

const LOGIN: &str = "[profile clinic]\nlogin_session = arn:aws:iam::012345678901:user/operator\n";
/// SHA-256 of the session's name. The AWS CLI names the file by it.
const LOGIN_FILE: &str = ".aws/login/cache/66db62a4f270b193f11b9739a52a642b78edb584f102b42541fbde99d4d5e0d6.json";
/// The AWS SDK's own public test key.
const LOGIN_KEY: &str = r"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBMB/RwQERsVoqWRQG4zK8CnaAa5dfrpbm+9tFdBh3z4oAoGCCqGSM49\nAwEHoUQDQgAEWb1VLi1EA2hJaTz4yYuxSELvY+1GAfL+8rUTCAdiFid87Bf6GY+s\n2+1RpqDv0RpZiDIMCrZrsAh+RK9S3QCaGA==\n-----END EC PRIVATE KEY-----\n";

/// A file as `aws login` writes it.
fn login(expires: &str, refresh: &str) -> String {
    format!(
        r#"{{"accessToken":{{"accessKeyId":"ASIALOGIN","secretAccessKey":"login-secret","sessionToken":"login-session","accountId":"012345678901","expiresAt":"{expires}"}},"tokenType":"aws_sigv4","refreshToken":"{refresh}","identityToken":"i","clientId":"arn:aws:signin:::devtools/same-device","dpopKey":"{LOGIN_KEY}"}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_login_gives_credentials_or_says_how_to_log_in() {
    let (machine, aws) = Machine::with_profiles(LOGIN).await;
    let machine = machine.set("AWS_PROFILE", "clinic");
    let expired = "the login of the profile clinic has expired, or there was none: run `aws login --profile clinic`";
    assert_eq!(machine.refused().await, expired);
    let machine = machine.file(LOGIN_FILE, &login("2099-01-01T00:00:00Z", "good-refresh"));
    machine.works().await;
    assert_eq!((aws.keys_at_dynamodb(), aws.asked("signin").len()), (vec!["ASIALOGIN".to_owned()], 0));
    let machine = machine.file(LOGIN_FILE, &login("2020-01-01T00:00:00Z", "good-refresh"));
    machine.works().await;
    assert_eq!((aws.keys_at_dynamodb().pop().unwrap(), aws.asked("signin").len()), ("ASIALOGIN2".to_owned(), 1));
    let machine = machine.file(LOGIN_FILE, &login("2020-01-01T00:00:00Z", "bad"));
    assert_eq!(machine.refused().await, expired);
}

fn role(role: &str, more: &str) -> String {
    format!("{KEYS}[profile clinic]\nrole_arn = arn:aws:iam::012345678901:role/{role}\nsource_profile = base\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_assumed_or_the_refusal_names_it() {
    let (machine, aws) = Machine::with_profiles(&role("operator", "")).await;
    let machine = machine.set("AWS_PROFILE", "clinic");
    machine.works().await;
    assert_eq!(aws.keys_at_dynamodb(), ["ASIAoperator"]);
    assert_eq!(aws.asked("sts").iter().map(|call| call.access_key.as_str()).collect::<Vec<_>>(), ["AKIABASE"]);
    let machine = machine.file(".aws/config", &role("closed", ""));
    assert_eq!(
        machine.refused().await,
        "STS refused the role arn:aws:iam::012345678901:role/closed of the profile clinic (AccessDenied): check the trust \
         policy of the role, and whether the profile needs mfa_serial"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_take_its_credentials_from_its_own_profile_or_from_another_role() {
    let own = "[profile clinic]\nrole_arn = arn:aws:iam::012345678901:role/operator\nsource_profile = clinic\n\
        credential_process = cat $HOME/answer\n";
    let (machine, aws) = Machine::with_profiles(own).await;
    let machine = machine.set("AWS_PROFILE", "clinic").file("answer", &printed("ASIAPROCESS", "2099-01-01T00:00:00Z"));
    machine.works().await;
    assert_eq!(aws.asked("sts").pop().unwrap().access_key, "ASIAPROCESS");
    let second = "[profile onward]\nrole_arn = arn:aws:iam::012345678901:role/closed\nsource_profile = clinic\n";
    let machine = machine.set("AWS_PROFILE", "onward").file(".aws/config", &role("operator", second));
    assert_eq!(
        machine.refused().await,
        "STS refused one of the 2 roles of the profile onward (AccessDenied): check the trust policy of each"
    );
}

/// Runs the command with a terminal as its standard input, on which `text` is typed.
async fn typed(machine: &Machine, text: &str) -> crate::helpers::Ran {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let end = File::options().read(true).write(true).open(name).unwrap();
    let mut keyboard = File::from(terminal);
    let mut command = machine.command();
    let child = command.stdin(end).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    keyboard.write_all(text.as_bytes()).unwrap();
    ran(child.wait_with_output().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mfa_code_is_asked_for_once_and_sent() {
    let more = format!(
        "mfa_serial = {DEVICE}\nduration_seconds = 7200\nexternal_id = clinic\nrole_session_name = me\n\
         [profile onward]\nrole_arn = arn:aws:iam::012345678901:role/onward\nsource_profile = clinic\n"
    );
    let (machine, aws) = Machine::with_profiles(&role("operator", &more)).await;
    let machine = machine.set("AWS_PROFILE", "clinic");
    let ran = typed(&machine, &format!("{CODE}\n")).await;
    assert_eq!((ran.code, ran.err.matches("MFA code of").count()), (0, 1), "{ran:?}");
    assert_eq!(ran.err, format!("MFA code of {DEVICE} for the profile clinic: "));
    assert_eq!(aws.keys_at_dynamodb(), ["ASIAoperator"]);
    let asked = aws.asked("sts").pop().unwrap();
    assert_eq!(asked.access_key, "AKIABASE");
    for parameter in ["DurationSeconds=7200", "ExternalId=clinic", "RoleSessionName=me", "TokenCode=123456"] {
        assert!(asked.what.contains(parameter), "{asked:?}");
    }
    // A second role, assumed with the credentials of the first one.
    let machine = machine.set("AWS_PROFILE", "onward");
    assert_eq!(typed(&machine, &format!("{CODE}\n")).await.code, 0);
    assert_eq!(aws.asked("sts").pop().unwrap().access_key, "ASIAoperator");
    assert_eq!(aws.keys_at_dynamodb().pop().unwrap(), "ASIAonward");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_or_impossible_mfa_code_is_reported_in_one_line() {
    let (machine, aws) = Machine::with_profiles(&role("operator", &format!("mfa_serial = {DEVICE}\n"))).await;
    let machine = machine.set("AWS_PROFILE", "clinic");
    let last = |ran: &crate::helpers::Ran| ran.err.lines().last().unwrap().rsplit_once("cdm: ").unwrap().1.to_owned();
    let ran = typed(&machine, "654321\n").await;
    assert_eq!(ran.code, 1);
    assert_eq!(
        last(&ran),
        "STS refused the role arn:aws:iam::012345678901:role/operator of the profile clinic (AccessDenied): the MFA code is \
         wrong or was used already, or you may not assume the role: run the command again with the next code"
    );
    let sent = aws.asked("sts").len();
    for bad in ["\n", "12345\n", "12345a\n", "\u{4}"] {
        let ran = typed(&machine, bad).await;
        assert_eq!((ran.code, last(&ran).as_str()), (1, "an MFA code has 6 digits: run the command again"), "{bad:?}");
    }
    assert_eq!(aws.asked("sts").len(), sent, "such a code is not sent");
    // Without a terminal it cannot ask.
    let ran = machine.who().await;
    assert_eq!(ran.code, 1);
    let said = one_line(&ran.err);
    assert!(said.starts_with("the profile clinic needs an MFA code, and there is no terminal to type it in"), "{said}");
    assert_eq!(aws.asked("dynamodb"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_environment_come_before_a_profile() {
    let (machine, aws) = Machine::with_profiles(&role("operator", &format!("mfa_serial = {DEVICE}\n"))).await;
    let machine = machine.set("AWS_PROFILE", "clinic").set("AWS_ACCESS_KEY_ID", "AKIAENV");
    machine.set("AWS_SECRET_ACCESS_KEY", "env-secret").works().await;
    assert_eq!((aws.keys_at_dynamodb(), aws.asked("sts").len()), (vec!["AKIAENV".to_owned()], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_identity_or_a_container_that_fails_is_named() {
    let (machine, _) = Machine::with_profiles("").await;
    let machine =
        machine.set("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/token").set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
    assert_eq!(machine.refused().await, "there is no web identity token: check AWS_WEB_IDENTITY_TOKEN_FILE");
    let (machine, _) = Machine::with_profiles("").await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let machine = machine.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://127.0.0.1:{port}/credentials"));
    let said = machine.refused().await;
    assert!(said.starts_with("the container's credentials cannot be fetched: "), "{said}");
}
