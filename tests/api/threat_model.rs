//! docs/threat-model.md names a test for each attack. Each of them exists.

use std::fs;
use std::path::Path;

fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let mut code = String::new();
    for folder in ["src", "tests", "cdm/src", "cdm/tests", "simulation"] {
        sources(&root.join(folder), &mut code);
    }
    // Code in backquotes that looks like the name of a test: words joined by underscores, perhaps after a module.
    let quoted = page.split('`').skip(1).step_by(2);
    let names = quoted.filter_map(|text| text.rsplit("::").next()).filter(|name| {
        name.matches('_').count() >= 3 && name.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
    });
    let names: Vec<_> = names.collect();
    assert!(names.len() >= 35, "{names:?}");
    for name in names {
        assert!(
            code.contains(&format!("fn {name}(")) || code.contains(&format!("def {name}(")),
            "docs/threat-model.md names a test that does not exist: {name}"
        );
    }
}
