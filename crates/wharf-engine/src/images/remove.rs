//! Taking a name from an image, and the image away with its last name.
//!
//! The rules are Docker's: a name is only a name, unless it is the last; an id means the image with
//! all its names, and a second repository asks for force. A stopped container is in the way unless
//! forced, as it keeps the layers it needs; a running one is always in the way of the image, and
//! never of a name when forced.

use wharf_types::{Digest, Reference, failpoint};
use wharf_wire as wire;

use super::{Images, Names, Use, commit, is_digest};
use crate::error::Error;
use crate::records::{Change, Records};

/// What a removal comes to.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    untag: Vec<Reference>,
    delete: bool,
}

/// What a removal has done.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) id: Digest,
    pub(crate) steps: Vec<wire::ImageDelete>,
    /// Bytes of the layers that have gone.
    pub(crate) freed: u64,
}

impl Images {
    /// Removes a name or an image. `uses` are the containers made from it.
    pub(crate) fn remove(
        &self,
        records: &Records,
        name: &str,
        query: wire::ImageRemoveQuery,
        uses: &dyn Fn(&Digest) -> Vec<Use>,
    ) -> Result<Removed, Error> {
        let found = self.find(name)?;
        let id = found.id;
        let (plan, indexes) = {
            let mut names = self.names();
            let of_image = names.of(&id);
            let uses = uses(&id);
            let by = found.name.as_ref().map(|by| (by, name));
            let plan = plan(&id, by, &of_image, query.force, &uses)?;
            let mut changes: Vec<_> = plan
                .untag
                .iter()
                .map(|name| Change::RemoveImageName {
                    name: name.to_string(),
                })
                .collect();
            if plan.delete {
                changes.push(Change::RemoveImageName {
                    name: id.to_string(),
                });
            }
            commit(records, changes)?;
            let before = names.indexes();
            forget(&mut names, &id, &plan);
            (plan, before)
        };
        failpoint::hit("engine.rmi.recorded");
        let untagged = |name: &Reference| wire::ImageDelete {
            untagged: name.familiar(),
            ..wire::ImageDelete::default()
        };
        let mut steps: Vec<_> = plan.untag.iter().map(untagged).collect();
        let mut layers = self.drop_indexes(&self.names(), &indexes)?;
        if plan.delete {
            let failed = |error| Error::internal("cannot remove the image", error);
            layers.extend(self.store.remove_image(&id).map_err(failed)?);
            self.forget_use(&id);
            let deleted = std::iter::once(&id).chain(layers.iter().map(|layer| &layer.chain));
            steps.extend(deleted.map(|digest| wire::ImageDelete {
                deleted: digest.to_string(),
                ..wire::ImageDelete::default()
            }));
        }
        let freed = layers.iter().map(|layer| layer.size).sum();
        Ok(Removed { id, steps, freed })
    }
}

fn forget(names: &mut Names, id: &Digest, plan: &Plan) {
    if plan.delete {
        names.images.remove(id);
    } else if let Some(of_image) = names.images.get_mut(id) {
        for name in &plan.untag {
            of_image.remove(name);
        }
    }
}

/// `by` is the name it was found by, and how that was typed.
fn plan(
    id: &Digest,
    by: Option<(&Reference, &str)>,
    names: &[Reference],
    force: bool,
    uses: &[Use],
) -> Result<Plan, Error> {
    let running = uses.iter().find(|used| used.running);
    if let Some((name, typed)) = by.filter(|(name, _)| names.contains(name)) {
        let untag = with_digests(name, names);
        if untag.len() < names.len() {
            return Ok(Plan {
                untag,
                delete: false,
            });
        }
        if let (false, Some(used)) = (force, running.or(uses.first())) {
            return Err(Error::conflict(format!(
                "conflict: unable to remove repository reference {typed:?} (must force) - container {} \
                 is using its referenced image {}",
                used.container.short(),
                id.short(),
            )));
        }
        return Ok(Plan {
            untag,
            delete: running.is_none(),
        });
    }
    let conflict = |how: &str, why: String| {
        Err(Error::conflict(format!(
            "conflict: unable to delete {} ({how}) - {why}",
            id.short()
        )))
    };
    let repositories = names.iter().map(Reference::familiar_name);
    let repositories: std::collections::BTreeSet<_> = repositories.collect();
    if repositories.len() > 1 && !force {
        return conflict(
            "must be forced",
            "image is referenced in multiple repositories".to_owned(),
        );
    }
    if let Some(used) = running {
        let why = format!(
            "image is being used by running container {}",
            used.container.short()
        );
        return conflict("cannot be forced", why);
    }
    if let (false, Some(used)) = (force, uses.first()) {
        let why = format!(
            "image is being used by stopped container {}",
            used.container.short()
        );
        return conflict("must be forced", why);
    }
    Ok(Plan {
        untag: names.to_vec(),
        delete: true,
    })
}

