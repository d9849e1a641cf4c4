//! Any bytes as what a registry, a name server or an operator may give: read or refused, never a panic.
//!
//! Run: `RUSTC_BOOTSTRAP=1 cargo fuzz run answers` in `crates/wharf-distribution`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_distribution::{Document, fuzzing};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    match kind % 4 {
        0 => {
            for sent_as in [
                "",
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.index.v1+json",
            ] {
                if let Ok((media_type, document)) = Document::parse(sent_as, rest) {
                    let is_index = media_type.contains("index") || media_type.contains("list");
                    assert_eq!(is_index, matches!(document, Document::Index(_)));
                }
            }
        }
        1 => fuzzing::refusal(rest),
        2 => fuzzing::name_reply(rest),
        _ => {
            if let Ok(text) = std::str::from_utf8(rest) {
                fuzzing::challenges(text);
                fuzzing::link(text);
                fuzzing::hosts_toml(text);
            }
        }
    }
});
