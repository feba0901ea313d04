//! An execution environment of Lambda on this machine: the Runtime API, and the built `bootstrap` as its client.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test stops at its first surprise"
)]

use std::collections::HashMap;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot, watch};

use crate::http1::Message;

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// The function posted a response.
    Responded(Value),
    /// The function posted an error.
    Failed {
        /// `errorType`.
        kind: String,
        /// `errorMessage`.
        message: String,
    },
    /// The process ended first.
    Exited,
    /// The deadline passed. Lambda would end the process.
    TimedOut,
}

/// A running `bootstrap` and its Runtime API. Dropping it kills the process.
pub struct Environment {
    pid: u32,
    invocations: mpsc::Sender<Pending>,
    output: Arc<Mutex<Vec<u8>>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

/// An invocation to come.
struct Pending {
    request_id: String,
    event: String,
    deadline_ms: u128,
    end: oneshot::Sender<Invocation>,
}

/// The state of the Runtime API.
struct RuntimeApi {
    /// Invocations that the function has not received yet.
    pending: tokio::sync::Mutex<mpsc::Receiver<Pending>>,
    /// Invocations that the function has received and not ended, by request id.
    running: Mutex<HashMap<String, oneshot::Sender<Invocation>>>,
}

impl Environment {
    /// Starts the process with the variables that Lambda sets, made-up credentials, and `variables`, which override both.
    /// The process inherits no variable.
    pub async fn start(bootstrap: &str, variables: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (invocations, pending) = mpsc::channel(1);
        let api = RuntimeApi { pending: tokio::sync::Mutex::new(pending), running: Mutex::default() };
        tokio::spawn(serve(listener, Arc::new(api)));

        let mut command = Command::new(bootstrap);
        command.env_clear().envs([
            ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "cdm-lambda"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_SESSION_TOKEN", "local"),
        ]);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("bootstrap must start");

        let pid = child.id().expect("the process has an id until it is waited for");
        let output = Arc::<Mutex<Vec<u8>>>::default();
        let readers = [
            tokio::spawn(collect(child.stdout.take().unwrap(), Arc::clone(&output))),
            tokio::spawn(collect(child.stderr.take().unwrap(), Arc::clone(&output))),
        ];
        let (report_exit, exit) = watch::channel(None);
        tokio::spawn(async move {
            let status = child.wait().await.unwrap();
            for reader in readers {
                reader.await.unwrap();
            }
            report_exit.send_replace(Some(status));
        });
        Self { pid, invocations, output, exit }
    }

    /// Invokes the function and waits for the end. An environment takes one invocation at a time, as in Lambda.
    pub async fn invoke(&self, event: impl Into<String>, time: Duration) -> Invocation {
        let request_id = format!("{:032x}", fastrand::u128(..));
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
        let (end, ended) = oneshot::channel();
        let pending = Pending { request_id, event: event.into(), deadline_ms: deadline.as_millis(), end };
        let mut exited = self.exit.clone();
        let run = async {
            let _ = self.invocations.send(pending).await;
            ended.await.unwrap_or(Invocation::Exited)
        };
        tokio::select! {
            biased;
            invocation = run => invocation,
            _ = exited.wait_for(Option::is_some) => Invocation::Exited,
            () = tokio::time::sleep(time) => Invocation::TimedOut,
        }
    }

    /// Suspends the process, as Lambda does between invocations.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Resumes the process.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Kills the process and returns its output.
    pub async fn kill(mut self) -> String {
        self.signal("KILL");
        let _ = self.exit.wait_for(Option::is_some).await;
        self.output()
    }

    /// Waits until the process ends by itself.
    pub async fn exited(&mut self) -> ExitStatus {
        self.exit.wait_for(Option::is_some).await.unwrap().unwrap()
    }

    /// The process's standard output and standard error so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Sends the process a signal, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        if self.exit.borrow().is_none() {
            // The shell's `kill` needs neither a dependency nor unsafe code.
            let command = format!("kill -{signal} {}", self.pid);
            let _ = std::process::Command::new("sh").arg("-c").arg(command).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

async fn collect(mut from: impl AsyncRead + Unpin, into: Arc<Mutex<Vec<u8>>>) {
    let mut bytes = Vec::new();
    while from.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
        into.lock().unwrap_or_else(PoisonError::into_inner).append(&mut bytes);
    }
}

async fn serve(listener: TcpListener, api: Arc<RuntimeApi>) {
    while let Ok((stream, _)) = listener.accept().await {
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            // An error means that the process ended.
            let _ = serve_connection(stream, &api).await;
        });
    }
}

async fn serve_connection(mut stream: TcpStream, api: &RuntimeApi) -> std::io::Result<()> {
    while let Some(request) = Message::read(&mut stream).await? {
        let (method, path) = request.target();
        let path = path.strip_prefix("/2018-06-01/runtime/").unwrap_or_default();
        let response = match (method, path.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", ["invocation", "next"]) => {
                let Some(pending) = api.pending.lock().await.recv().await else { return Ok(()) };
                let deadline = pending.deadline_ms.to_string();
                let headers = [
                    ("content-type", "application/json"),
                    ("lambda-runtime-aws-request-id", pending.request_id.as_str()),
                    ("lambda-runtime-deadline-ms", deadline.as_str()),
                    (
                        "lambda-runtime-invoked-function-arn",
                        "arn:aws:lambda:us-east-1:123456789012:function:cdm-lambda",
                    ),
                    ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419"),
                ];
                let response = Message::response(200, &headers, pending.event.into_bytes());
                api.running.lock().unwrap().insert(pending.request_id, pending.end);
                response
            }
            ("POST", ["invocation", request_id, end @ ("response" | "error")]) => {
                let body: Value = serde_json::from_slice(&request.body).expect("the function must post JSON");
                let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                let invocation = match *end {
                    "error" => Invocation::Failed { kind: text("errorType"), message: text("errorMessage") },
                    _ => Invocation::Responded(body),
                };
                let running = api.running.lock().unwrap().remove(*request_id);
                // Sending fails if the deadline has passed and the caller no longer waits.
                let _ = running.expect("an invocation must end once").send(invocation);
                Message::response(202, &[], Vec::new())
            }
            ("POST", ["init", "error"]) => Message::response(202, &[], Vec::new()),
            other => panic!("the Runtime API has no {other:?}"),
        };
        response.write(&mut stream).await?;
    }
    Ok(())
}
