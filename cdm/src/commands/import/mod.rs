//! `cdm customer import`: reads customers and their numbers from a file of any size.
//!
//! | file | what it does |
//! |---|---|
//! | `prepare` | opens the input and the files beside it, and asks the operator |
//! | `preview` | inspects the input before anything is written |
//! | `journal` | stores which lines are finished |
//! | `writer` | writes one line, with retries |
//!
//! One thread reads and parses; a bounded number of workers write. One worker gets all lines of a customer, so
//! these lines do not conflict with each other and keep their order. The number of lines in progress is bounded,
//! and so is the memory. Every write can be repeated: a record is created only if it does not exist, and a number
//! is added by the function's own write. A journal stores which lines are finished. After an import was stopped or
//! killed, the operator runs the same command again, and nothing comes back that was removed since.

mod journal;
mod lines;
mod prepare;
mod preview;
mod rejects;
mod row;
mod writer;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufReader, Read};
use std::path::PathBuf;

use cdm_lambda::domain::{Ccid, ClientId};
use cdm_lambda::time::UnixMillis;
use clap::Args;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use self::journal::{Journal, LineHash, State, States};
use self::prepare::Kept;
use self::preview::unreadable;
use self::writer::{Retry, Unfinished, Writer, Written};
use crate::commands::arguments::client_id;
use crate::commands::import::lines::{LONGEST, Line, Lines};
use crate::commands::import::rejects::Reject;
use crate::commands::import::row::{Format, Row};
use crate::table::connection::Connection;
use crate::ui::Failure;
use crate::ui::output::{Output, count, note};
use crate::ui::progress::Progress;
use crate::ui::signals::Interrupts;

/// Import customers, and their numbers, from CSV or JSON lines.
///
/// An existing record is not overwritten; numbers that it lacks are added. A consent that a line states becomes the
/// number's when the number is added, but never lifts a stop: such lines are reported. If the import stops, run the same
/// command again: a journal beside the file stores which lines are finished, so nothing is added twice, and nothing
/// comes back that was removed since.
#[derive(Debug, Args)]
#[command(
    after_help = "CSV has a header with ccid, and optionally phone_number and the body fields of the API's add; a line has one
number. A JSON line has all numbers of a customer:
  {\"ccid\": \"A-1\", \"phone_numbers\": [\"6105551212\", {\"phone_number\": \"+33612345678\", \"consent_type\": \"written\"}]}
or is the output of `cdm customer show --output json`.

Examples:
  cdm customer import --client demo-clinic customers.csv
  zcat customers.jsonl.gz | cdm customer import --client demo-clinic --journal customers.journal -
  cdm customer show --client demo-clinic --ccid A-1 --output json > a-1.jsonl
  cdm customer import --client demo-clinic a-1.jsonl"
)]
pub(crate) struct Import {
    /// The client that the customers belong to.
    #[arg(long, value_name = "ID", value_parser = client_id)]
    client: ClientId,
    /// The file, or - for standard input.
    file: PathBuf,
    /// The file for rejected lines, each with its number and the reason. [default: FILE.rejects.jsonl]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// The file that stores which lines are finished. [default: FILE.journal]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Neither read nor write a journal.
    #[arg(long, conflicts_with = "journal")]
    no_journal: bool,
    /// Skip the lines before this one.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,
    /// How many lines to write at once.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// A line in progress.
struct Job {
    number: u64,
    text: Vec<u8>,
    /// For the journal, if there is one.
    hash: Option<LineHash>,
}

/// A line after reading.
struct ReadLine {
    number: u64,
    /// The position in the file after the line, in bytes.
    end: u64,
    content: Content,
}

enum Content {
    /// An earlier run finished it.
    Finished { rejected: bool },
    /// It must be written, if it is a valid row.
    Line(Job, Result<Row, String>),
}

/// The lines in order, then the failure if there was one.
type ReadLines = mpsc::Receiver<Result<ReadLine, Failure>>;

/// The result of a line.
struct Outcome {
    job: Job,
    written: Result<Written, Unfinished>,
}

#[derive(Debug, Default)]
struct Summary {
    lines: u64,
    lines_finished_before: u64,
    customers_created: u64,
    customers_present: u64,
    numbers_added: u64,
    numbers_present: u64,
    /// How many numbers are stopped, although their line states another consent.
    numbers_stopped: u64,
    /// Rejected by this run or an earlier one.
    lines_rejected: u64,
}

impl Import {
    pub(crate) async fn run(self, connection: &Connection, output: Output) -> Result<(), Failure> {
        // Change nothing before the input is known to be readable and the operator has answered.
        let (input, mut kept) = self.prepare(connection).await?;
        let mut progress = Progress::new(input.total);
        let lines = self.read(input.from, kept.journal.as_ref().map(Journal::states).transpose()?);
        let mut summary = Summary::default();
        let ended = self.work(connection, lines, &mut kept, &mut progress, &mut summary).await;
        progress.end();
        kept.sync()?;
        let stopped = ended?;
        summary.report(stopped, &kept, output)
    }

