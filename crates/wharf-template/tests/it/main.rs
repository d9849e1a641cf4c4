//! Templates as a whole: beside Go's own answers, and under arbitrary input.

mod docker;
mod go;
mod properties;
