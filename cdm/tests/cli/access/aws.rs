//! Stand-ins for AWS: STS, SSO, sign-in and DynamoDB behind host names that do not exist, so that only the test's
//! own proxy leads to them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::helpers::{Ran, path, ran};

/// The MFA code that STS accepts.
pub(crate) const CODE: &str = "123456";
pub(crate) const DEVICE: &str = "arn:aws:iam::012345678901:mfa/operator";
/// The SSO token that the portal accepts.
pub(crate) const TOKEN: &str = "good-token";

/// The services, by the first part of their host name.
const SERVICES: [&str; 5] = ["dynamodb", "sts", "sso", "oidc", "signin"];

/// A call to a stand-in: the service, the operation, and the access key of the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) service: String,
    pub(crate) what: String,
    pub(crate) access_key: String,
}

type Calls = Arc<Mutex<Vec<Call>>>;

/// All services, on one port.
#[derive(Clone)]
pub(crate) struct Aws {
    address: SocketAddr,
    calls: Calls,
}

impl Aws {
    pub(crate) async fn start() -> Self {
        let calls = Calls::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&calls));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { address, calls }
    }

    /// The calls to a service.
    pub(crate) fn asked(&self, service: &str) -> Vec<Call> {
        self.calls.lock().unwrap().iter().filter(|call| call.service == service).cloned().collect()
    }

    /// The access keys that the calls to DynamoDB were signed with.
    pub(crate) fn keys_at_dynamodb(&self) -> Vec<String> {
        self.asked("dynamodb").into_iter().map(|call| call.access_key).collect()
    }
}

async fn answer(State(calls): State<Calls>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let host = text("host");
    let service = match (host.split(['.', ':']).next().unwrap(), parts.uri.path()) {
        ("localhost" | "127", "/") => "dynamodb",
        ("localhost" | "127", _) => "metadata",
        (service, _) => service,
    }
    .to_owned();
    let signature = text("authorization");
    let access_key = signature
        .split_once("Credential=")
        .map(|(_, rest)| rest.split('/').next().unwrap().to_owned())
        .unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    // Opening the connection does not count as a call.
    if service == "dynamodb" && parts.method == "GET" {
        return respond(StatusCode::OK, "text/plain", "healthy".to_owned());
    }
    let (what, response) = match service.as_str() {
        "dynamodb" => (text("x-amz-target"), dynamodb(&access_key)),
        "sts" => (body.clone(), sts(&body)),
        "sso" => (query.clone(), sso(&query, &text("x-amz-sso_bearer_token"))),
        "oidc" => (parts.uri.path().to_owned(), oidc(&body)),
        "metadata" => (parts.uri.path().to_owned(), metadata(&parts.method, parts.uri.path())),
        "signin" => (parts.uri.path().to_owned(), signin(&body)),
        other => panic!("no service {other}"),
    };
    calls.lock().unwrap().push(Call { service, what, access_key });
    response
}

fn respond(status: StatusCode, content_type: &str, body: String) -> Response<Body> {
    Response::builder().status(status).header(header::CONTENT_TYPE, content_type).body(Body::from(body)).unwrap()
}

