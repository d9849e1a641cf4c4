//! Whatever the input: no panic, and the limits hold.

use proptest::prelude::*;
use serde_json::{Value, json};
use wharf_template::{Limits, Options, Template};

const LIMITS: Limits = Limits {
    output: 10_000,
    steps: 20_000,
};

fn run(text: &str, data: &Value) {
    let options = Options {
        limits: LIMITS,
        ..Options::default()
    };
    if let Ok(template) = Template::parse("t", text)
        && let Ok(output) = template.execute(data, &options)
    {
        assert!(output.len() <= LIMITS.output);
    }
}

fn data() -> Value {
    json!({
        "a": { "b": [1, -2, 3.5, "é", null, true, { "c": [] }], "a": "x\u{0}y" },
        "b": [[1, 2], ["p", "q"]],
        "n": 18_446_744_073_709_551_615_u64,
        "z": null,
    })
}

/// Pieces that are likely to fit together.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "{{",
        "}}",
        "{{- ",
        " -}}",
        "(",
        ")",
        "|",
        " ",
        ".",
        ".a",
        ".b",
        ".n",
        ".z",
        "$",
        "$x",
        ":=",
        "=",
        ",",
        "if ",
        "else",
        "end",
        "range ",
        "with ",
        "define \"t\"",
        "template \"t\" .",
        "block \"t\" .",
        "break",
        "continue",
        "nil",
        "true",
        "1",
        "-1",
        "2.5",
        "1e9",
        "0x",
        "'c'",
        "\"%v %5d %-q %#v %[2]*.[1]*f\"",
        "\"s\"",
        "`r`",
        "printf ",
        "print ",
        "index ",
        "slice ",
        "len ",
        "eq ",
        "lt ",
        "and ",
        "or ",
        "not ",
        "json ",
        "split ",
        "join ",
        "pad ",
        "truncate ",
        "title ",
        "html ",
        "js ",
        "urlquery ",
        "call ",
        "/* ",
        "*/",
        "\n",
        "é",
        "\\",
    ];
    prop_oneof![
        9 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_handled(text in "\\PC{0,60}") {
        run(&text, &data());
        run(&format!("{{{{{text}}}}}"), &data());
    }

    #[test]
    fn any_sequence_of_tokens_is_handled(pieces in proptest::collection::vec(piece(), 0..40)) {
        run(&pieces.concat(), &data());
    }

    #[test]
    fn any_expression_is_handled(pieces in proptest::collection::vec(piece(), 1..8)) {
        run(&format!("{{{{{}}}}}", pieces.join(" ")), &data());
    }

    #[test]
    fn any_format_is_handled(format in "(%[-+# 0]{0,3}[0-9]{0,9}(\\.[0-9]{0,9})?[a-zA-Z%!\\[*]){1,4}") {
        for value in [".a", ".a.b", ".n", "-1", "0.001", "true", "\"s\"", "nil"] {
            run(&format!("{{{{printf {format:?} {value} {value}}}}}"), &data());
        }
    }

    #[test]
    fn plain_text_is_itself(text in "[^{]{0,200}") {
        let template = Template::parse("", &text).unwrap();
        prop_assert_eq!(template.execute(&data(), &Options::default()).unwrap(), text);
    }
}

#[test]
fn recursion_growth_and_endless_work_are_cut_short() {
    let deep_parens = format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000));
    let deep_blocks = "{{if 1}}".repeat(5000);
    let else_ifs = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(5000));
    for text in [
        deep_parens.as_str(),
        deep_blocks.as_str(),
        else_ifs.as_str(),
        "{{define \"r\"}}{{template \"r\"}}{{end}}{{template \"r\"}}",
        "{{define \"r\"}}{{template \"r\"}}{{template \"r\"}}{{end}}{{template \"r\"}}",
        "{{range 1000000000000}}{{end}}",
        "{{range 1000000000000}}x{{end}}",
        "{{$x := \"xx\"}}{{range 100}}{{$x = print $x $x}}{{end}}",
        "{{pad \"x\" 9000000000 9000000000}}",
        "{{printf \"%999999d%999999d%999999d\" 1 2 3}}",
        "{{$x := printf \"%9000d\" 1}}{{html $x $x}}",
    ] {
        run(text, &data());
        let options = Options {
            limits: LIMITS,
            ..Options::default()
        };
        let result = Template::parse("", text).map(|parsed| parsed.execute(&data(), &options));
        assert!(!matches!(result, Ok(Ok(_))), "{text}");
    }
}

/// The deepest template the parser takes runs on a test thread's stack of two megabytes.
#[test]
fn the_deepest_nesting_taken_runs() {
    let text = format!("{}x{}", "{{if 1}}".repeat(99), "{{end}}".repeat(99));
    let template = Template::parse("", &text).unwrap();
    assert_eq!(
        template.execute(&Value::Null, &Options::default()).unwrap(),
        "x"
    );
    let text = format!(
        "{{{{define \"r\"}}}}{}{{{{template \"r\"}}}}{}{{{{end}}}}{{{{template \"r\"}}}}",
        "{{if 1}}".repeat(90),
        "{{end}}".repeat(90)
    );
    let parens = format!("{}1{}", "(".repeat(8), ")".repeat(8));
    let text = text.replace("{{if 1}}", &format!("{{{{if {parens}}}}}"));
    let error = Template::parse("", &text)
        .unwrap()
        .execute(&Value::Null, &Options::default());
    assert!(error.unwrap_err().message.contains("maximum"));
}
