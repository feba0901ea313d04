# What people run. Each recipe calls cargo or one script; `just --list` shows them all.

# Run the real handler on an embedded DynamoDB with demo data
dev *arguments:
    cargo run --package cdm -- dev {{ arguments }}

# Run every test that needs only Rust and a C compiler
test *arguments:
    cargo test --workspace {{ arguments }}

# Run everything that a change must pass
gate:
    scripts/gate

# Measure the function beside its peers, and write docs/performance.md
bench *arguments:
    bench/run {{ arguments }}

# Fuzz each target for this many seconds
fuzz seconds="20":
    scripts/fuzz {{ seconds }}

# Build what ships, with `sam build`, into target/sam
release:
    scripts/sam/build

# Hold the release build to its budgets
budgets *arguments:
    scripts/budgets {{ arguments }}

# Run what does not fit into the gate; takes hours
long *parts:
    scripts/long {{ parts }}

# Look for changes of the library that no test notices
mutants *files:
    scripts/mutants {{ files }}

# Look for flaky tests
flakes *times:
    scripts/flakes {{ times }}

# Run the tests on AWS's DynamoDB Local instead of the embedded database
dynamodb-local:
    scripts/dynamodb-local

# Test the dev server with requests generated from openapi.yaml
schemathesis *arguments:
    scripts/checks/schemathesis {{ arguments }}

# Check the template, the pipeline, the workflows and the API description
deploy-checks:
    scripts/checks/deploy-checks

# Run the smoke test against the dev server, and the tests of the deployment
smoke:
    scripts/deploy/smoke-dev

# Write the SBOM of the function to standard output
sbom *arguments:
    @scripts/deploy/sbom {{ arguments }}

# Write docs/costs.md
costs:
    scripts/costs

# Run the simulation: just simulate --seed 7
simulate *arguments:
    cargo run --quiet --profile simulation --package simulation -- run {{ arguments }}

# Run a part of the simulation: just simulation many --to 1000, breaks, shrink --seed 7, storm, replay FILE
simulation *arguments:
    cargo run --quiet --profile simulation --package simulation -- {{ arguments }}
