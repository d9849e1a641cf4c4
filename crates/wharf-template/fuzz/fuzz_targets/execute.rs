//! Any text as a template, over data with every kind of value.
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run execute`

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_template::{Limits, Options, Template};

fuzz_target!(|text: &str| {
    let data = serde_json::json!({
        "a": { "b": [1, -2, 3.5, "é", null, true, { "c": [] }], "a": "x\u{0}y" },
        "n": u64::MAX,
    });
    let limits = Limits { output: 100_000, steps: 100_000 };
    let options = Options { limits, ..Options::default() };
    if let Ok(template) = Template::parse("fuzz", text)
        && let Ok(output) = template.execute(&data, &options)
    {
        assert!(output.len() <= limits.output);
    }
});
