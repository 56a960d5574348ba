//! Lines on their way to a log: nobody who logs waits for the log, and no failure of it reaches them.
//!
//! A thread of its own writes. A line that finds the queue full (a pipe that nobody reads), or that cannot be written (a
//! full disk, a pipe whose reader is gone), is lost and counted.

use std::{
    io::{self, ErrorKind, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Lines that may wait to be written.
const WAITING_MAX: usize = 16_384;
/// How often a place that takes nothing at the moment is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// The end that lines are given to.
pub struct Lines {
    queue: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    waiting: AtomicU64,
    lost: AtomicU64,
}

impl Lines {
    /// Writes to `out` from now on. `on_lost` is told how many lines were lost so far, each time that lines can be
    /// written again.
    pub fn to(out: impl Write + Send + 'static, on_lost: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(WAITING_MAX);
        let counts = Arc::new(Counts::default());
        let writer = Writer { out, is_torn: false, counts: Arc::clone(&counts) };
        thread::Builder::new().name("arus-log".into()).spawn(move || writer.run(&lines, on_lost))?;
        Ok(Self { queue, counts })
    }

    /// Takes a line, or counts it as lost.
    pub fn take(&self, line: &[u8]) {
        self.counts.waiting.fetch_add(1, Ordering::SeqCst);
        if self.queue.try_send(line.to_vec()).is_err() {
            self.counts.waiting.fetch_sub(1, Ordering::SeqCst);
            self.counts.lost.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// How many lines were lost.
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::SeqCst)
    }

    /// Waits until all that was taken is written, but no longer than so long: for the end of the process.
    pub fn flush(&self, longest: Duration) {
        let until = Instant::now() + longest;
        while self.counts.waiting.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

struct Writer<W> {
    out: W,
    /// Whether only the beginning of the last line was written.
    is_torn: bool,
    counts: Arc<Counts>,
}

impl<W: Write> Writer<W> {
    fn run(mut self, lines: &Receiver<Vec<u8>>, on_lost: impl Fn(u64)) {
        let mut said = 0;
        let mut works = true;
        loop {
            let line = match lines.try_recv() {
                Ok(line) => line,
                Err(TryRecvError::Disconnected) => return,
                // All is written that could be: the time to say what could not.
                Err(TryRecvError::Empty) => {
                    let lost = self.counts.lost.load(Ordering::SeqCst);
                    if works && lost > said {
                        said = lost;
                        on_lost(lost);
                    }
                    let Ok(line) = lines.recv() else { return };
                    line
                }
            };
            works = self.write(&line).is_ok();
            if !works {
                self.counts.lost.fetch_add(1, Ordering::SeqCst);
            }
            self.counts.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.write_all(b"\n")?;
            self.is_torn = false;
        }
        self.write_all(line)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    self.is_torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody made the pipe non-blocking: this thread may wait.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        mpsc::{Sender, channel},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A disk that is full for a while: the first write fits in half, then `fails` writes fail.
    struct Disk {
        fails: usize,
        written: Arc<Mutex<Vec<u8>>>,
        begun: bool,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.written.lock().expect("no panic");
            if self.fails == 0 {
                written.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            if !std::mem::replace(&mut self.begun, true) {
                written.extend_from_slice(&bytes[..3]);
                return Ok(3);
            }
            self.fails -= 1;
            Err(ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_said_once_it_works_again() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let disk = Disk { fails: 2, written: Arc::clone(&written), begun: false };
        let (said, told) = channel();
        let lines = Lines::to(disk, move |lost| said.send(lost).expect("somebody listens")).expect("a thread");
        for line in ["first\n", "second\n", "third\n"] {
            lines.take(line.as_bytes());
            lines.flush(LIMIT);
        }
        assert_eq!(told.recv_timeout(LIMIT), Ok(2));
        assert_eq!(lines.lost(), 2);
        lines.take(b"fourth\n");
        lines.flush(LIMIT);
        assert_eq!(*written.lock().expect("no panic"), b"fir\nthird\nfourth\n");
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "it is said once");
    }

    /// A pipe that nobody reads: it takes a line when it is told to.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_or(Err(ErrorKind::BrokenPipe.into()), |()| Ok(bytes.len()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_never_waits_for_a_pipe_that_nobody_reads() {
        let (reader, pipe): (Sender<()>, _) = channel();
        let lines = Lines::to(Stuck(pipe), |_| {}).expect("a thread");
        let more = 100;
        for _ in 0..=WAITING_MAX + more {
            lines.take(b"a line\n");
        }
        assert!((more as u64..=more as u64 + 1).contains(&lines.lost()), "{} lost", lines.lost());
        lines.flush(Duration::from_millis(20));
        drop(reader);
        lines.flush(LIMIT);
        assert_eq!(lines.lost(), WAITING_MAX as u64 + more as u64 + 1);
    }
}
