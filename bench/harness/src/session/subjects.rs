//! The measured implementations: the function and its alternatives.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::database::Certificates;

/// How a subject is configured to trust the stand-in.
#[derive(Debug, Clone, Copy)]
enum Trust {
    /// The function's variable for a file, with Amazon's roots and the stand-in's.
    Amazon,
    /// The variable of rustls for a file, with the system's roots and the stand-in's.
    SystemRustls,
    /// The variable of boto3 for the same file.
    SystemBoto,
    /// Node's variable for a root in addition to its own.
    Node,
    /// The subject uses no network.
    NotNeeded,
}

/// One implementation of the add.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The name in `results.json`.
    pub name: &'static str,
    /// The name in tables.
    pub label: &'static str,
    /// Whether it is native code, which callgrind can count in reasonable time.
    pub is_native: bool,
    /// Whether it is the function, which caches the API key and its connection.
    pub is_ours: bool,
    program: Vec<PathBuf>,
    trust: Trust,
    variables: &'static [(&'static str, &'static str)],
    /// The deployed files.
    package: Vec<PathBuf>,
}

impl Subject {
    pub fn function(bootstrap: &Path) -> Self {
        Self {
            name: "function",
            label: "this function",
            is_native: true,
            is_ours: true,
            program: vec![bootstrap.to_owned()],
            trust: Trust::Amazon,
            variables: &[],
            package: vec![bootstrap.to_owned()],
        }
    }

    /// The function and all alternatives. `bench` is the folder of this workspace.
    pub fn all(bench: &Path, bootstrap: &Path) -> Vec<Self> {
        let built = |path: &str| bench.join("target").join(path);
        let site = built("python/lib/python3.11/site-packages");
        vec![
            Self {
                name: "floor",
                label: "floor: the Rust runtime alone",
                is_native: true,
                is_ours: false,
                program: vec![built("tuned/floor")],
                trust: Trust::NotNeeded,
                variables: &[],
                package: vec![built("tuned/floor")],
            },
            Self::function(bootstrap),
            Self {
                name: "default-rust",
                label: "Rust, everything default",
                is_native: true,
                is_ours: false,
                program: vec![built("release/default-rust")],
                trust: Trust::SystemRustls,
                variables: &[],
                package: vec![built("release/default-rust")],
            },
            Self {
                name: "three-items",
                label: "Rust, everything default, three items",
                is_native: true,
                is_ours: false,
                program: vec![built("release/default-rust")],
                trust: Trust::SystemRustls,
                variables: &[("TUTORIAL_ITEMS", "3")],
                package: vec![built("release/default-rust")],
            },
            Self {
                name: "node",
                label: "Node, AWS SDK v3 bundled",
                is_native: false,
                is_ours: false,
                program: vec!["node".into(), bench.join("node/runtime.cjs")],
                trust: Trust::Node,
                variables: &[],
                package: vec![bench.join("node/dist/handler.cjs")],
            },
            Self {
                name: "python",
                label: "Python, boto3",
                is_native: false,
                is_ours: false,
                program: vec![built("python/bin/python"), bench.join("python/runtime.py")],
                trust: Trust::SystemBoto,
                variables: &[],
                package: ["boto3", "botocore", "s3transfer", "urllib3", "dateutil", "jmespath", "six.py"]
                    .into_iter()
                    .map(|name| site.join(name))
                    .chain([bench.join("python/function.py")])
                    .collect(),
            },
        ]
    }

    /// The command that starts it. `wrapper` is a profiler with its options, or empty.
    pub fn command(&self, wrapper: &[String], api: &str, database: &str, certificates: &Certificates) -> Command {
        let mut words = wrapper.iter().map(PathBuf::from).chain(self.program.iter().cloned());
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .envs(LAMBDA)
            // As long as Lambda's, because every call signs and sends it.
            .env("AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjE".repeat(48))
            .env("AWS_ENDPOINT_URL_DYNAMODB", database)
            .env("TABLE_NAME", crate::TABLE)
            .envs(self.variables.iter().copied());
        match self.trust {
            Trust::Amazon => command.env("AWS_CA_BUNDLE", &certificates.amazon),
            Trust::SystemRustls => command.env("SSL_CERT_FILE", &certificates.system),
            Trust::SystemBoto => command.env("AWS_CA_BUNDLE", &certificates.system),
            Trust::Node => command.env("NODE_EXTRA_CA_CERTS", &certificates.root),
            Trust::NotNeeded => &mut command,
        };
        // Additional variables for an experiment: `BENCH_WITH="NAME=value …"`.
        let more = std::env::var("BENCH_WITH").unwrap_or_default();
        command.envs(more.split_whitespace().filter_map(|word| word.split_once('=')));
        command
    }

    /// The size of the deployed files without symbols, and their size after `gzip`, which compresses as a zip file does, in
    /// bytes.
    pub fn sizes(&self, work: &Path) -> Result<(u64, u64)> {
        let stripped = work.join("stripped");
        let mut pack = Command::new("tar");
        if self.is_native {
            let [program] = self.package.as_slice() else { return Err("a native package of several files".into()) };
            output(Command::new("strip").arg("-o").arg(&stripped).arg(program))?;
            let plain = std::fs::metadata(&stripped)?.len();
            let zipped = output(Command::new("gzip").arg("-c").arg(&stripped))?.len() as u64;
            return Ok((plain, zipped));
        }
        pack.args(["--exclude=__pycache__", "-cf", "-"]).args(&self.package);
        let plain = output(&mut pack)?;
        let archive = work.join("package.tar");
        std::fs::write(&archive, &plain)?;
        let zipped = output(Command::new("gzip").arg("-c").arg(&archive))?.len() as u64;
        Ok((plain.len() as u64, zipped))
    }
}

/// Runs a command and returns its standard output.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let ran = command.output().map_err(|error| format!("{command:?} cannot start: {error}"))?;
    if ran.status.success() {
        Ok(ran.stdout)
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&ran.stderr)).into())
    }
}

/// The variables that Lambda sets for every function.
const LAMBDA: [(&str, &str); 13] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "add-phone"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/add-phone"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "2025/11/12/[$LATEST]4f1a"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_DEFAULT_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "bench"),
    ("AWS_SECRET_ACCESS_KEY", "bench"),
    ("LANG", "en_US.UTF-8"),
    ("TZ", ":UTC"),
    ("_HANDLER", "bootstrap"),
];
