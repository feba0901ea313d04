//! What `cdm check` reports: a finding, with everything that an operator needs to act on it.

use std::borrow::Cow;
use std::fmt::Write as _;

use cdm_lambda::domain::Phone;
use cdm_lambda::store::items::Item;
use serde_json::json;

use crate::table::change::key_text;
use crate::table::corruption::Kind;
use crate::ui::Failure;
use crate::ui::output::{self, Output, shown};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    /// The key of the item.
    pub(crate) key: Item,
    /// The client that the item belongs to, if the key names it.
    pub(crate) client_id: Option<String>,
    /// The customer concerned, if there is one.
    pub(crate) ccid: Option<String>,
    /// The number concerned, if there is one, as the table has it.
    pub(crate) number: Option<String>,
    pub(crate) resolution: Resolution,
}

/// How the finding can be resolved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Resolution {
    /// `--fix` repairs it in this way.
    Repair(String),
    /// A person must decide, and then run these commands.
    Person { advice: String, commands: Vec<String> },
}

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was only reported.
    Reported,
    /// It was repaired.
    Repaired,
    /// The repair was not written, because the item has changed since it was planned.
    Changed,
}

impl Finding {
    pub(crate) fn is_repairable(&self) -> bool {
        matches!(self.resolution, Resolution::Repair(_))
    }

    /// The finding without its resolution, to compare two findings.
    pub(crate) fn about(&self) -> (Kind, Option<&str>, Option<&str>) {
        (self.kind, self.ccid.as_deref(), self.number.as_deref())
    }

    /// The object of `--output json`.
    pub(crate) fn object(&self, outcome: Outcome) -> serde_json::Value {
        let (pk, sk) = key_text(&self.key);
        let (remedy, commands) = match &self.resolution {
            Resolution::Repair(does) => (does, [].as_slice()),
            Resolution::Person { advice, commands } => (advice, commands.as_slice()),
        };
        json!({
            "finding": self.kind.code(),
            "pk": pk,
            "sk": sk,
            "client_id": self.client_id,
            "ccid": self.ccid,
            "phone_number": self.number,
            "what": self.kind.what(),
            "repaired": outcome == Outcome::Repaired,
            "remedy": remedy,
            "for_a_person": !self.is_repairable(),
            "commands": commands,
        })
    }

    /// Prints the finding. For people, a repair that is not yet made is shown as a plan.
    pub(crate) fn print(&self, output: Output, outcome: Outcome) -> Result<(), Failure> {
        match output {
            Output::Json => output::print_object(&self.object(outcome)),
            Output::Table => output::print_text(&self.text(outcome)),
        }
    }

    pub(crate) fn text(&self, outcome: Outcome) -> String {
        let (pk, sk) = key_text(&self.key);
        let mut text = format!(
            "{}: {}\n  partition key {}, sort key {}",
            self.kind.code(),
            self.kind.what(),
            shown(&pk),
            shown(&sk)
        );
        if let (Some(ccid), false) = (&self.ccid, sk == "CUSTOMER") {
            let _ = write!(text, "\n  customer {}", shown(ccid));
        }
        if let (Some(number), false) = (&self.number, sk == "PHONE") {
            let _ = write!(text, "\n  number {}", shown(number));
        }
        match (&self.resolution, outcome) {
            (Resolution::Repair(does), Outcome::Reported) => {
                let _ = write!(text, "\n  --fix: {does}");
            }
            (Resolution::Repair(does), Outcome::Repaired) => {
                let _ = write!(text, "\n  repaired: {does}");
            }
            (Resolution::Repair(_), Outcome::Changed) => {
                let _ = write!(text, "\n  not repaired: the item has changed since; check again");
            }
            (Resolution::Person { advice, commands }, _) => {
                let _ = write!(text, "\n  for a person: {advice}");
                for command in commands {
                    let _ = write!(text, "\n    {command}");
                }
            }
        }
        text
    }
}

