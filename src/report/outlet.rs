//! A stream that may close under us: `tenantmig apply --format ndjson | head` must not end a migration.

use std::{fmt, io::Write};

/// Writes until the first error, then keeps quiet: what follows a half-written line would only confuse its reader.
pub(super) struct Outlet {
    out: Box<dyn Write + Send>,
    /// What is written, for the message: "JSON lines".
    what: &'static str,
    broken: Option<String>,
}

impl Outlet {
    pub(super) fn new(what: &'static str, out: Box<dyn Write + Send>) -> Self {
        Self { out, what, broken: None }
    }

    /// Writes whole lines at once, so that another writer to the same stream finds no gap to write into.
    pub(super) fn write(&mut self, lines: &str) {
        if self.broken.is_none() {
            let written = self.out.write_all(lines.as_bytes()).and_then(|()| self.out.flush());
            self.broken = written.err().map(|e| format!("{} stopped: {e}", self.what));
        }
    }

    /// Why nothing is written any more.
    pub(super) fn broken(&self) -> Option<String> {
        self.broken.clone()
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("what", &self.what).field("broken", &self.broken).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod sink {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    /// A stream that can be read while somebody else writes it, and that closes after so many bytes.
    #[derive(Debug, Clone)]
    pub(in crate::report) struct Sink {
        bytes: Arc<Mutex<Vec<u8>>>,
        takes: usize,
    }

    impl Sink {
        pub(in crate::report) fn new() -> Self {
            Self::that_takes(usize::MAX)
        }

        pub(in crate::report) fn that_takes(takes: usize) -> Self {
            Self { bytes: Arc::default(), takes }
        }

        pub(in crate::report) fn text(&self) -> String {
            String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(|e| e.into_inner())).into_owned()
        }
    }

    impl Write for Sink {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            let mut bytes = self.bytes.lock().unwrap_or_else(|e| e.into_inner());
            let room = self.takes.saturating_sub(bytes.len()).min(from.len());
            if room == 0 && !from.is_empty() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            bytes.extend_from_slice(&from[..room]);
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