    /// Starts the thread that reads. It is a separate thread that ends with the process, because a read from a
    /// terminal or a pipe cannot be cancelled.
    fn read(&self, from: Box<dyn Read + Send>, states: Option<States>) -> ReadLines {
        let (to, lines) = mpsc::channel(64);
        let (client, from_line) = (self.client.clone(), self.from_line);
        std::thread::spawn(move || {
            let mut lines = Lines::new(BufReader::with_capacity(LONGEST, from));
            if let Err(failure) = parse(&mut lines, &client, from_line, states, &to) {
                // If the receiver is gone, the import is over.
                let _ = to.blocking_send(Err(failure));
            }
        });
        lines
    }

    /// Distributes the lines and collects their results. Returns where it stopped before the end.
    async fn work(
        &self,
        connection: &Connection,
        mut lines: ReadLines,
        kept: &mut Kept,
        progress: &mut Progress,
        summary: &mut Summary,
    ) -> Result<Option<Stopped>, Failure> {
        // Large enough that no worker waits for its next line.
        let most = usize::from(self.parallel) * 4;
        let (stop, stopping) = watch::channel(false);
        let (workers, mut outcomes) = self.workers(connection, most, &stopping);
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
                        // The second Ctrl-C stops at once, which also loses nothing.
                        std::process::exit(1);
                    }
                    note("stopping after the lines in progress are finished");
                    stopped = Some(Failure("stopped".to_owned()));
                    let _ = stop.send(true);
                }
                Some(Outcome { job, written }) = outcomes.recv(), if !under_way.is_empty() => {
                    let number = job.number;
                    match written {
                        Ok(written) => summary.take(&job, written, kept)?,
                        Err(unfinished) => {
                            summary.lines -= 1;
                            next = next.min(number);
                            if let (Unfinished::Failed(failure), None) = (unfinished, &stopped) {
                                stopped = Some(failure);
                                let _ = stop.send(true);
                            }
                        }
                    }
                    under_way.remove(&number);
                    progress.report(summary.lines - under_way.len() as u64, bytes);
                }
                reading = lines.recv(), if may_read => match reading.transpose()? {
                    None => is_at_end = true,
                    Some(ReadLine { number, end, content }) => {
                        (next, bytes) = (number + 1, end);
                        summary.lines += 1;
                        match content {
                            Content::Finished { rejected } => {
                                summary.lines_finished_before += 1;
                                summary.lines_rejected += u64::from(rejected);
                            }
                            Content::Line(job, Err(reason)) => summary.reject(&job, reason, kept)?,
                            Content::Line(job, Ok(row)) => {
                                under_way.insert(number);
                                let worker = workers.get(shard(&row.ccid, workers.len()));
                                // A channel has room for all lines in progress, so
                                // sending cannot fail for lack of room.
                                if worker.is_none_or(|worker| worker.try_send((job, row)).is_err()) {
                                    return Err(Failure("a worker failed: run the command again".to_owned()));
                                }
                            }
                        }
                    }
                },
            }
        }
        Ok(stopped.map(|Failure(why)| Stopped { line: next, why }))
    }

    /// Starts the workers.
    fn workers(
        &self,
        connection: &Connection,
        most: usize,
        stopping: &watch::Receiver<bool>,
    ) -> (Vec<mpsc::Sender<(Job, Row)>>, mpsc::Receiver<Outcome>) {
        let (report, outcomes) = mpsc::channel(most);
        let writer = Writer {
            connection: connection.clone(),
            client_id: self.client.clone(),
            retry: Retry::new(stopping.clone()),
        };
        let workers = (0..self.parallel)
            .map(|_| {
                let (to, mut lines) = mpsc::channel::<(Job, Row)>(most);
                let (mut writer, report) = (writer.clone(), report.clone());
                tokio::spawn(async move {
                    let mut is_stopped = false;
                    while let Some((job, row)) = lines.recv().await {
                        // After an unfinished line, later lines of its customer must not be written. The next run
                        // would write them before it.
                        let written =
                            if is_stopped { Err(Unfinished::Stopped) } else { Box::pin(writer.write(row)).await };
                        is_stopped = is_stopped || written.is_err();
                        if report.send(Outcome { job, written }).await.is_err() {
                            break;
                        }
                    }
                });
                to
            })
            .collect();
        (workers, outcomes)
    }
}

/// Where and why an import stopped before the end of its input.
struct Stopped {
    line: u64,
    why: String,
}

