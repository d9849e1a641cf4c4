//! Filters in the running kernel.

mod kernel;
