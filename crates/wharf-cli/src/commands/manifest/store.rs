//! Lists that are being made: a directory for each below `manifests` in the user's configuration, with a file for each
//! image, in Docker's format and under Docker's names.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wharf_types::Reference;

use super::document::Image;

/// The largest file that is read: a manifest of the largest size, twice, once in base64.
const LIMIT: u64 = 16 << 20;

/// Why what is kept cannot be had or changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// There is no such list, or no such image in it.
    #[error("No such manifest: {0}")]
    Unknown(String),
    /// A file or directory cannot be used.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// A file is not what it should be.
    #[error("invalid manifest file {}", .0.display())]
    Document(PathBuf, #[source] serde_json::Error),
}

/// The lists of one user.
pub(super) struct Store {
    root: PathBuf,
}

impl Store {
    /// The lists in a directory of configuration. Nothing is made before it is needed.
    pub(super) fn new(configuration: &Path) -> Self {
        Self {
            root: configuration.join("manifests"),
        }
    }

    /// An image of a list.
    pub(super) fn get(&self, list: &Reference, image: &Reference) -> Result<Image, StoreError> {
        let path = self.directory(list).join(file_name(image));
        read(&path, image)
    }

    /// All images of a list, by their names.
    pub(super) fn list(&self, list: &Reference) -> Result<Vec<Image>, StoreError> {
        let directory = self.directory(list);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Unknown(list.to_string()),
            _ => StoreError::File(directory.clone(), error),
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort();
        names
            .iter()
            .map(|name| read(&directory.join(name), list))
            .collect()
    }

    /// Keeps an image in a list, which is made if need be. It appears whole or not at all.
    pub(super) fn save(
        &self,
        list: &Reference,
        image: &Reference,
        content: &Image,
    ) -> Result<(), StoreError> {
        let directory = self.directory(list);
        let path = directory.join(file_name(image));
        let bytes = serde_json::to_vec(content)
            .map_err(|error| StoreError::Document(path.clone(), error))?;
        // Beside the lists, where nobody takes it for an image.
        let partial = self.root.join(format!(".partial-{}", std::process::id()));
        let written = fs::create_dir_all(&directory)
            .and_then(|()| fs::File::create(&partial))
            .and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()?;
                fs::rename(&partial, &path)
            });
        if written.is_err() {
            // The first error is the one to tell.
            fs::remove_file(&partial).ok();
        }
        written.map_err(|error| StoreError::File(path, error))
    }

    /// Forgets a list.
    pub(super) fn remove(&self, list: &Reference) -> Result<(), StoreError> {
        let directory = self.directory(list);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::File(directory, error))
            }
            _ => Ok(()),
        }
    }

    fn directory(&self, list: &Reference) -> PathBuf {
        self.root.join(file_name(list))
    }
}

/// The grammar of references has nothing else that a file name must not have.
fn file_name(reference: &Reference) -> String {
    reference.to_string().replace(':', "-").replace('/', "_")
}

fn read(path: &Path, reference: &Reference) -> Result<Image, StoreError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::Unknown(reference.to_string()),
        _ => StoreError::File(path.to_owned(), error),
    };
    if fs::metadata(path).map_err(failed)?.len() > LIMIT {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let bytes = fs::read(path).map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|error| StoreError::Document(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use wharf_wire::ImageDescriptor;

    use super::*;

    fn image(reference: &str) -> Image {
        let descriptor = ImageDescriptor {
            digest: "d".to_owned(),
            ..ImageDescriptor::default()
        };
        Image::new(reference.to_owned(), descriptor, "{}").expect("a manifest")
    }

    #[test]
    fn a_list_has_its_images_under_dockers_names() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::new(directory.path());
        let name = |text: &str| text.parse::<Reference>().expect(text);
        let list = name("r:5000/team/list:1");
        assert_eq!(
            store.list(&list).expect_err("nothing").to_string(),
            "No such manifest: r:5000/team/list:1"
        );
        store.remove(&list).expect("nothing to do");
        for image_name in ["r:5000/team/b:1", "r:5000/team/a:1"] {
            store
                .save(&list, &name(image_name), &image(image_name))
                .expect("a directory of ours");
        }
        let root = directory.path().join("manifests");
        let path = root.join("r-5000_team_list-1/r-5000_team_a-1");
        assert!(path.is_file());
        assert_eq!(fs::read_dir(&root).expect("ours").count(), 1);
        let names: Vec<String> = store
            .list(&list)
            .expect("a list")
            .into_iter()
            .map(|image| image.reference)
            .collect();
        assert_eq!(names, ["r:5000/team/a:1", "r:5000/team/b:1"]);
        let missing = name("r:5000/team/c:1");
        assert!(matches!(
            store.get(&list, &missing),
            Err(StoreError::Unknown(_))
        ));
        fs::write(&path, "{").expect("ours");
        assert!(matches!(
            store.get(&list, &name("r:5000/team/a:1")),
            Err(StoreError::Document(..))
        ));
        store.remove(&list).expect("ours");
        assert!(matches!(store.list(&list), Err(StoreError::Unknown(_))));
    }
}
