//! Which addresses of a subnet are in use.