impl Summary {
    fn report(&self, stopped: Option<Stopped>, kept: &Kept, output: Output) -> Result<(), Failure> {
        let Summary {
            lines,
            lines_finished_before,
            customers_created,
            customers_present,
            numbers_added,
            numbers_present,
            numbers_stopped,
            lines_rejected,
        } = self;
        let rejects_file = (*lines_rejected > 0).then(|| kept.rejects.path().display().to_string());
        let before = match lines_finished_before {
            0 => String::new(),
            finished => format!(" ({finished} finished by an earlier run)"),
        };
        let stopped_numbers = match numbers_stopped {
            0 => String::new(),
            stopped => format!(" The consent of {} was not applied, because of a stop.", count(*stopped, "number")),
        };
        output.done(
            &format!(
                "{}{before}: {} created, {customers_present} already present; {} added, {numbers_present} already present; {} \
                 rejected.{stopped_numbers}",
                count(*lines, "line"),
                count(*customers_created, "customer"),
                count(*numbers_added, "number"),
                count(*lines_rejected, "line"),
            ),
            &json!({
                "lines": lines,
                "lines_finished_before": lines_finished_before,
                "customers_created": customers_created,
                "customers_present": customers_present,
                "numbers_added": numbers_added,
                "numbers_present": numbers_present,
                "numbers_stopped": numbers_stopped,
                "lines_rejected": lines_rejected,
                "rejects_file": rejects_file,
                "journal": kept.journal.as_ref().map(|journal| journal.path().display().to_string()),
                "finished": stopped.is_none(),
                "next_line": stopped.as_ref().map(|stopped| stopped.line),
            }),
        )?;
        match (stopped, rejects_file) {
            (Some(Stopped { why, .. }), _) if kept.journal.is_some() => {
                Err(Failure(format!("{why}: run the same command again to finish")))
            }
            (Some(Stopped { line, why }), _) => {
                Err(Failure(format!("{why}: run the same command again with --from-line {line} to finish")))
            }
            (None, Some(file)) => Err(Failure(format!("{} rejected: {file} says why", count(*lines_rejected, "line")))),
            (None, None) => Ok(()),
        }
    }

    fn take(&mut self, job: &Job, written: Written, kept: &mut Kept) -> Result<(), Failure> {
        if written.created {
            self.customers_created += 1;
        } else {
            self.customers_present += 1;
        }
        self.numbers_added += written.added;
        self.numbers_present += written.present;
        if written.stopped > 0 {
            self.numbers_stopped += written.stopped;
            note(&format!(
                "line {}: the consent of {} was not applied, because of a stop",
                job.number,
                count(written.stopped, "number")
            ));
        }
        match written.rejected {
            Some(reason) => self.reject(job, reason, kept),
            None => kept.finish(job, false),
        }
    }

    fn reject(&mut self, job: &Job, reason: String, kept: &mut Kept) -> Result<(), Failure> {
        self.lines_rejected += 1;
        let text = String::from_utf8_lossy(&job.text).into_owned();
        kept.rejects.add(&Reject { line: job.number, reason, text })?;
        kept.finish(job, true)
    }
}

/// The worker that writes this customer.
fn shard(ccid: &Ccid, workers: usize) -> usize {
    let mut hash = DefaultHasher::new();
    ccid.hash(&mut hash);
    usize::try_from(hash.finish() % workers.max(1) as u64).unwrap_or_default()
}

/// Reads every line and sends it, until the end or until the receiver is gone.
fn parse(
    lines: &mut Lines<impl std::io::BufRead>,
    client: &ClientId,
    from_line: u64,
    mut states: Option<States>,
    to: &mpsc::Sender<Result<ReadLine, Failure>>,
) -> Result<(), Failure> {
    let mut format = None;
    while let Some(line) = lines.next().map_err(|error| unreadable(&error))? {
        let state = states.as_mut().map(|states| states.next(&line)).transpose()?;
        let Line { number, end, bytes } = line;
        let format = if let Some(format) = &mut format {
            format
        } else {
            let format = format.insert(Format::detect(bytes.as_deref().unwrap_or_default())?);
            if matches!(format, Format::Csv { .. }) {
                continue;
            }
            format
        };
        if number < from_line || bytes.as_ref().is_some_and(|bytes| bytes.trim_ascii().is_empty()) {
            continue;
        }
        let content = match state {
            Some((State::Finished { rejected }, _)) => Content::Finished { rejected },
            Some((State::Changed, _)) => {
                return Err(Failure(format!(
                    "line {number} differs from the journal: if the input was just changed, run the command again; if it is another input, name another --journal"
                )));
            }
            Some((State::Unfinished, _)) | None => {
                let row = match &bytes {
                    Some(bytes) => format.row(bytes, client, UnixMillis::now()),
                    None => Err(format!("the line is longer than {LONGEST} bytes")),
                };
                let hash = state.map(|(_, hash)| hash);
                Content::Line(Job { number, text: bytes.unwrap_or_default(), hash }, row)
            }
        };
        if to.blocking_send(Ok(ReadLine { number, end, content })).is_err() {
            break;
        }
    }
    Ok(())
}
