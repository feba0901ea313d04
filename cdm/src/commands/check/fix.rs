//! `cdm check --fix`: shows the plan, asks, saves the old items, and writes.

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::store::items::{self, Item};

use super::reread::Rereader;
use super::{Corrupt, Found, PlanTarget};
use crate::table::change::{Change, ROUNDS};
use crate::table::connection::Connection;
use crate::table::erase;
use crate::table::repair::Planned;
use crate::table::repair::findings::{Finding, Outcome};
use crate::table::saved::{self, Saving, Shared, lock};
use crate::table::scan::concurrently;
use crate::ui::Failure;
use crate::ui::output::{self, Output, count};

/// What was repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repaired {
    /// How many findings.
    pub findings: u64,
    /// How many numbers without customers were deleted.
    pub idle: u64,
}

impl Found {
    /// Makes the repairs. Asks no one, prints nothing, and saves nothing.
    pub(super) async fn repair_unattended(&self, connection: &Connection) -> Result<Repaired, Failure> {
        let saving = Saving::without_file(connection.address(), "check --fix").shared();
        let items: u64 = self.items.iter().map(|corrupt| corrupt.planned.changes.len() as u64).sum();
        let idle = (items + 1..).zip(self.idle_changes()).collect();
        self.write(connection, 1..items + 1, idle, &saving, |_, _| Ok(())).await
    }

    /// The deletions of the numbers without customers.
    fn idle_changes(&self) -> Vec<Change> {
        self.idle.iter().filter_map(|pk| Change::new(Some(idle_number(pk)), None)).collect()
    }

    /// Shows the plan, asks, saves the old items, and writes.
    pub(super) async fn repair(
        &self,
        connection: &Connection,
        saving: Saving,
        yes: bool,
        output: Output,
    ) -> Result<Repaired, Failure> {
        match output {
            Output::Table => self.report(output)?,
            // Each object says what became of its finding, so print the objects after the repairs.
            Output::Json if !yes => self.findings().for_each(|finding| output::note(&finding.text(Outcome::Reported))),
            Output::Json => {}
        }
        let idle = self.idle_changes();
        // For programs, print the outcome of every finding. For people, print only the repairs that were not written,
        // because they have seen the plan.
        let print = |finding: &Finding, outcome| match (output, outcome) {
            (Output::Json, _) | (Output::Table, Outcome::Changed) => finding.print(output, outcome),
            (Output::Table, _) => Ok(()),
        };
        let changes: Vec<_> = self.items.iter().flat_map(|corrupt| corrupt.planned.changes.clone()).collect();
        if changes.is_empty() && idle.is_empty() {
            for Corrupt { planned, .. } in &self.items {
                outcomes(planned, &[], print)?;
            }
            return Ok(Repaired::default());
        }
        let question = format!(
            "Repair {} in the table {} and delete {} without customers?",
            count(self.repairable() as u64, "finding"),
            connection.table,
            count(idle.len() as u64, "number"),
        );
        output::confirm(&question, "y", yes)?;
        let saving = saving.shared();
        let numbers = lock(&saving).save_or_report(&changes)?;
        let idle = lock(&saving).save_or_report(&idle)?.zip(idle).collect();

        let repaired = self.write(connection, numbers, idle, &saving, print).await;
        let repaired = lock(&saving).report_on(repaired)?;
        lock(&saving).report();
        Ok(repaired)
    }

    /// Writes the plan, and deletes the numbers without customers. Each change comes with its number in the
    /// file. `report` is called with each finding and its outcome.
    async fn write(
        &self,
        connection: &Connection,
        mut numbers: Range<u64>,
        idle: Vec<(u64, Change)>,
        saving: &Shared,
        report: impl Fn(&Finding, Outcome) -> Result<(), Failure>,
    ) -> Result<Repaired, Failure> {
        let rereader = Rereader { connection: connection.clone(), pace: Arc::clone(&self.pace), pairs: Arc::default() };
        let mut repaired = Repaired::default();
        for Corrupt { target, planned } in &self.items {
            let first = numbers.start;
            numbers.start += planned.changes.len() as u64;
            let written = write(&rereader, target, planned, first..numbers.start, saving).await?;
            repaired.findings += outcomes(planned, &written, &report)?;
        }
        let delete = {
            let (connection, saving) = (connection.clone(), Arc::clone(saving));
            move |(number, change): (u64, Change)| {
                let (connection, saving) = (connection.clone(), Arc::clone(&saving));
                async move { saved::write(&connection, &saving, number..number + 1, &[change], &[]).await }
            }
        };
        let deleted = concurrently(8, idle, delete).await?;
        repaired.idle = deleted.into_iter().filter(|is_deleted| *is_deleted).count() as u64;
        Ok(repaired)
    }
}

/// Reports what became of each finding, and counts the repairs.
fn outcomes(
    planned: &Planned,
    written: &[Finding],
    report: impl Fn(&Finding, Outcome) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut repaired = 0;
    for finding in &planned.findings {
        let outcome = match finding.is_repairable() {
            false => Outcome::Reported,
            true if written.iter().any(|written| written.about() == finding.about()) => Outcome::Repaired,
            true => Outcome::Changed,
        };
        repaired += u64::from(outcome == Outcome::Repaired);
        report(finding, outcome)?;
    }
    Ok(repaired)
}

/// Writes a plan, and returns the findings that it repaired. If the item has changed since, the repair is planned
/// and saved again, unless the new plan has a finding that was not shown. `numbers` are the numbers of the changes in
/// the file.
async fn write(
    rereader: &Rereader,
    target: &PlanTarget,
    planned: &Planned,
    numbers: Range<u64>,
    saving: &Shared,
) -> Result<Vec<Finding>, Failure> {
    let mut plan = planned.clone();
    let mut numbers = Some(numbers);
    for round in 0..ROUNDS {
        erase::pause(round).await;
        if round > 0 {
            plan = rereader.plan(target).await?;
        }
        let is_shown = |finding: &Finding| planned.findings.iter().any(|shown| shown.about() == finding.about());
        if plan.changes.is_empty() || !plan.findings.iter().all(is_shown) {
            break;
        }
        let items = match numbers.take() {
            Some(numbers) => numbers,
            None => lock(saving).save(&plan.changes)?,
        };
        if saved::write(&rereader.connection, saving, items, &plan.changes, &plan.must_have).await? {
            return Ok(plan.findings.into_iter().filter(Finding::is_repairable).collect());
        }
    }
    Ok(Vec::new())
}

/// A number without customers, as [`crate::table::repair::is_idle`] recognizes it.
fn idle_number(pk: &str) -> Item {
    Item::from([
        (items::PK.to_owned(), AttributeValue::S(pk.to_owned())),
        (items::SK.to_owned(), AttributeValue::S("PHONE".to_owned())),
        (items::CCID_COUNT.to_owned(), AttributeValue::N("0".to_owned())),
    ])
}
