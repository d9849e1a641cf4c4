//! What Go 1.19's text/template printed for each template of `go.json`, with Docker's functions.

use serde_json::Value;
use wharf_template::{MissingKey, Options, Template};

#[test]
fn templates_print_and_fail_as_in_go() {
    let fixture: Value = serde_json::from_str(include_str!("go.json")).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() > 250);
    let mut wrong = Vec::new();
    for case in cases {
        let text = case["template"].as_str().unwrap();
        let data = case.get("data").unwrap_or(&fixture["data"]);
        let missing_error = case.get("missing_error").is_some();
        let missing_key = if missing_error {
            MissingKey::Error
        } else {
            MissingKey::NoValue
        };
        let options = Options {
            missing_key,
            ..Options::default()
        };
        let got = Template::parse("", text)
            .map_err(|error| error.to_string())
            .and_then(|parsed| {
                parsed
                    .execute(data, &options)
                    .map_err(|error| error.to_string())
            });
        let expected = match (case["output"].as_str(), case["error"].as_str()) {
            (Some(output), None) => Ok(output.to_owned()),
            (_, error) => Err(error.unwrap().to_owned()),
        };
        if got != expected {
            wrong.push(format!("{text}\n   got {got:?}\n    go {expected:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
