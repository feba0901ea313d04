//! `cdm customer import`: customers and their numbers from a file of any size.
//!
//! One thread reads and parses; a bounded number of workers write. All lines of a customer go to one worker, so they do
//! not conflict with each other and keep their order. What is under way at any moment is bounded, and so is the memory.
//! Every write is one that may be repeated: a record is made only if it is not there, a number is added by the
//! function's own write. So an import that was stopped, or killed, is simply run again.

use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use cdm_lambda::domain::{Ccid, ClientId};
use cdm_lambda::error::Error;
use cdm_lambda::store::{AddPhone, Budget, Tally, items};
use cdm_lambda::time::UnixMillis;
use clap::Args;
use serde_json::json;
use tokio::sync::mpsc;

use crate::connection::{Connection, client_id};
use crate::entry::{Entry, Format};
use crate::interrupts::Interrupts;
use crate::lines::{LONGEST, Line, Lines};
use crate::output::{Output, count, note};
use crate::progress::Progress;
use crate::rejects::{Reject, Rejects};
use crate::{Failure, erase, explain};

/// Import customers, and their numbers, from CSV or JSON lines.
///
/// A record that is there is not overwritten; numbers that it lacks are added. After a stop, run the same command
/// again: it finishes, and nothing is there twice.
#[derive(Debug, Args)]
#[command(
    after_help = "CSV has a header with ccid, and optionally phone_number, country_code, phone_type, consent_type,
client_source; a line has one number. A JSON line has all of a customer's:
  {\"ccid\": \"A-1\", \"phone_numbers\": [\"6105551212\", {\"phone_number\": \"6105551213\", \"consent_type\": \"written\"}]}

Examples:
  cdm customer import --client demo-clinic customers.csv
  zcat customers.jsonl.gz | cdm customer import --client demo-clinic --rejects rejected.jsonl -
  cdm customer import --client demo-clinic customers.csv --from-line 700001"
)]
pub struct Import {
    /// The client whose customers they are.
    #[arg(long, value_name = "ID", value_parser = client_id)]
    client: ClientId,
    /// The file, or - for standard input.
    file: PathBuf,
    /// Where rejected lines go, each with its number and the reason. [default: FILE.rejects.jsonl]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Pass over the lines before this one, which an earlier run has done.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,
    /// How many lines are written at once.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
}

/// How long one number may take, contention and all.
const PATIENCE: Duration = Duration::from_secs(30);

/// A line on its way.
struct Job {
    number: u64,
    /// How many bytes of the file end with it.
    end: u64,
    text: Vec<u8>,
    entry: Result<Entry, String>,
}

/// Lines as they are read, until one that says why there are no more.
type Jobs = mpsc::Receiver<Result<Job, Failure>>;

/// What became of a line.
struct Outcome {
    number: u64,
    text: Vec<u8>,
    created: bool,
    added: u64,
    present: u64,
    rejected: Option<String>,
    /// What is wrong is not the line: the import ends here.
    broken: Option<Failure>,
}

#[derive(Debug, Default)]
struct Summary {
    lines: u64,
    customers_created: u64,
    customers_present: u64,
    numbers_added: u64,
    numbers_present: u64,
    lines_rejected: u64,
}

