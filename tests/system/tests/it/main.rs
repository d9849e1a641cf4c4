//! The real binary, by user story.

mod all_files;
mod connection;
