//! `--mount`: mounts as pairs in a line of comma-separated values.

use std::path::Path;

use wharf_wire::{BindOptions, ImageOptions, Mount, MountDriver, TmpfsOptions, VolumeOptions};

use super::csv;
use super::{size, volume};
use crate::grammar::{Invalid, parse_bool};

/// Reads a mount; a bind's source that is not absolute is made so from `here`.
pub(crate) fn parse(text: &str, here: Option<&Path>) -> Result<Mount, Invalid> {
    let mut fields = Fields {
        mount: Mount {
            kind: "volume".to_owned(),
            ..Mount::default()
        },
        ..Fields::default()
    };
    for field in csv::record(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        fields.take(&field, &key, value)?;
    }
    fields.finish(here)
}

/// What was read so far.
#[derive(Default)]
struct Fields {
    mount: Mount,
    bind: BindOptions,
    bind_recursive: String,
    volume: VolumeOptions,
    tmpfs: TmpfsOptions,
    image: ImageOptions,
}

impl Fields {
    fn take(&mut self, field: &str, key: &str, value: Option<&str>) -> Result<(), Invalid> {
        let Some(value) = value else {
            match key {
                "readonly" | "ro" => self.mount.read_only = true,
                "volume-nocopy" => self.volume.no_copy = true,
                "bind-nonrecursive" => self.bind.non_recursive = true,
                _ => {
                    return Err(Invalid(format!(
                        "invalid field '{field}' must be a key=value pair"
                    )));
                }
            }
            return Ok(());
        };
        let flag =
            || parse_bool(value).map_err(|_| Invalid(format!("invalid value for {key}: {value}")));
        match key {
            "type" => self.mount.kind = value.to_ascii_lowercase(),
            "source" | "src" => self.mount.source = value.to_owned(),
            "target" | "dst" | "destination" => self.mount.target = value.to_owned(),
            "readonly" | "ro" => self.mount.read_only = flag()?,
            "consistency" => self.mount.consistency = value.to_ascii_lowercase(),
            "bind-propagation" => self.bind.propagation = value.to_ascii_lowercase(),
            "bind-nonrecursive" => self.bind.non_recursive = flag()?,
            "bind-recursive" => value.clone_into(&mut self.bind_recursive),
            "volume-subpath" => self.volume.subpath = value.to_owned(),
            "volume-nocopy" => self.volume.no_copy = flag()?,
            "volume-label" => {
                let (name, label) = value.split_once('=').unwrap_or((value, ""));
                self.volume.labels.insert(name.to_owned(), label.to_owned());
            }
            "volume-driver" => self.driver().name = value.to_owned(),
            "volume-opt" => {
                let (name, option) = value.split_once('=').unwrap_or((value, ""));
                self.driver()
                    .options
                    .insert(name.to_owned(), option.to_owned());
            }
            "image-subpath" => self.image.subpath = value.to_owned(),
            "tmpfs-size" => {
                self.tmpfs.size_bytes = size::parse(value)
                    .map_err(|_| Invalid(format!("invalid value for {key}: {value}")))?;
            }
            "tmpfs-mode" => {
                self.tmpfs.mode = u32::from_str_radix(value, 8)
                    .map_err(|_| Invalid(format!("invalid value for {key}: {value}")))?;
            }
            _ => return Err(Invalid(format!("unexpected key '{key}' in '{field}'"))),
        }
        Ok(())
    }

    fn driver(&mut self) -> &mut MountDriver {
        self.volume.driver_config.get_or_insert_default()
    }

    fn finish(mut self, here: Option<&Path>) -> Result<Mount, Invalid> {
        let mut mount = std::mem::take(&mut self.mount);
        if mount.kind.is_empty() {
            return Err(Invalid("type is required".to_owned()));
        }
        if mount.target.is_empty() {
            return Err(Invalid("target is required".to_owned()));
        }
        self.recursion(mount.read_only)?;
        let foreign = |what: &str| {
            Invalid(format!(
                "cannot mix '{what}-*' options with mount type '{}'",
                mount.kind
            ))
        };
        if mount.kind != "bind" && self.bind != BindOptions::default() {
            return Err(foreign("bind"));
        }
        if mount.kind != "volume" && self.volume != VolumeOptions::default() {
            return Err(foreign("volume"));
        }
        if mount.kind != "tmpfs" && self.tmpfs != TmpfsOptions::default() {
            return Err(foreign("tmpfs"));
        }
        if mount.kind != "image" && self.image != ImageOptions::default() {
            return Err(foreign("image"));
        }
        if mount.kind == "bind" && !mount.source.is_empty() && !mount.source.starts_with('/') {
            let here = here.ok_or_else(|| Invalid("the current directory is gone".to_owned()))?;
            mount.source = volume::absolute(&mount.source, here);
        }
        mount.bind_options = some_unless_zero(self.bind);
        mount.volume_options = some_unless_zero(self.volume);
        mount.tmpfs_options = some_unless_zero(self.tmpfs);
        mount.image_options = some_unless_zero(self.image);
        Ok(mount)
    }