/// A command for the shell. `--ccid -` and `--pk -` read a line from standard input. So if a value is `-`, the command pipes
/// it into standard input. Then no answer can be typed, so the command gets `--yes`.
pub(crate) fn command(words: &[&str]) -> String {
    let reads_stdin = words.windows(2).any(|pair| pair == ["--ccid", "-"] || pair == ["--pk", "-"]);
    let asks = matches!(words, ["phone", "remove", ..] | ["customer" | "item", "delete", ..]);
    let mut text = if reads_stdin { r"printf '%s\n' - | cdm" } else { "cdm" }.to_owned();
    let mut is_value = false;
    for word in words {
        // A value that begins with a hyphen must follow an equals sign.
        let separator = if is_value && word.starts_with('-') { '=' } else { ' ' };
        is_value = separator == ' ' && word.starts_with("--");
        text.push(separator);
        text.push_str(&quoted(word));
    }
    if reads_stdin && asks {
        text.push_str(" --yes");
    }
    text
}

/// A `cdm item` command for this item.
pub(crate) fn item_command(verb: &str, item: &Item) -> String {
    let (pk, sk) = key_text(item);
    command(&["item", verb, "--pk", &pk, "--sk", &sk])
}

pub(super) fn phone_remove(client: &str, ccid: &str, phone: &Phone) -> String {
    command(&["phone", "remove", "--client", client, "--ccid", ccid, phone.e164()])
}

pub(super) fn phone_add(client: &str, ccid: &str, phone: &Phone) -> String {
    command(&["phone", "add", "--client", client, "--ccid", ccid, phone.e164()])
}

pub(super) fn phone_who(client: &str, phone: &Phone) -> String {
    command(&["phone", "who", "--client", client, phone.e164()])
}

/// The commands to correct this item. Between them, a person edits the file.
pub(crate) fn correct(item: &Item) -> Vec<String> {
    vec![format!("{} > item.json", item_command("show", item)), command(&["item", "put", "item.json"])]
}

/// Quotes a word for the shell.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_-+.:/=@%".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into();
    }
    if !word.chars().any(char::is_control) {
        return format!("'{}'", word.replace('\'', r"'\''")).into();
    }
    // The only form that can show a control character in one line. bash, zsh and ksh know it.
    let mut text = "$'".to_owned();
    for character in word.chars() {
        match character {
            '\'' | '\\' => text.extend(['\\', character]),
            control if control.is_control() => {
                for byte in control.to_string().bytes() {
                    let _ = write!(text, "\\x{byte:02x}");
                }
            }
            other => text.push(other),
        }
    }
    text.push('\'');
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        assert_eq!(
            command(&["phone", "who", "--client", "demo-clinic", "+16105551212"]),
            "cdm phone who --client demo-clinic +16105551212"
        );
        assert_eq!(command(&["a", "--ccid", "--yes", "--x", "-"]), "cdm a --ccid=--yes --x=-");
        assert_eq!(
            command(&["phone", "remove", "--client", "a", "--ccid", "-", "+16105551212"]),
            r"printf '%s\n' - | cdm phone remove --client a --ccid=- +16105551212 --yes"
        );
        assert_eq!(
            command(&["phone", "add", "--client", "a", "--ccid", "-", "+16105551212"]),
            r"printf '%s\n' - | cdm phone add --client a --ccid=- +16105551212"
        );
        let item = Item::from([("pk".to_owned(), aws_sdk_dynamodb::types::AttributeValue::S("-".to_owned()))]);
        assert_eq!(item_command("delete", &item), r"printf '%s\n' - | cdm item delete --pk=- --sk '' --yes");
        for word in ["", "a b", "it's", "CLIENT#a#CUSTOMER#x", "$HOME `id` \"q\" \\", "é", "~", "*"] {
            let shell = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quoted(word))]).output();
            assert_eq!(String::from_utf8(shell.unwrap().stdout).unwrap(), word, "{}", quoted(word));
        }
        // `sh` may not know this form, so compare the text.
        assert_eq!(quoted("tab\tand 'quote' \\ \u{85}"), r"$'tab\x09and \'quote\' \\ \xc2\x85'");
    }
}
