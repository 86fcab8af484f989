//! Imports the users of another system with their password hashes.
//!
//! The file is read twice. The first pass writes nothing. It checks each record against the rules, the other
//! records and the database. If all records are correct, the second pass inserts them in batches. An account
//! that exists is skipped and never changed, so an interrupted import continues when it is run again.

mod batch;
mod fields;
mod records;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use batch::{BATCH, Outcome};
use fields::{Imported, Reader};
use records::Records;

use super::{Context, ManageUsersError, flows, with_database};
use crate::accounts::{Email, Username};
use crate::admin::actions::record;
use crate::config::Settings;
use crate::flows::Flows;
use crate::operators::Action;
use crate::secrets::sha256;

/// The maximum number of faults that are reported.
const FAULTS_MAX: usize = 1_000;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFormat {
    /// CSV with a header.
    Csv,
    /// One JSON object in each line.
    JsonLines,
}

/// A file to import.
#[derive(Debug, Clone)]
pub struct Import {
    /// The file.
    pub path: PathBuf,
    /// The format of the file.
    pub format: ImportFormat,
    /// Whether to check the file without importing it.
    pub is_dry_run: bool,
}

/// What is wrong with a line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The number of the line, from 1.
    pub line: u64,
    /// The column, if one column is wrong.
    pub column: Option<&'static str>,
    /// What is wrong with the line.
    pub message: String,
}

/// The result of an import.
#[derive(Debug, Clone, Default)]
pub struct ImportReport {
    /// The number of imported users. After a dry run, the number of users that would be imported.
    pub imported: u64,
    /// The number of users that exist already.
    pub existing: u64,
    /// The first faults. If the check finds a fault, nothing is imported. If a fault appears after the check,
    /// the import ends, and the users that were inserted before stay.
    pub faults: Vec<Fault>,
    /// The number of further faults.
    pub more_faults: u64,
}

/// The progress of an import.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Whether the check has ended and users are being inserted.
    pub is_writing: bool,
    /// The number of bytes that were read.
    pub bytes: u64,
    /// The length of the file.
    pub total: u64,
}

impl ImportReport {
    fn add_all(&mut self, faults: Vec<Fault>) {
        for fault in faults {
            self.add(fault);
        }
    }

    fn add(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.more_faults += 1;
        }
    }
}

/// Imports the users of a file. `progress` is called after every batch.
///
/// # Errors
///
/// [`ManageUsersError::File`], or an error of the database. Faults of the file are part of the report.
pub async fn import_users(
    settings: &Settings,
    import: &Import,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<ImportReport, ManageUsersError> {
    with_database(settings, async |context| {
        let flows = flows(settings, context)?;
        let checked = pass(context, &flows, import, false, progress).await?;
        if import.is_dry_run || !checked.faults.is_empty() {
            let imported = if checked.faults.is_empty() { checked.imported } else { 0 };
            return Ok(ImportReport { imported, ..checked });
        }
        // Record the command before the users are written, so that an import that is killed is recorded too.
        let name = import.path.file_name().unwrap_or_default().display().to_string();
        record(&context.db, Action::new(&context.clock, "users import").on(&name)).await;
        pass(context, &flows, import, true, progress).await
    })
    .await
}

/// Reads the file once: checks all records, or inserts them.
async fn pass(
    context: &Context,
    flows: &Flows,
    import: &Import,
    is_writing: bool,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<ImportReport, ManageUsersError> {
    let failed = |source: io::Error| ManageUsersError::File { path: import.path.clone(), source };
    let mut source = Source::open(&import.path, import.format).map_err(failed)?;
    let mut report = ImportReport::default();
    loop {
        let batch = source.next_batch(context, &mut report).map_err(failed)?;
        if is_writing && !report.faults.is_empty() {
            return Ok(report);
        }
        let Some(batch) = batch else { return Ok(report) };
        let outcome = batch::run(context, flows, batch, is_writing).await?;
        let Outcome { imported, existing, faults } = outcome;
        report.imported += imported;
        report.existing += existing;
        report.add_all(faults);
        progress(Progress { is_writing, bytes: source.records.bytes(), total: source.total });
    }
}

/// The records of a file, and the identifiers that were read so far.
struct Source {
    records: Records<BufReader<File>>,
    reader: Reader,
    /// The line number of each identifier, by a digest of the identifier.
    seen: HashMap<[u8; 16], u64>,
    total: u64,
    is_done: bool,
}

impl Source {
    fn open(path: &Path, format: ImportFormat) -> io::Result<Self> {
        let file = File::open(path)?;
        let total = file.metadata()?.len();
        let is_csv = format == ImportFormat::Csv;
        let records = Records::new(BufReader::new(file), is_csv);
        let reader = if is_csv { Reader::Csv(None) } else { Reader::JsonLines };
        Ok(Self { records, reader, seen: HashMap::new(), total, is_done: false })
    }

    /// Returns the next correct records, at most one batch. Adds the faults of incorrect records to `report`.
    /// Returns `None` at the end of the file.
    fn next_batch(
        &mut self,
        context: &Context,
        report: &mut ImportReport,
    ) -> io::Result<Option<Vec<Imported>>> {
        let now = context.now();
        let mut batch = Vec::new();
        while !self.is_done && batch.len() < BATCH {
            let Some(record) = self.records.next()? else {
                self.is_done = true;
                break;
            };
            let line = record.line;
            let fields = match record.content {
                Ok(bytes) => self.reader.fields(&bytes),
                Err(message) => Err((None, message.to_owned())),
            };
            match fields {
                Ok(None) => {}
                Ok(Some(fields)) => match fields.check(line, now).and_then(|found| self.unique(found)) {
                    Ok(imported) => batch.push(imported),
                    Err(faults) => report.add_all(faults),
                },
                Err((column, message)) => {
                    report.add(Fault { line, column, message });
                    // Stop if the header is missing or wrong, because the columns of the records are then
                    // unknown.
                    self.is_done = matches!(self.reader, Reader::Csv(None));
                }
            }
        }
        Ok((!batch.is_empty() || !self.is_done).then_some(batch))
    }

    /// Refuses a record with an identifier of an earlier record.
    fn unique(&mut self, imported: Imported) -> Result<Imported, Vec<Fault>> {
        let account = &imported.account;
        let keys = [
            ("email", account.email.as_ref().map(Email::canonical)),
            ("username", account.username.as_ref().map(Username::canonical)),
        ];
        let mut faults = Vec::new();
        for (column, key) in keys {
            let Some(key) = key else { continue };
            let digest = sha256(format!("{column}:{key}").as_bytes());
            let digest = digest.first_chunk().copied().unwrap_or_default();
            let first = *self.seen.entry(digest).or_insert(imported.line);
            if first != imported.line {
                let message = format!("is the same as in line {first}");
                faults.push(Fault { line: imported.line, column: Some(column), message });
            }
        }
        if faults.is_empty() { Ok(imported) } else { Err(faults) }
    }
}
