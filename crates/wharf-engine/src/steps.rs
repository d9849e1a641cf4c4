//! How long the steps of an operation take, told at debug level.

use std::time::Instant;

use wharf_types::ContainerId;

/// Times the steps of one operation on a container.
#[derive(Debug)]
pub(crate) struct Steps {
    container: ContainerId,
    operation: &'static str,
    last: Instant,
}

impl Steps {
    pub(crate) fn begin(container: ContainerId, operation: &'static str) -> Self {
        Self {
            container,
            operation,
            last: Instant::now(),
        }
    }

    /// Ends a step.
    pub(crate) fn done(&mut self, step: &'static str) {
        let now = Instant::now();
        tracing::debug!(
            container.id = ?self.container,
            operation = self.operation,
            step,
            microseconds = now.duration_since(self.last).as_micros(),
            "step"
        );
        self.last = now;
    }
}
