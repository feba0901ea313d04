//! One execution environment of Lambda on this machine: the Runtime API, and the built `bootstrap` that asks it for
//! invocations.
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
    /// With an answer.
    Answered(Value),
    /// With an error reported to the Runtime API.
    Failed {
        /// `errorType`.
        kind: String,
        /// `errorMessage`.
        message: String,
    },
    /// With the process.
    Exited,
    /// Lambda would have ended it: the deadline is over. (A frozen environment is not invoked, so none is here.)
    TimedOut,
}

/// A running `bootstrap` and the Runtime API that it talks to. Dropped, the process is killed.
pub struct Environment {
    pid: u32,
    jobs: mpsc::Sender<Job>,
    output: Arc<Mutex<Vec<u8>>>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

struct Job {
    request_id: String,
    event: String,
    deadline_ms: u128,
    outcome: oneshot::Sender<Invocation>,
}

/// What the server knows of the environment.
struct Served {
    jobs: tokio::sync::Mutex<mpsc::Receiver<Job>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Invocation>>>,
}

impl Environment {
    /// Starts the process with Lambda's own variables, made-up credentials, and `variables`, which win. Nothing is
    /// inherited.
    pub async fn start(bootstrap: &str, variables: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (jobs, taken) = mpsc::channel(1);
        let served = Served { jobs: tokio::sync::Mutex::new(taken), waiting: Mutex::default() };
        tokio::spawn(serve(listener, Arc::new(served)));

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
        let mut child = command.spawn().expect("bootstrap starts");

        let pid = child.id().expect("it was not waited for yet");
        let output = Arc::<Mutex<Vec<u8>>>::default();
        let readers = [
            tokio::spawn(collect(child.stdout.take().unwrap(), Arc::clone(&output))),
            tokio::spawn(collect(child.stderr.take().unwrap(), Arc::clone(&output))),
        ];
        let (tell, ended) = watch::channel(None);
        tokio::spawn(async move {
            let status = child.wait().await.unwrap();
            for reader in readers {
                reader.await.unwrap();
            }
            tell.send_replace(Some(status));
        });
        Self { pid, jobs, output, ended }
    }

    /// Sends one event, and waits for its end. As in Lambda, one at a time.
    pub async fn invoke(&self, event: impl Into<String>, time: Duration) -> Invocation {
        let request_id = format!("{:032x}", fastrand::u128(..));
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
        let (outcome, ended) = oneshot::channel();
        let job = Job { request_id, event: event.into(), deadline_ms: deadline.as_millis(), outcome };
        let mut exited = self.ended.clone();
        let run = async {
            let _ = self.jobs.send(job).await;
            ended.await.unwrap_or(Invocation::Exited)
        };
        tokio::select! {
            biased;
            outcome = run => outcome,
            _ = exited.wait_for(Option::is_some) => Invocation::Exited,
            () = tokio::time::sleep(time) => Invocation::TimedOut,
        }
    }

    /// Stops the process where it stands, as Lambda does between two invocations.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Ends the process at once, and gives all that it wrote.
    pub async fn kill(mut self) -> String {
        self.signal("KILL");
        let _ = self.ended.wait_for(Option::is_some).await;
        self.output()
    }

    /// Waits until the process ends by itself.
    pub async fn exited(&mut self) -> ExitStatus {
        self.ended.wait_for(Option::is_some).await.unwrap().unwrap()
    }

    /// What the process has written so far, to both its outputs.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends the process a signal, by its name without `SIG`.
    pub fn signal(&self, signal: &str) {
        if self.ended.borrow().is_none() {
            // The shell's own `kill`: without a dependency, and without unsafe code.
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

async fn serve(listener: TcpListener, served: Arc<Served>) {
    while let Ok((stream, _)) = listener.accept().await {
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            // The process may end at any moment, and its connections with it.
            let _ = converse(stream, &served).await;
        });
    }
}

async fn converse(mut stream: TcpStream, served: &Served) -> std::io::Result<()> {
    while let Some(request) = Message::read(&mut stream).await? {
        let (method, path) = request.target();
        let path = path.strip_prefix("/2018-06-01/runtime/").unwrap_or_default();
        let answer = match (method, path.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", ["invocation", "next"]) => {
                let Some(job) = served.jobs.lock().await.recv().await else { return Ok(()) };
                let deadline = job.deadline_ms.to_string();
                let headers = [
                    ("content-type", "application/json"),
                    ("lambda-runtime-aws-request-id", job.request_id.as_str()),
                    ("lambda-runtime-deadline-ms", deadline.as_str()),
                    (
                        "lambda-runtime-invoked-function-arn",
                        "arn:aws:lambda:us-east-1:123456789012:function:cdm-lambda",
                    ),
                    ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419"),
                ];
                let answer = Message::response(200, &headers, job.event.into_bytes());
                served.waiting.lock().unwrap().insert(job.request_id, job.outcome);
                answer
            }
            ("POST", ["invocation", request_id, end @ ("response" | "error")]) => {
                let body: Value = serde_json::from_slice(&request.body).expect("what the function posts is JSON");
                let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                let outcome = match *end {
                    "error" => Invocation::Failed { kind: text("errorType"), message: text("errorMessage") },
                    _ => Invocation::Answered(body),
                };
                let waiting = served.waiting.lock().unwrap().remove(*request_id);
                // Nobody may be waiting any more: then it came too late.
                let _ = waiting.expect("each invocation ends once").send(outcome);
                Message::response(202, &[], Vec::new())
            }
            ("POST", ["init", "error"]) => Message::response(202, &[], Vec::new()),
            other => panic!("the Runtime API has no {other:?}"),
        };
        answer.write(&mut stream).await?;
    }
    Ok(())
}
