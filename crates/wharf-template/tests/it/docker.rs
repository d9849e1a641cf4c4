//! What Docker's command line asks of templates beyond Go's: typed roots, methods, table headers.

use serde_json::{Value, json};
use wharf_template::{Functions, Method, Options, Template};

fn label(root: &Value, arguments: &[&str]) -> Result<String, String> {
    let value = root["Labels"][arguments[0]].as_str();
    value
        .map(str::to_owned)
        .ok_or_else(|| format!("no label {}", arguments[0]))
}

const METHODS: &[Method] = &[Method {
    name: "Label",
    arguments: 1,
    call: label,
}];

fn check(text: &str, expected: Result<&str, &str>) {
    let data = json!({ "ID": "0123", "Labels": { "a.b": "x" }, "Sub": { "ID": 5 } });
    let options = Options {
        root_type: Some("*formatter.ContainerContext"),
        methods: METHODS,
        ..Options::default()
    };
    let got = Template::parse("", text)
        .map_err(|error| error.to_string())
        .and_then(|parsed| {
            parsed
                .execute(&data, &options)
                .map_err(|error| error.to_string())
        });
    assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text}");
}

#[test]
fn a_typed_root_names_its_type() {
    check("{{.ID}}", Ok("0123"));
    check(
        "{{.Nope}}",
        Err(
            "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type \
             *formatter.ContainerContext",
        ),
    );
    check("{{.Sub.Nope}}", Ok("<no value>"));
}

#[test]
fn methods_of_the_root_take_arguments() {
    check(
        "{{.Label \"a.b\"}} {{\"a.b\" | .Label}} {{$.Label \"a.b\"}}",
        Ok("x x x"),
    );
    check("{{with .Sub}}{{.ID}} {{$.Label \"a.b\"}}{{end}}", Ok("5 x"));
    check(
        "{{.Label}}",
        Err(
            "template: :1:2: executing \"\" at <.Label>: wrong number of args for Label: want 1 \
             got 0",
        ),
    );
    check(
        "{{.Label \"q\"}}",
        Err("template: :1:2: executing \"\" at <.Label>: error calling Label: no label q"),
    );
    check(
        "{{.Label 1}}",
        Err("template: :1:9: executing \"\" at <1>: expected string; found 1"),
    );
}

#[test]
fn header_functions_keep_the_header() {
    let headers = json!({ "ID": "CONTAINER ID", "Names": "NAMES", "Labels": "LABELS" });
    let text = "{{.ID | lower}}\t{{truncate .Names 2}}\t{{json .Labels}}{{pad .ID 1 0}}";
    let options = Options {
        functions: Functions::Headers,
        ..Options::default()
    };
    let line = Template::parse("", text)
        .unwrap()
        .execute(&headers, &options)
        .unwrap();
    assert_eq!(line, "CONTAINER ID\tNAMES\tLABELS CONTAINER ID");
}

#[test]
fn fields_are_those_a_template_names() {
    let text = "{{.ID}}{{if .Size}}{{$.Names}}{{(index .Ports 0).Host}}{{end}}\
                {{define \"t\"}}{{.Labels | len}}{{end}}{{.State.Status}}";
    let template = Template::parse("", text).unwrap();
    let fields: Vec<&str> = template.fields().into_iter().collect();
    assert_eq!(
        fields,
        ["Host", "ID", "Labels", "Names", "Ports", "Size", "State"]
    );
}

#[test]
fn newer_go_is_followed_where_the_oracle_is_old() {
    check(
        "{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}",
        Ok("01201"),
    );
    check(
        "{{with .Labels.q}}a{{else with .ID}}{{.}}{{else}}c{{end}}",
        Ok("0123"),
    );
    check("{{$x := 1}}{{range $x = .Labels}}{{end}}{{$x}}", Ok("x"));
}
