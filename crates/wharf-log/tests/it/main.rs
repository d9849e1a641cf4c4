//! The log written and read back as a whole.

mod crash;
mod remote;
mod rotation;
mod secured;
