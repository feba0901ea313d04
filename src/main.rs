//! The Lambda function's process: reads the environment, opens the connection, serves invocations.

use std::process::ExitCode;

use cdm_lambda::config::Config;
use cdm_lambda::domain::Limits;
use cdm_lambda::handler::Handler;
use cdm_lambda::store::Store;
use cdm_lambda::store::client::{DynamoDb, environment_credentials};
use cdm_lambda::telemetry;
use lambda_http::lambda_runtime::{Runtime, service_fn};
use tracing::level_filters::LevelFilter;

/// A request makes about a thousand small allocations. With glibc's allocator they cost a sixth of its instructions.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc_safe::MiMalloc = mimalloc_safe::MiMalloc;

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    let config = Config::read(variable);
    let level = config.as_ref().map_or(LevelFilter::ERROR, |config| config.log_level);
    if tracing::subscriber::set_global_default(telemetry::subscriber(level, std::io::stdout)).is_err() {
        return ExitCode::FAILURE;
    }
    telemetry::hide_panic_messages();
    match config.map_err(Into::into).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(target: "cdm", cause = %error, "the function cannot run");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> Result<(), lambda_http::Error> {
    // The runtime library panics if one of these is missing.
    for name in [
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    ] {
        if std::env::var_os(name).is_none() {
            return Err(
                format!("{name} is not set: Lambda starts this program; to run it here, use `cargo dev`").into()
            );
        }
    }
    // An environment handles one request at a time, so one thread is enough.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let dynamodb = DynamoDb::new(&config.dynamodb, environment_credentials()).await?;
        dynamodb.open_connection().await;
        let handler = Handler::new(Store::new(dynamodb.client, config.table, Limits::CONTRACT), config.key_cache);
        Runtime::new(service_fn(|invocation| handler.handle(invocation))).run().await
    })
}