/// Returns a name with what goes along: a repository's digests of the image go with its last tag.
fn with_digests(name: &Reference, names: &[Reference]) -> Vec<Reference> {
    let in_repository = |other: &&Reference| {
        (other.domain(), other.path()) == (name.domain(), name.path()) && *other != name
    };
    let others: Vec<&Reference> = names.iter().filter(in_repository).collect();
    let mut untag = vec![name.clone()];
    if !is_digest(name) && others.iter().all(|other| is_digest(other)) {
        untag.extend(others.into_iter().cloned());
    }
    untag
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_types::ContainerId;

    fn names(names: &[&str]) -> Vec<Reference> {
        names
            .iter()
            .map(|name| name.parse::<Reference>().expect(name).with_default_tag())
            .collect()
    }

    fn check(by: Option<&str>, of_image: &[&str], force: bool, running: Option<bool>) -> String {
        let id = Digest::of(b"");
        let name = by.map(|by| names(&[by]).remove(0));
        let by = name.as_ref().zip(by);
        let container = ContainerId::random();
        let uses: Vec<_> = running
            .map(|running| Use { container, running })
            .into_iter()
            .collect();
        match plan(&id, by, &names(of_image), force, &uses) {
            Ok(plan) => {
                let untag: Vec<_> = plan.untag.iter().map(Reference::familiar).collect();
                format!("untag {untag:?} delete {}", plan.delete)
            }
            Err(error) => error
                .to_string()
                .replace(&container.short(), "C")
                .replace(&id.short(), "I"),
        }
    }

    #[test]
    fn a_name_is_only_a_name_unless_it_is_the_last() {
        assert_eq!(
            check(Some("a"), &["a", "b"], false, Some(true)),
            r#"untag ["a:latest"] delete false"#
        );
        assert_eq!(
            check(Some("a"), &["a"], false, None),
            r#"untag ["a:latest"] delete true"#
        );
        assert_eq!(
            check(Some("a"), &["a"], false, Some(false)),
            r#"conflict: unable to remove repository reference "a" (must force) - container C is using its referenced image I"#
        );
        assert_eq!(
            check(Some("a"), &["a"], true, Some(true)),
            r#"untag ["a:latest"] delete false"#
        );
        assert_eq!(
            check(Some("a"), &["a"], true, Some(false)),
            r#"untag ["a:latest"] delete true"#
        );
    }

    #[test]
    fn digests_go_with_the_last_tag_of_their_repository() {
        let digest = format!("a@{}", Digest::of(b"manifest"));
        let other = format!("b@{}", Digest::of(b"manifest"));
        let of_image = ["a", &digest];
        assert_eq!(
            check(Some("a"), &of_image, false, None),
            format!(r#"untag ["a:latest", "{digest}"] delete true"#)
        );
        assert!(check(Some("a"), &of_image, false, Some(false)).contains("must force"));
        assert_eq!(
            check(Some("a"), &["a", "a:2", &digest], false, None),
            r#"untag ["a:latest"] delete false"#
        );
        assert_eq!(
            check(Some("a"), &["a", &digest, &other], false, None),
            format!(r#"untag ["a:latest", "{digest}"] delete false"#)
        );
        assert_eq!(
            check(Some(&digest), &of_image, false, None),
            format!(r#"untag ["{digest}"] delete false"#)
        );
        assert_eq!(
            check(Some(&digest), &[&digest], false, None),
            format!(r#"untag ["{digest}"] delete true"#)
        );
    }

    #[test]
    fn an_id_means_the_image() {
        assert_eq!(
            check(None, &["a", "a:2"], false, None),
            r#"untag ["a:latest", "a:2"] delete true"#
        );
        assert_eq!(
            check(None, &["a", "b"], false, None),
            "conflict: unable to delete I (must be forced) - image is referenced in multiple repositories"
        );
        assert_eq!(check(None, &[], false, None), "untag [] delete true");
        assert_eq!(
            check(None, &["a"], true, Some(true)),
            "conflict: unable to delete I (cannot be forced) - image is being used by running container C"
        );
        assert_eq!(
            check(None, &["a"], false, Some(false)),
            "conflict: unable to delete I (must be forced) - image is being used by stopped container C"
        );
        assert_eq!(
            check(None, &["a"], true, Some(false)),
            r#"untag ["a:latest"] delete true"#
        );
    }
}
