use wharf_wire::PortSummary;

use super::listing::{Kind, Row, Shape};
use super::{ago, ports, text, units};

#[test]
fn sizes_have_go_s_digits() {
    for (bytes, three, four) in [
        (0, "0B", "0B"),
        (999, "999B", "999B"),
        (1000, "1kB", "1kB"),
        (1536, "1.54kB", "1.536kB"),
        (999_999, "1e+03kB", "1000kB"),
        (1_982_000, "1.98MB", "1.982MB"),
        (334_500_000, "334MB", "334.5MB"),
        (12_340_000_000, "12.3GB", "12.34GB"),
    ] {
        assert_eq!(
            (&*units::size(bytes), &*units::sum(bytes)),
            (three, four),
            "{bytes}"
        );
    }
    assert_eq!(units::binary(25_275_875_328), "23.54GiB");
    assert_eq!(units::binary(0), "0B");
}

#[test]
fn durations_are_told_in_words() {
    const HOUR: i64 = 3600;
    for (seconds, words) in [
        (-5, "Less than a second"),
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (HOUR, "About an hour"),
        (HOUR + 1799, "About an hour"),
        (HOUR + 1800, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (14 * 24 * HOUR, "2 weeks"),
        (60 * 24 * HOUR, "2 months"),
        (730 * 24 * HOUR, "2 years"),
    ] {
        assert_eq!(ago::duration(seconds), words, "{seconds}");
    }
}

#[test]
fn dates_are_go_s() {
    let utc = jiff::tz::TimeZone::UTC;
    assert_eq!(
        ago::date(1_769_860_800, &utc),
        "2026-01-31 12:00:00 +0000 UTC"
    );
    assert_eq!(ago::rfc3339(1_769_860_800, &utc), "2026-01-31T12:00:00Z");
    let paris = jiff::tz::TimeZone::fixed(jiff::tz::offset(1));
    assert_eq!(
        ago::rfc3339(1_769_860_800, &paris),
        "2026-01-31T13:00:00+01:00"
    );
}

#[test]
fn texts_are_cut_and_quoted() {
    assert_eq!(
        text::ellipsis("/bin/sh -c 'exit 0; sleep'", 20),
        "/bin/sh -c 'exit 0;…"
    );
    assert_eq!(text::ellipsis("short", 20), "short");
    assert_eq!(text::short_id("sha256:0123456789abcdef"), "0123456789ab");
    assert_eq!(text::short_id("abc"), "abc");
    assert_eq!(text::quote("a\"b\\c\n\u{1}é"), "\"a\\\"b\\\\c\\n\\x01é\"");
}

fn port(ip: &str, public_port: u16, private_port: u16, protocol: &str) -> PortSummary {
    PortSummary {
        ip: ip.to_owned(),
        private_port,
        public_port,
        protocol: protocol.to_owned(),
    }
}

#[test]
fn neighbouring_ports_are_joined() {
    let check = |list: &[PortSummary], shown: &str| assert_eq!(ports::displayable(list), shown);
    check(&[], "");
    check(&[port("", 0, 80, "tcp")], "80/tcp");
    check(
        &[
            port("0.0.0.0", 8080, 80, "tcp"),
            port("::", 8080, 80, "tcp"),
        ],
        "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
    );
    check(
        &[
            port("0.0.0.0", 81, 81, "tcp"),
            port("0.0.0.0", 80, 80, "tcp"),
            port("0.0.0.0", 82, 82, "tcp"),
        ],
        "0.0.0.0:80-82->80-82/tcp",
    );
    check(
        &[
            port("", 0, 80, "tcp"),
            port("", 0, 90, "tcp"),
            port("", 0, 80, "udp"),
        ],
        "80/tcp, 90/tcp, 80/udp",
    );
}

static KIND: Kind = Kind {
    fields: &[("ID", "CONTAINER ID"), ("Names", "NAMES")],
    go_type: "*formatter.ContainerContext",
    complaint: "template parsing error",
    raw: Some("id: {{.ID}}\nnames: {{.Names}}\n"),
};

fn show(format: Option<&str>) -> String {
    let labels =
        std::collections::BTreeMap::from([("com.example.team".to_owned(), "red, blue".to_owned())]);
    let rows = vec![
        Row::new([
            ("ID", "0123456789ab".to_owned()),
            ("Names", "web".to_owned()),
        ])
        .with_labels(&labels),
        Row::new([("Names", "x".to_owned()), ("ID", "1".to_owned())]),
    ];
    let shape = Shape::new(&KIND, format, "{{.ID}}\t{{.Names}}");
    shape
        .show(&KIND, rows)
        .unwrap_or_else(|error| error.to_string())
}

#[test]
fn a_list_has_many_shapes() {
    assert_eq!(
        show(None),
        "CONTAINER ID   NAMES\n0123456789ab   web\n1              x\n"
    );
    assert_eq!(show(Some("{{.Names}}")), "web\nx\n");
    assert_eq!(
        show(Some("table {{.Names}}\\t{{.ID}}")),
        "NAMES     CONTAINER ID\nweb       0123456789ab\nx         1\n"
    );
    assert_eq!(
        show(Some("json")),
        "{\"ID\":\"0123456789ab\",\"Names\":\"web\"}\n{\"ID\":\"1\",\"Names\":\"x\"}\n"
    );
    assert_eq!(
        show(Some("raw")),
        "id: 0123456789ab\nnames: web\n\nid: 1\nnames: x\n\n"
    );
    assert_eq!(
        show(Some("{{.Label \"com.example.team\"}}")),
        "red, blue\n\n"
    );
    assert_eq!(
        show(Some("table {{.Label \"com.example.team\"}}")),
        "team\nred, blue\n\n"
    );
    assert_eq!(show(Some("{{upper .Names}}")), "WEB\nX\n");
}

#[test]
fn templates_fail_in_go_s_words() {
    assert_eq!(
        show(Some("{{.Nope}}")),
        "template parsing error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.ContainerContext"
    );
    assert_eq!(
        show(Some("{{")),
        "template parsing error: template: :1: unclosed action"
    );
}
