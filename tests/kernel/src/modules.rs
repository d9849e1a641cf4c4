//! Kernel modules of an unpacked Debian kernel package, in the order in which they load.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Finds `names` and what they depend on below `root`; dependencies come first.
pub fn in_order(root: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = HashMap::new();
    collect(root, &mut files).with_context(|| format!("kernel modules in {}", root.display()))?;
    let mut order = Vec::new();
    for name in names {
        add(name, &files, &mut order)?;
    }
    Ok(order)
}

fn collect(dir: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            files.insert(stem.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn add(name: &str, files: &HashMap<String, PathBuf>, order: &mut Vec<PathBuf>) -> Result<()> {
    let name = name.replace('-', "_");
    let path = files
        .get(&name)
        .with_context(|| format!("no kernel module {name}"))?;
    if order.contains(path) {
        return Ok(());
    }
    let content = fs::read(path).with_context(|| path.display().to_string())?;
    for dependency in dependencies(&content) {
        add(&dependency, files, order)?;
    }
    order.push(path.clone());
    Ok(())
}

/// The `depends` record of a module's information section, which is text ended by a zero byte.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = &module[at + KEY.len()..];
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&value[..end])
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first() {
        let root = std::env::temp_dir().join(format!("wt-modules-{}", std::process::id()));
        fs::create_dir_all(root.join("net")).unwrap();
        let module = |name: &str, depends: &str| {
            let path = root.join(name);
            fs::write(&path, format!("ELF\0depends={depends}\0name=x\0")).unwrap();
            path
        };
        let low = module("net/low-level.ko", "");
        let middle = module("middle.ko", "low_level");
        let high = module("net/high.ko", "low_level,middle");
        let found = in_order(&root, &["high", "middle"]);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found.unwrap(), [low, middle, high]);
    }
}