impl Import {
    pub(crate) async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        let mut rejects = Rejects::at(self.rejects_path(), self.from_line > 1)?;
        let (total, jobs) = self.read()?;
        let mut progress = Progress::of(total);
        let mut summary = Summary::default();
        let ended = self.work(connection, jobs, &mut rejects, &mut progress, &mut summary).await;
        progress.end();
        let next_line = ended?;
        let Summary { lines, customers_created, customers_present, numbers_added, numbers_present, lines_rejected } =
            summary;
        let rejects_file = (lines_rejected > 0).then(|| rejects.path().display().to_string());
        output.done(
            &format!(
                "{}: {} created, {customers_present} there already; {} added, {numbers_present} there already; {} \
                 rejected.",
                count(lines, "line"),
                count(customers_created, "customer"),
                count(numbers_added, "number"),
                count(lines_rejected, "line"),
            ),
            &json!({
                "lines": lines,
                "customers_created": customers_created,
                "customers_present": customers_present,
                "numbers_added": numbers_added,
                "numbers_present": numbers_present,
                "lines_rejected": lines_rejected,
                "rejects_file": rejects_file,
                "finished": next_line.is_none(),
                "next_line": next_line.as_ref().map(|stopped| stopped.line),
            }),
        )?;
        match (next_line, rejects_file) {
            (Some(Stopped { line, why }), _) => Err(Failure(format!(
                "{why}: run the same command again to finish, or add --from-line {line} to pass over what is done"
            ))),
            (None, Some(file)) => Err(Failure(format!("{} rejected: {file} says why", count(lines_rejected, "line")))),
            (None, None) => Ok(()),
        }
    }

    fn is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    fn rejects_path(&self) -> PathBuf {
        self.rejects.clone().unwrap_or_else(|| {
            let mut name = if self.is_stdin() { "import".into() } else { self.file.clone().into_os_string() };
            name.push(".rejects.jsonl");
            name.into()
        })
    }

    /// Starts the thread that reads, and gives the input's size where it is known. It is a thread of its own, which
    /// ends with the process: a read from a terminal or pipe cannot be called off.
    fn read(&self) -> Result<(Option<u64>, Jobs), Failure> {
        let shown = self.file.display();
        let (total, source): (_, Box<dyn Read + Send>) = if self.is_stdin() {
            (None, Box::new(std::io::stdin()))
        } else {
            let file = File::open(&self.file)
                .and_then(|file| file.metadata().map(|metadata| (metadata, file)))
                .map_err(|error| Failure(format!("{shown} cannot be read ({error})")))?;
            let (metadata, file) = file;
            if metadata.is_dir() {
                return Err(Failure(format!("{shown} is a directory: name a file of CSV or JSON lines")));
            }
            (metadata.is_file().then_some(metadata.len()), Box::new(file))
        };
        let (to, jobs) = mpsc::channel(64);
        let from_line = self.from_line;
        std::thread::spawn(move || {
            let mut lines = Lines::of(BufReader::with_capacity(LONGEST, source));
            if let Err(failure) = parse(&mut lines, from_line, &to) {
                // If nobody listens any more, the import is over.
                let _ = to.blocking_send(Err(failure));
            }
        });
        Ok((total, jobs))
    }

    /// Hands out the lines and gathers what became of them. Gives where it stopped before the end.
    async fn work(
        &self,
        connection: &Connection,
        mut jobs: Jobs,
        rejects: &mut Rejects,
        progress: &mut Progress,
        summary: &mut Summary,
    ) -> Result<Option<Stopped>, Failure> {
        // Enough that no worker waits for its next line.
        let most = usize::from(self.parallel) * 4;
        let (report, mut outcomes) = mpsc::channel(most);
        let workers: Vec<_> = (0..self.parallel)
            .map(|_| {
                let (to, mut lines) = mpsc::channel::<(Job, Entry)>(most);
                let (connection, client, report) = (connection.clone(), self.client.clone(), report.clone());
                tokio::spawn(async move {
                    while let Some((job, entry)) = lines.recv().await {
                        let outcome = Box::pin(import(&connection, &client, job, entry)).await;
                        if report.send(outcome).await.is_err() {
                            break;
                        }
                    }
                });
                to
            })
            .collect();
        drop(report);
        let mut interrupts = Interrupts::listen()?;
        let mut under_way = BTreeSet::new();
        let (mut next, mut bytes) = (self.from_line, 0);
        let mut stopped: Option<Failure> = None;
        let mut is_at_end = false;
        while !under_way.is_empty() || !(is_at_end || stopped.is_some()) {
            let may_read = !is_at_end && stopped.is_none() && under_way.len() < most;
            tokio::select! {
                biased;
                () = interrupts.next() => {
                    if stopped.is_some() {
                        // Asked twice: at once, which loses nothing either.
                        std::process::exit(1);
                    }
                    note("stopping: the lines under way are finished first");
                    stopped = Some(Failure("stopped".to_owned()));
                }
                Some(outcome) = outcomes.recv(), if !under_way.is_empty() => {
                    let number = outcome.number;
                    match outcome.broken {
                        // It stays under way, so that the next run begins with it.
                        Some(failure) if stopped.is_none() => {
                            stopped = Some(failure);
                            summary.lines -= 1;
                            next = next.min(number);
                        }
                        Some(_) => {
                            summary.lines -= 1;
                            next = next.min(number);
                        }
                        None => summary.take(outcome, rejects)?,
                    }
                    under_way.remove(&number);
                    progress.tell(summary.lines - under_way.len() as u64, bytes);
                }
                job = jobs.recv(), if may_read => match job {
                    None => is_at_end = true,
                    Some(job) => {
                        let mut job = job?;
                        (next, bytes) = (job.number + 1, job.end);
                        summary.lines += 1;
                        match std::mem::replace(&mut job.entry, Err(String::new())) {
                            Err(reason) => summary.reject(job.number, &job.text, reason, rejects)?,
                            Ok(entry) => {
                                under_way.insert(job.number);
                                let worker = workers.get(shard(&entry.ccid, workers.len()));
                                // There is room: no channel holds less than all that may be under way.
                                if worker.is_none_or(|worker| worker.try_send((job, entry)).is_err()) {
                                    return Err(Failure("a worker broke off: run the command again".to_owned()));
                                }
                            }
                        }
                    }
                },
            }
        }
        Ok(stopped.map(|Failure(why)| Stopped { line: next, why }))
    }
}

