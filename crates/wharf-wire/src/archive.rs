//! Files going in and out of containers, and containers becoming images.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use crate::base64;
use crate::query::{Query, QueryWriter};

/// The header that says what is at a path of a container.
pub const PATH_STAT_HEADER: &str = "x-docker-container-path-stat";

/// Go's bits for what a file is, beside its permissions.
pub mod go_mode {
    pub const DIRECTORY: u32 = 1 << 31;
    pub const SYMLINK: u32 = 1 << 27;
    pub const DEVICE: u32 = 1 << 26;
    pub const NAMED_PIPE: u32 = 1 << 25;
    pub const SOCKET: u32 = 1 << 24;
    pub const SETUID: u32 = 1 << 23;
    pub const SETGID: u32 = 1 << 22;
    pub const CHARACTER_DEVICE: u32 = 1 << 21;
    pub const STICKY: u32 = 1 << 20;
}

documents! {
    /// What is at a path of a container.
    #[derive(Eq)]
    pub struct ContainerPathStat {
        #[serde(rename = "name")]
        pub name: String,
        #[serde(rename = "size")]
        pub size: i64,
        /// Permissions and [`go_mode`].
        #[serde(rename = "mode")]
        pub mode: u32,
        #[serde(rename = "mtime")]
        pub mtime: String,
        /// Where a symbolic link leads, absolute inside the container; empty when it is none.
        #[serde(rename = "linkTarget")]
        pub link_target: String,
    }

    /// Answer of `POST /commit`.
    #[derive(Eq)]
    pub struct CommitResult {
        pub id: String,
    }
}

impl ContainerPathStat {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.mode & go_mode::DIRECTORY != 0
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.mode & go_mode::SYMLINK != 0
    }

    /// Returns the header's value.
    #[must_use]
    pub fn to_header(&self) -> String {
        base64::encode(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads the header's value; nothing when it is not what it should be.
    #[must_use]
    pub fn from_header(value: &str) -> Option<Self> {
        serde_json::from_slice(&base64::decode(value.trim())?).ok()
    }
}

/// Parameters of `PUT /containers/{id}/archive`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchivePutQuery {
    pub path: String,
    pub no_overwrite_dir_non_dir: bool,
    pub copy_uid_gid: bool,
}

impl ArchivePutQuery {
    /// Reads the parameters.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        Self {
            path: query.text("path"),
            no_overwrite_dir_non_dir: query.flag("noOverwriteDirNonDir"),
            copy_uid_gid: query.flag("copyUIDGID"),
        }
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        let on = |on| if on { "true" } else { "" };
        QueryWriter::new()
            .with("path", &self.path)
            .text("noOverwriteDirNonDir", on(self.no_overwrite_dir_non_dir))
            .text("copyUIDGID", on(self.copy_uid_gid))
            .finish()
    }
}

/// Parameters of `POST /commit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitQuery {
    pub container: String,
    pub repo: String,
    pub tag: String,
    pub comment: String,
    pub author: String,
    pub pause: bool,
    pub changes: Vec<String>,
}

impl CommitQuery {
    /// Reads the parameters.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        // One parameter may hold several instructions, one a line.
        let changes = query.all("changes");
        let changes = changes
            .iter()
            .flat_map(|change| change.lines())
            .filter(|line| !line.trim().is_empty());
        Self {
            container: query.text("container"),
            repo: query.text("repo"),
            tag: query.text("tag"),
            comment: query.text("comment"),
            author: query.text("author"),
            pause: query.flag_or("pause", true),
            changes: changes.map(str::to_owned).collect(),
        }
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        let query = QueryWriter::new()
            .with("container", &self.container)
            .text("repo", &self.repo)
            .text("tag", &self.tag)
            .text("comment", &self.comment)
            .text("author", &self.author)
            .text("pause", if self.pause { "" } else { "0" });
        query.each("changes", &self.changes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_what_dockerd_sends() {
        // Taken from dockerd 20.10, but for the time.
        let stat = ContainerPathStat {
            name: "lf".to_owned(),
            size: 1,
            mode: 134_218_239,
            mtime: "2026-11-21T15:00:00Z".to_owned(),
            link_target: "/d/f".to_owned(),
        };
        assert!(stat.is_symlink() && !stat.is_directory());
        let json = base64::decode(&stat.to_header()).expect("base64");
        assert_eq!(
            String::from_utf8(json).as_deref(),
            Ok(
                r#"{"name":"lf","size":1,"mode":134218239,"mtime":"2026-11-21T15:00:00Z","linkTarget":"/d/f"}"#
            )
        );
        assert_eq!(
            ContainerPathStat::from_header(&stat.to_header()),
            Some(stat)
        );
        assert_eq!(ContainerPathStat::from_header("bm8="), None);
    }

    #[test]
    fn parameters_are_read_as_they_are_written() {
        let reread = |text: &str| Query::parse(text.trim_start_matches('?')).expect("query");
        let put = ArchivePutQuery {
            path: "/a b".to_owned(),
            no_overwrite_dir_non_dir: true,
            copy_uid_gid: true,
        };
        assert_eq!(ArchivePutQuery::read(&reread(&put.write())), put);
        let commit = CommitQuery {
            container: "c".to_owned(),
            repo: "me/image".to_owned(),
            tag: "1".to_owned(),
            comment: "why".to_owned(),
            author: "who".to_owned(),
            pause: false,
            changes: vec!["CMD a".to_owned(), "ENV b=c".to_owned()],
        };
        assert_eq!(CommitQuery::read(&reread(&commit.write())), commit);
        assert!(CommitQuery::read(&reread("changes=CMD+a%0AENV+b")).pause);
    }
}
