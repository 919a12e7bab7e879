//! The verdict of a harness. In: named checks. Out: one line each, and the count on the last line.
//! Always: a failed check says what was found.

/// Collects checks.
#[derive(Default)]
pub(crate) struct Report {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Report {
    /// Notes and prints one check.
    pub(crate) fn check(&mut self, name: &str, found: Result<String, String>) {
        match found {
            Ok(text) => {
                self.passed += 1;
                println!("ok      {name}: {text}");
            }
            Err(text) => {
                self.failed += 1;
                println!("FAILED  {name}: {text}");
            }
        }
    }

    /// Notes a whole harness that cannot run here, and what it needs.
    pub(crate) fn skip(&mut self, name: &str, needs: &str) {
        self.skipped += 1;
        println!("SKIPPED {name}: {needs}");
    }

    /// Prints the count; true if nothing failed.
    pub(crate) fn end(&self) -> bool {
        if self.skipped > 0 {
            println!("{} harnesses did not run here: see SKIPPED above", self.skipped);
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}
