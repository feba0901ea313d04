//! Shrunk plans of failures that are fixed. They must pass.

use std::fs;
use std::path::Path;

use simulation::plan::Plan;
use simulation::runner::run;
use simulation::world::trace::Keep;

#[test]
fn plans_that_once_failed_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    let mut stories = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let plan: Plan = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let violations = run(plan, Keep::Hash).violations;
        assert!(violations.is_empty(), "{}: {violations:?}", path.display());
        stories += 1;
    }
    assert!(stories > 0, "there is a story");
}
