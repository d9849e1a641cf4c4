//! A file that `main.rs` does not name would never be run.

#[test]
fn every_file_is_a_module() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let main = std::fs::read_to_string(format!("{directory}/main.rs")).unwrap();
    let missing: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| name != "main" && !main.contains(&format!("mod {name};")))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}
