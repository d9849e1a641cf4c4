use super::*;

fn images() -> Vec<Value> {
    let image = serde_json::json!({
        "Id": "sha256:0123456789abcdef", "RepoTags": ["a:1", "longer:1"], "Size": 2000, "Containers": 1, "Created": 5,
        "Manifests": [
            {
                "ID": "sha256:fedcba9876543210", "Kind": "image", "Available": true, "Size": {"Total": 2000, "Content": 1000},
                "ImageData": {"Platform": {"os": "linux", "architecture": "amd64"}, "Containers": ["x"]},
            },
            {
                "ID": "sha256:eeeeeeeeeeeeeeee", "Kind": "image", "Available": false, "Size": {"Total": 0, "Content": 0},
                "ImageData": {"Platform": {"os": "linux", "architecture": "arm", "variant": "v7"}, "Containers": null},
            },
            { "ID": "sha256:dddddddddddddddd", "Kind": "attestation", "Size": {"Total": 9, "Content": 9} },
        ],
    });
    let plain = serde_json::json!({ "Id": "sha256:ffffffffffffffff", "RepoDigests": ["x@y"], "Size": 3, "Created": 4 });
    let dangling = serde_json::json!({ "Id": "sha256:cccccccccccccccc", "Size": 3, "Created": 9 });
    vec![plain, image, dangling]
}

fn shown(all: bool, columns: usize, terminal: bool) -> String {
    tree(images(), all, Paper { columns, terminal })
}

#[test]
fn platforms_hang_below_their_image() {
    let shown = shown(false, 0, false);
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.",
            "                                                              Info ->  U In Use",
            "",
            "\x1b[39m\x1b[1mIMAGE\x1b[0m                 \x1b[39m\x1b[1mID\x1b[0m             \x1b[39m\x1b[1mDISK USAGE\x1b[0m   \x1b[39m\x1b[1mCONTENT SIZE\x1b[0m   \x1b[39m\x1b[1mEXTRA\x1b[0m",
            "longer:1",
            "a:1                   0123456789ab          2kB         1.01kB   U",
            "├─ linux/amd64        fedcba987654          2kB            1kB   U",
            "└─ linux/arm/v7       eeeeeeeeeeee           0B             0B",
            "",
            "<untagged>            ffffffffffff           3B             0B",
            "",
        ]
    );
}

#[test]
fn narrow_terminals_lose_columns_then_letters() {
    let header = |columns: usize| {
        let text = shown(true, columns, false);
        let line = text.lines().nth(3).unwrap_or_default();
        line.replace(BOLD, "")
            .replace(OFF, "")
            .trim_end()
            .to_owned()
    };
    assert!(header(63).ends_with("EXTRA"));
    assert!(header(62).ends_with("CONTENT SIZE"));
    assert!(header(54).ends_with("DISK USAGE"));
    assert!(header(39).ends_with("ID"));
    assert_eq!(header(26), "IMAGE");
    let text = shown(false, 28, false);
    assert!(
        text.lines()
            .any(|line| line.starts_with("├─ linux/amd…   fedcba987654")),
        "{text}"
    );
}

#[test]
fn colours_are_for_terminals() {
    let text = shown(true, 100, true);
    assert!(text.starts_with("\x1b[93mWARNING"));
    assert!(text.contains("\x1b[34m\x1b[1mlonger:1\x1b[0m\n"));
    assert!(text.contains("\x1b[39m\x1b[2m└─ linux/arm/v7\x1b[0m"));
    assert!(text.contains("\x1b[38;5;0m\x1b[48;5;14m U \x1b[0m"));
    assert!(text.contains("cccccccccccc"), "all are shown");
}