fn dynamodb(access_key: &str) -> Response<Body> {
    let (status, body) = match access_key {
        "ASIAEXPIRED" => {
            let kind = "com.amazonaws.dynamodb.v20120810#ExpiredTokenException";
            (StatusCode::BAD_REQUEST, format!(r#"{{"__type":"{kind}","message":"The security token has expired"}}"#))
        }
        _ => (StatusCode::OK, "{}".to_owned()),
    };
    respond(status, "application/x-amz-json-1.0", body)
}

fn sts(body: &str) -> Response<Body> {
    let parameter = |name: &str| {
        body.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap_or_default().to_owned()
    };
    assert_eq!(parameter("Action"), "AssumeRole");
    let (device, code) = (parameter("SerialNumber"), parameter("TokenCode"));
    let xmlns = "https://sts.amazonaws.com/doc/2011-06-15/";
    if parameter("RoleArn").ends_with("closed") || (!device.is_empty() && code != CODE) {
        let message = "MultiFactorAuthentication failed with invalid MFA one time pass code.";
        return respond(
            StatusCode::FORBIDDEN,
            "text/xml",
            format!(
                "<ErrorResponse xmlns=\"{xmlns}\"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{message}\
                 </Message></Error><RequestId>1</RequestId></ErrorResponse>"
            ),
        );
    }
    let role = parameter("RoleArn").rsplit("%2F").next().unwrap().to_owned();
    respond(
        StatusCode::OK,
        "text/xml",
        format!(
            "<AssumeRoleResponse xmlns=\"{xmlns}\"><AssumeRoleResult><Credentials><AccessKeyId>ASIA{role}</AccessKeyId>\
             <SecretAccessKey>role-secret</SecretAccessKey><SessionToken>role-token</SessionToken><Expiration>\
             2099-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>A:cdm</AssumedRoleId><Arn>\
             arn:aws:sts::012345678901:assumed-role/{role}/cdm</Arn></AssumedRoleUser></AssumeRoleResult>\
             <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"
        ),
    )
}

fn refused(status: StatusCode, kind: &str, body: &str) -> Response<Body> {
    let mut response = respond(status, "application/json", body.to_owned());
    response.headers_mut().insert("x-amzn-errortype", kind.parse().unwrap());
    response
}

fn sso(query: &str, token: &str) -> Response<Body> {
    if token != TOKEN {
        return refused(
            StatusCode::UNAUTHORIZED,
            "UnauthorizedException",
            r#"{"message":"Session token not found or invalid"}"#,
        );
    }
    if query.contains("role_name=closed") {
        return refused(StatusCode::FORBIDDEN, "ForbiddenException", r#"{"message":"No access"}"#);
    }
    let credentials = r#"{"roleCredentials":{"accessKeyId":"ASIASSO","secretAccessKey":"sso-secret","sessionToken":"sso-session","expiration":4070908800000}}"#;
    respond(StatusCode::OK, "application/json", credentials.to_owned())
}

fn oidc(body: &str) -> Response<Body> {
    if body.contains("good-refresh") {
        let token = format!(
            r#"{{"accessToken":"{TOKEN}","expiresIn":3600,"refreshToken":"good-refresh","tokenType":"Bearer"}}"#
        );
        respond(StatusCode::OK, "application/json", token)
    } else {
        refused(StatusCode::BAD_REQUEST, "InvalidGrantException", r#"{"error":"invalid_grant"}"#)
    }
}

fn signin(body: &str) -> Response<Body> {
    if body.contains("good-refresh") {
        let token = r#"{"accessToken":{"accessKeyId":"ASIALOGIN2","secretAccessKey":"login-secret","sessionToken":"login-session"},"tokenType":"aws_sigv4","expiresIn":900,"refreshToken":"good-refresh"}"#;
        respond(StatusCode::OK, "application/json", token.to_owned())
    } else {
        refused(StatusCode::BAD_REQUEST, "AccessDeniedException", r#"{"error":"TOKEN_EXPIRED","message":"expired"}"#)
    }
}

/// The service that gives a machine the credentials of its role, or a container those of its task.
fn metadata(method: &Method, path: &str) -> Response<Body> {
    if method == Method::PUT {
        let mut token = respond(StatusCode::OK, "text/plain", "metadata-token".to_owned());
        token.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", HeaderValue::from_static("21600"));
        return token;
    }
    if path.ends_with("/security-credentials/") {
        return respond(StatusCode::OK, "text/plain", "operator".to_owned());
    }
    let credentials = r#"{"Code":"Success","Type":"AWS-HMAC","LastUpdated":"2026-01-01T00:00:00Z","AccessKeyId":"ASIANEAR","SecretAccessKey":"near-secret","Token":"near-session","Expiration":"2099-01-01T00:00:00Z"}"#;
    respond(StatusCode::OK, "application/json", credentials.to_owned())
}

/// What a proxy does with a request for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Open,
    Refusing,
    /// Requires the user name `me` and the password `pass-word`.
    Asking,
    /// Closes the connection without a response.
    Silent,
}

/// A proxy that leads every host name to one server.
pub(crate) struct Proxy {
    address: SocketAddr,
    /// Host and port of each `CONNECT`, and the URL of each unencrypted request.
    targets: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let targets = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&targets);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Self::serve(stream, server, manner, Arc::clone(&seen)));
            }
        });
        Self { address, targets }
    }

    async fn serve(mut stream: TcpStream, server: SocketAddr, manner: Manner, seen: Arc<Mutex<Vec<String>>>) {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        seen.lock().unwrap().push(target.to_owned());
        // me:pass-word
        let may =
            head.to_ascii_lowercase().contains(&"proxy-authorization: basic bWU6cGFzcy13b3Jk".to_ascii_lowercase());
        let refusal = match manner {
            Manner::Silent => return,
            Manner::Refusing => "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            Manner::Asking if !may => {
                "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"
            }
            _ => "",
        };
        if !refusal.is_empty() {
            let _ = stream.write_all(refusal.as_bytes()).await;
            return;
        }
        let mut upstream = TcpStream::connect(server).await.unwrap();
        if method == "CONNECT" {
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        } else {
            upstream.write_all(head.as_bytes()).await.unwrap();
        }
        let _ = copy_bidirectional(&mut stream, &mut upstream).await;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The distinct targets, sorted.
    pub(crate) fn targets(&self) -> Vec<String> {
        let mut targets = self.targets.lock().unwrap().clone();
        targets.sort();
        targets.dedup();
        targets
    }
}

