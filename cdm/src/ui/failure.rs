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
