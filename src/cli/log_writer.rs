//! Where the log's lines go: into memory, and from there to their end by a thread of their own, many at
//! once.
//!
//! A request never waits for a terminal or a disk, and a thousand lines cost one write. What that
//! costs: a process that is killed takes the lines of its last moments with it, and if nobody reads
//! what is written, lines are dropped, and counted, before memory is.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// How long a first line waits for company.
const GATHER: Duration = Duration::from_millis(20);
/// How long the end waits for the last lines.
const FAREWELL: Duration = Duration::from_secs(2);
/// The most bytes that wait.
const MOST: usize = 4 * 1024 * 1024;

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    lost: u64,
    closing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes lines. Cheap to clone.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<Shared>);

/// When it is dropped, what still waits is written.
pub(super) struct FlushGuard {
    shared: Arc<Shared>,
    done: mpsc::Receiver<()>,
}

/// The way to `out`.
pub(super) fn to(out: impl Write + Send + 'static) -> io::Result<(LogWriter, FlushGuard)> {
    let shared = Arc::new(Shared::default());
    let (ended, done) = mpsc::channel();
    thread::Builder::new().name("log".to_owned()).spawn({
        let shared = Arc::clone(&shared);
        move || {
            drain(&shared, out);
            // Nobody waits for a log that outlived its process's patience.
            let _ = ended.send(());
        }
    })?;
    Ok((LogWriter(Arc::clone(&shared)), FlushGuard { shared, done }))
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        if waiting.bytes.len() + line.len() > MOST {
            waiting.lost += 1;
            return Ok(line.len());
        }
        // The writer sleeps only while nothing waits.
        if waiting.bytes.is_empty() {
            self.0.changed.notify_one();
        }
        waiting.bytes.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_one();
        // A terminal that takes no more keeps nobody from ending.
        let _ = self.done.recv_timeout(FAREWELL);
    }
}

fn drain(shared: &Shared, mut out: impl Write) {
    let mut batch = Vec::new();
    loop {
        let waiting = shared.lock();
        let idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.closing;
        let waiting = shared.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        let gathering = shared.changed.wait_timeout_while(waiting, GATHER, |waiting| !waiting.closing);
        let (mut waiting, _) = gathering.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut batch, &mut waiting.bytes);
        let (lost, closing) = (mem::take(&mut waiting.lost), waiting.closing);
        drop(waiting);
        // There is nobody left to tell that the log can't be written.
        let _ = out.write_all(&batch);
        if lost > 0 {
            let _ = writeln!(out, "{lost} log lines were dropped: nobody took them in time");
        }
        let _ = out.flush();
        batch.clear();
        if closing {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands on what is written, and waits to be read.
    struct Pipe(mpsc::SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_arrives_in_order_and_at_the_latest_at_the_end() {
        let (sender, written) = mpsc::sync_channel(1000);
        let (mut lines, flush) = to(Pipe(sender)).unwrap();
        let mut expected = String::new();
        for number in 0..500 {
            let line = format!("{number}\n");
            lines.write_all(line.as_bytes()).unwrap();
            expected.push_str(&line);
        }
        drop(flush);
        let all: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(all).unwrap(), expected);
    }

    #[test]
    fn a_line_is_written_without_waiting_for_the_next() {
        let (sender, written) = mpsc::sync_channel(10);
        let (mut lines, _flush) = to(Pipe(sender)).unwrap();
        writeln!(lines, "alone").unwrap();
        assert_eq!(written.recv_timeout(Duration::from_secs(5)).unwrap(), b"alone\n");
    }

    #[test]
    fn a_log_that_nobody_reads_is_cut_and_says_so() {
        let (sender, written) = mpsc::sync_channel(0);
        let (mut lines, flush) = to(Pipe(sender)).unwrap();
        let line = vec![b'x'; 1024 * 1024];
        for _ in 0..20 {
            lines.write_all(&line).unwrap();
        }
        let reader = thread::spawn(move || written.iter().flatten().collect::<Vec<u8>>());
        drop(flush);
        let all = reader.join().unwrap();
        assert!(all.len() < 10 * line.len(), "{} bytes", all.len());
        assert!(String::from_utf8(all).unwrap().contains("log lines were dropped"));
    }
}
