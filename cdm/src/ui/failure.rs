/// Why a command failed: one line that says what happened and what to do about it.
#[derive(Debug)]
pub struct Failure(pub String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<testkit::Error> for Failure {
    fn from(error: testkit::Error) -> Self {
        Self(error.0)
    }
}

/// The error code of a service, or a placeholder if the code is not safe to print.
pub(crate) fn plain(code: &str) -> &str {
    let fit = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fit { code } else { "an unreadable code" }
}