    fn recursion(&mut self, read_only: bool) -> Result<(), Invalid> {
        match self.bind_recursive.as_str() {
            "" | "enabled" => {}
            "disabled" => self.bind.non_recursive = true,
            "writable" => self.bind.read_only_non_recursive = true,
            "readonly" => self.bind.read_only_force_recursive = true,
            other => {
                return Err(Invalid(format!(
                    "invalid value for bind-recursive: {other} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                )));
            }
        }
        if (self.bind.read_only_non_recursive || self.bind.read_only_force_recursive) && !read_only
        {
            return Err(Invalid(format!(
                "option 'bind-recursive={}' requires 'readonly' to be specified in conjunction",
                self.bind_recursive
            )));
        }
        if self.bind.read_only_force_recursive && self.bind.propagation != "rprivate" {
            return Err(Invalid(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

fn some_unless_zero<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Mount {
        parse(text, Some(Path::new("/home/me"))).expect(text)
    }

    fn bad(text: &str) -> String {
        parse(text, Some(Path::new("/home/me"))).expect_err(text).0
    }

    #[test]
    fn a_bind_has_a_source_and_options() {
        let mount = good("type=bind,src=./x,dst=/y,ro,bind-propagation=rslave");
        assert_eq!(
            (
                &*mount.kind,
                &*mount.source,
                &*mount.target,
                mount.read_only
            ),
            ("bind", "/home/me/x", "/y", true)
        );
        assert_eq!(mount.bind_options.expect("options").propagation, "rslave");
        assert!(
            good("type=bind,source=/a,target=/b,bind-recursive=disabled")
                .bind_options
                .expect("options")
                .non_recursive
        );
    }

    #[test]
    fn a_tmpfs_has_a_size_and_a_mode() {
        let options = good("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770")
            .tmpfs_options
            .expect("options");
        assert_eq!((options.size_bytes, options.mode), (1 << 20, 0o1770));
    }

    #[test]
    fn fields_may_be_quoted() {
        let mount = good("type=bind,\"source=/a,b\",target=/c");
        assert_eq!(mount.source, "/a,b");
        let mount = good("dst=/x,\"volume-opt=o=a,b\"");
        assert_eq!(
            mount
                .volume_options
                .expect("options")
                .driver_config
                .expect("a driver")
                .options["o"],
            "a,b"
        );
    }

    #[test]
    fn what_is_wrong_is_named_as_docker_names_it() {
        assert_eq!(bad("foo"), "invalid field 'foo' must be a key=value pair");
        assert_eq!(
            bad("type=bind,foo=bar,dst=/x"),
            "unexpected key 'foo' in 'foo=bar'"
        );
        assert_eq!(bad("type=bind,src=/a"), "target is required");
        assert_eq!(bad("type=,dst=/a"), "type is required");
        assert_eq!(
            bad("type=tmpfs,dst=/a,bind-propagation=x"),
            "cannot mix 'bind-*' options with mount type 'tmpfs'"
        );
        assert_eq!(
            bad("type=bind,dst=/a,tmpfs-size=1"),
            "cannot mix 'tmpfs-*' options with mount type 'bind'"
        );
        assert_eq!(bad("type=bind,dst=/a,ro=x"), "invalid value for ro: x");
        assert_eq!(
            bad("type=bind,dst=/a,bind-recursive=writable"),
            "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[a-z=,\"/é-]{0,40}") {
            let answer = parse(&text, None);
            proptest::prop_assert!(answer.is_err() || answer.is_ok_and(|mount| !mount.target.is_empty()));
        }
    }
}