/// Where and why an import ended before its input.
struct Stopped {
    line: u64,
    why: String,
}

impl Summary {
    fn take(&mut self, outcome: Outcome, rejects: &mut Rejects) -> Result<(), Failure> {
        if outcome.created {
            self.customers_created += 1;
        } else {
            self.customers_present += 1;
        }
        self.numbers_added += outcome.added;
        self.numbers_present += outcome.present;
        match outcome.rejected {
            Some(reason) => self.reject(outcome.number, &outcome.text, reason, rejects),
            None => Ok(()),
        }
    }

    fn reject(&mut self, line: u64, text: &[u8], reason: String, rejects: &mut Rejects) -> Result<(), Failure> {
        self.lines_rejected += 1;
        rejects.add(&Reject { line, reason, text: String::from_utf8_lossy(text).into_owned() })
    }
}

/// Which worker writes this customer.
fn shard(ccid: &Ccid, workers: usize) -> usize {
    let mut hash = DefaultHasher::new();
    ccid.hash(&mut hash);
    usize::try_from(hash.finish() % workers.max(1) as u64).unwrap_or_default()
}

/// Reads every line and sends it on, until the end or until nobody listens.
fn parse(
    lines: &mut Lines<impl std::io::BufRead>,
    from_line: u64,
    to: &mpsc::Sender<Result<Job, Failure>>,
) -> Result<(), Failure> {
    let mut format = None;
    while let Some(line) = lines.next().map_err(|error| Failure(format!("the input cannot be read ({error})")))? {
        let Line { number, end, bytes } = line;
        let format = if let Some(format) = &mut format {
            format
        } else {
            let format = format.insert(Format::of(bytes.as_deref().unwrap_or_default())?);
            if matches!(format, Format::Csv { .. }) {
                continue;
            }
            format
        };
        if number < from_line || bytes.as_ref().is_some_and(|bytes| bytes.trim_ascii().is_empty()) {
            continue;
        }
        let entry = match &bytes {
            Some(bytes) => format.entry(bytes, UnixMillis::now()),
            None => Err(format!("the line is longer than {LONGEST} bytes")),
        };
        let job = Job { number, end, text: bytes.unwrap_or_default(), entry };
        if to.blocking_send(Ok(job)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Makes the record if it is not there, then adds each number that it lacks.
async fn import(connection: &Connection, client_id: &ClientId, job: Job, entry: Entry) -> Outcome {
    let Job { number, text, .. } = job;
    let mut outcome = Outcome { number, text, created: false, added: 0, present: 0, rejected: None, broken: None };
    let record = items::empty_record(client_id, &entry.ccid, UnixMillis::now());
    let there = match connection.create(record).await {
        Ok(there) => there,
        Err(failure) => {
            outcome.broken = Some(failure);
            return outcome;
        }
    };
    outcome.created = there.is_none();
    let there: BTreeSet<_> = there.iter().flat_map(erase::channels).collect();
    let (mut reasons, count) = (Vec::new(), entry.channels.len());
    for (place, channel) in entry.channels.into_iter().enumerate() {
        if there.contains(channel.phone.e164()) {
            outcome.present += 1;
            continue;
        }
        let add = AddPhone { client_id: client_id.clone(), ccid: entry.ccid.clone(), channel };
        match connection.store.add_phone(&add, Budget::of(PATIENCE), &mut Tally::default()).await {
            Ok(_) => outcome.added += 1,
            Err(Error::PhoneAlreadyAdded) => outcome.present += 1,
            Err(error) => {
                let is_broken = is_broken(&error);
                let failure = explain::refusal(error, &connection.table);
                if is_broken {
                    outcome.broken = Some(failure);
                    return outcome;
                }
                let of = if count == 1 { String::new() } else { format!("phone_numbers[{place}]: ") };
                reasons.push(format!("{of}{failure}"));
            }
        }
    }
    outcome.rejected = (!reasons.is_empty()).then(|| reasons.join("; "));
    outcome
}

/// Whether it is the database that failed, so that the next line would fail the same way. Damage, and a transaction that
/// was cancelled, are of their own two items.
fn is_broken(error: &Error) -> bool {
    match error {
        Error::TryAgain(trouble) | Error::Internal(trouble) => {
            !trouble.cause.is_corruption() && trouble.aws_code.as_deref() != Some("TransactionCanceledException")
        }
        _ => false,
    }
}
