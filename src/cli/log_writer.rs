//! A buffered log writer: a separate thread writes the lines in batches.
//!
//! A request never waits for a terminal or a disk, and one write can contain a thousand lines. The
//! disadvantage is that a killed process loses its last lines. If the output blocks, the size of the buffer
//! stays limited: further lines are dropped and counted.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// How long the first line of a batch waits for more lines.
const BATCH_WINDOW: Duration = Duration::from_millis(20);
/// How long dropping the guard waits for the last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of buffered bytes.
const MAX_BUFFERED_BYTES: usize = 4 * 1024 * 1024;

#[derive(Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    changed: Condvar,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    dropped_lines: u64,
    is_closing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds lines to the buffer. Cheap to clone.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<Shared>);

/// Dropping this guard flushes the buffer.
pub(super) struct FlushGuard {
    shared: Arc<Shared>,
    done: mpsc::Receiver<()>,
}

/// Starts the thread that writes to `out`.
pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(LogWriter, FlushGuard)> {
    let shared = Arc::new(Shared::default());
    let (done_tx, done) = mpsc::channel();
    thread::Builder::new().name("log".to_owned()).spawn({
        let shared = Arc::clone(&shared);
        move || {
            drain(&shared, out);
            // An error means that the guard has stopped waiting.
            let _ = done_tx.send(());
        }
    })?;
    Ok((LogWriter(Arc::clone(&shared)), FlushGuard { shared, done }))
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut buffer = self.0.lock();
        if buffer.bytes.len() + line.len() > MAX_BUFFERED_BYTES {
            buffer.dropped_lines += 1;
            return Ok(line.len());
        }
        // Wake the writer thread only for the first line of a batch: the thread waits without a timeout only
        // while the buffer is empty.
        if buffer.bytes.is_empty() {
            self.0.changed.notify_one();
        }
        buffer.bytes.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.changed.notify_one();
        // A blocked output must not keep the process from exiting.
        let _ = self.done.recv_timeout(FLUSH_TIMEOUT);
    }
}

fn drain(shared: &Shared, mut out: impl Write) {
    let mut batch = Vec::new();
    loop {
        let buffer = shared.lock();
        let is_idle = |buffer: &mut Buffer| buffer.bytes.is_empty() && !buffer.is_closing;
        let buffer = shared.changed.wait_while(buffer, is_idle).unwrap_or_else(PoisonError::into_inner);
        let waited = shared.changed.wait_timeout_while(buffer, BATCH_WINDOW, |buffer| !buffer.is_closing);
        let (mut buffer, _) = waited.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut batch, &mut buffer.bytes);
        let (dropped, is_closing) = (mem::take(&mut buffer.dropped_lines), buffer.is_closing);
        drop(buffer);
        // A failure to write the log can't be reported anywhere.
        let _ = out.write_all(&batch);
        if dropped > 0 {
            let _ = writeln!(out, "{dropped} log lines were dropped: the log output was blocked");
        }
        let _ = out.flush();
        batch.clear();
        if is_closing {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends the written bytes to a channel, and blocks while the channel is full.
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
    fn dropping_the_flush_guard_writes_all_log_lines_in_order() {
        let (sender, written) = mpsc::sync_channel(1000);
        let (mut lines, flush) = start(Pipe(sender)).unwrap();
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
    fn a_single_log_line_is_written_without_waiting_for_more_lines() {
        let (sender, written) = mpsc::sync_channel(10);
        let (mut lines, _flush) = start(Pipe(sender)).unwrap();
        writeln!(lines, "alone").unwrap();
        assert_eq!(written.recv_timeout(Duration::from_secs(5)).unwrap(), b"alone\n");
    }

    #[test]
    fn while_the_output_is_blocked_log_lines_are_dropped_and_counted() {
        let (sender, written) = mpsc::sync_channel(0);
        let (mut lines, flush) = start(Pipe(sender)).unwrap();
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
