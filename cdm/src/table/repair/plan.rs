//! A plan under construction: the findings of one item, and the item after its repair.

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::domain::{Ccid, ClientId};
use cdm_lambda::store::items::{self, Item};

use super::Planned;
use super::findings::{Finding, Resolution, correct};
use crate::table::change::{Change, key_of};
use crate::table::corruption::{Kind, Subject, subject};

/// A plan under construction.
pub(super) struct Plan<'a> {
    pub(super) item: &'a Item,
    pub(super) after: Item,
    /// The item that the next finding is about.
    pub(super) key: Item,
    pub(super) client_id: Option<String>,
    pub(super) ccid: Option<String>,
    pub(super) number: Option<String>,
    pub(super) findings: Vec<Finding>,
    /// Changes of other items, which are written together with the item's own.
    pub(super) beside: Vec<Change>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(item: &'a Item) -> Self {
        let (client_id, ccid, number) = match subject(item) {
            Subject::Customer { client_id, ccid } => {
                (Some(client_id.as_str().to_owned()), Some(ccid.as_str().to_owned()), None)
            }
            Subject::Phone { client_id, phone } => {
                (Some(client_id.as_str().to_owned()), None, Some(phone.e164().to_owned()))
            }
            Subject::Key | Subject::Malformed(_) => (None, None, None),
        };
        Self {
            item,
            after: item.clone(),
            key: key_of(item),
            client_id,
            ccid,
            number,
            findings: Vec::new(),
            beside: Vec::new(),
        }
    }

    pub(super) fn finding(&self, kind: Kind, resolution: Resolution) -> Finding {
        Finding {
            kind,
            key: self.key.clone(),
            client_id: self.client_id.clone(),
            ccid: self.ccid.clone(),
            number: self.number.clone(),
            resolution,
        }
    }

    /// Sets or removes the attribute, and adds the finding.
    pub(super) fn repair(&mut self, kind: Kind, does: &str, name: &str, value: Option<AttributeValue>) {
        let finding = self.finding(kind, Resolution::Repair(does.to_owned()));
        self.findings.push(finding);
        self.set(name, value);
    }

    pub(super) fn set(&mut self, name: &str, value: Option<AttributeValue>) {
        match value {
            Some(value) => self.after.insert(name.to_owned(), value),
            None => self.after.remove(name),
        };
    }

    pub(super) fn person(&mut self, kind: Kind, advice: &str, commands: Vec<String>) {
        let finding = self.finding(kind, Resolution::Person { advice: advice.to_owned(), commands });
        self.findings.push(finding);
    }

    /// Adds a finding that a person must correct.
    pub(super) fn correct(&mut self, kind: Kind, advice: &str) {
        self.person(kind, advice, correct(self.item));
    }

    /// The next findings concern this customer's record.
    pub(super) fn about_record(&mut self, client_id: &ClientId, ccid: &Ccid) {
        self.key = items::customer_key(client_id, ccid);
        self.ccid = Some(ccid.as_str().to_owned());
    }

    pub(super) fn done(self) -> Planned {
        let change = Change::new(Some(self.item.clone()), Some(self.after));
        Planned {
            findings: self.findings,
            changes: change.into_iter().chain(self.beside).collect(),
            must_have: Vec::new(),
        }
    }
}