/// An operator's machine: a home directory with AWS's files, and the environment of the shell.
pub(crate) struct Machine {
    pub(crate) home: TempDir,
    environment: HashMap<String, String>,
}

impl Machine {
    /// Gives every service an endpoint with this scheme, at a name that does not exist.
    pub(crate) fn new(scheme: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".aws/sso/cache")).unwrap();
        std::fs::create_dir_all(home.path().join(".aws/login/cache")).unwrap();
        let mut environment = HashMap::from([
            ("HOME".to_owned(), path(home.path()).to_owned()),
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("TABLE_NAME".to_owned(), "cdm-phones".to_owned()),
            ("AWS_REGION".to_owned(), "us-east-1".to_owned()),
            ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
        ]);
        for (service, variable) in SERVICES.into_iter().zip(["DYNAMODB", "STS", "SSO", "SSO_OIDC", "SIGNIN"]) {
            environment.insert(format!("AWS_ENDPOINT_URL_{variable}"), format!("{scheme}://{service}.aws.invalid"));
        }
        Self { home, environment }
    }

    /// With every service behind one proxy, unencrypted, and with these profiles.
    pub(crate) async fn with_profiles(config: &str) -> (Self, Aws) {
        let aws = Aws::start().await;
        let proxy = Proxy::start(aws.address, Manner::Open).await;
        let machine = Self::new("http").set("HTTP_PROXY", &proxy.url()).file(".aws/config", config);
        (machine, aws)
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Writes a file in the home directory.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.home.path().join(name), text).unwrap();
        self
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cdm"));
        command.args(["phone", "who", "--client", "demo-clinic", "6105551212"]);
        command.env_clear().envs(&self.environment).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Makes one short call to DynamoDB.
    pub(crate) async fn who(&self) -> Ran {
        let ran = ran(self.command().output().await.unwrap());
        for secret in ["-secret", "hush", "pass-word", TOKEN, "-token\"", "good-refresh", "panicked"] {
            assert!(!format!("{}{}", ran.out, ran.err).contains(secret), "{ran:?}");
        }
        ran
    }

    /// Asserts that the call succeeds.
    pub(crate) async fn works(&self) {
        let ran = self.who().await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
        assert_eq!(ran.out, "No customer of demo-clinic has +16105551212.\n");
    }

    /// Asserts that the call fails, and returns its line.
    pub(crate) async fn refused(&self) -> String {
        let ran = self.who().await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
        crate::helpers::one_line(&ran.err)
    }
}

impl Aws {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
