//! Images that come from registries, and lines that are cut.

use std::collections::BTreeSet;
use std::io::{self, Read};

use wharf_oci::image::media_type;

use super::*;
use crate::fixtures::{Remote, World, archive, config, file};
use crate::{DriverChoice, Image, Received};

fn world() -> World {
    World::new(DriverChoice::Auto)
}

fn remote() -> Remote {
    Remote::new(&[layer("a"), layer("b")])
}

/// A layer large enough to be cut anywhere.
fn layer(name: &str) -> Vec<u8> {
    let noise = (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    let noise: Vec<u8> = noise.collect();
    archive(&[file(name, &noise)])
}

/// Gives some bytes, then fails as a line that is cut.
struct Cut<'a>(&'a [u8]);

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            count => Ok(count),
        }
    }
}

fn incoming(world: &World) -> Vec<String> {
    crate::store::names(&world.store.root().join("incoming")).expect("list")
}

#[test]
fn an_image_comes_in_with_its_index_and_is_there_the_next_time() {
    let world = world();
    let remote = remote();
    let pulled = remote.pull(&world.store);
    let image: Image = world.store.image(&pulled.id).expect("image");
    assert_eq!(
        (image.manifest_bytes, image.config_bytes),
        (remote.manifest.clone(), remote.config.clone())
    );
    let index = world.store.index(&pulled.index.expect("index"));
    let index = index.expect("index");
    assert_eq!(index.bytes, remote.index().bytes);
    assert!(!index.is_complete());
    assert_eq!(incoming(&world), Vec::<String>::new());
    world.check_clean();
    let world = world.reopen(DriverChoice::Auto);
    let assembly = world.store.assemble(remote.image().expect("image"));
    let assembly = assembly.expect("assemble");
    assert_eq!(assembly.missing(), []);
    let again = assembly.finish([], Some(remote.index())).expect("finish");
    assert_eq!(again, pulled);
    world.check_clean();
}

#[test]
fn a_layer_goes_on_where_it_was_cut() {
    let remote = remote();
    let blob = remote
        .image()
        .expect("image")
        .layers()
        .next()
        .expect("one")
        .blob;
    let bytes = remote.bytes(&blob);
    for cut in [0, 1, 70_000, bytes.len() - 1, bytes.len()] {
        let world = world();
        let receiving = world.store.receive(blob).expect("receive");
        assert_eq!(receiving.present(), 0);
        let error = receiving
            .take_in(Cut(&bytes[..cut.min(bytes.len() - 1)]), &mut |_| {})
            .expect_err("cut");
        assert!(matches!(error, LoadError::Read(_)), "{error}");
        assert_eq!(world.temporary(), Vec::<String>::new());
        // The engine may have ended meanwhile.
        let world = world.reopen(DriverChoice::Auto);
        let receiving = world.store.receive(blob).expect("receive");
        let present = usize::try_from(receiving.present()).expect("size");
        assert_eq!(
            present,
            cut.min(bytes.len() - 1),
            "no byte is asked for twice"
        );
        let mut told = 0;
        let received = receiving
            .take_in(&bytes[present..], &mut |so_far| told = so_far)
            .expect("take in");
        assert_eq!(told, blob.size);
        drop(received);
        // Come whole, but no image's yet: the next attempt asks for nothing.
        assert_eq!(
            world.store.receive(blob).expect("receive").present(),
            blob.size
        );
        let pulled = remote.pull(&world.store);
        assert!(world.store.image(&pulled.id).is_ok());
        world.check_clean();
        assert_eq!(incoming(&world), Vec::<String>::new());
    }
}

#[test]
fn attack_g5_what_is_not_as_its_digest_says_leaves_nothing() {
    let remote = remote();
    let blob = remote
        .image()
        .expect("image")
        .layers()
        .next()
        .expect("one")
        .blob;
    let bytes = remote.bytes(&blob);
    let mut flipped = bytes.to_vec();
    flipped[bytes.len() / 2] ^= 1;
    let mut longer = bytes.to_vec();
    longer.push(0);
    let other = crate::fixtures::gzip(&layer("other"));
    for (what, lie) in [
        ("flipped", flipped.as_slice()),
        ("longer", &longer),
        ("shorter", &bytes[..bytes.len() / 2]),
        ("another", &other),
        ("text", b"<html>Please log in to the network</html>"),
        ("nothing", b""),
    ] {
        let world = world();
        let receiving = world.store.receive(blob).expect("receive");
        let error = receiving.take_in(lie, &mut |_| {}).expect_err(what);
        assert!(!matches!(error, LoadError::Read(_)), "{what}: {error}");
        assert_eq!(incoming(&world), Vec::<String>::new(), "{what}");
        world.check_clean();
        assert_eq!(world.store.receive(blob).expect("again").present(), 0);
    }
}

#[test]
fn what_the_machine_s_crash_left_of_a_layer_is_not_believed() {
    let remote = remote();
    let world = world();
    for layer in remote.image().expect("image").layers() {
        let path = world
            .store
            .root()
            .join("incoming")
            .join(layer.blob.digest.hex());
        std::fs::write(path, vec![0; 1000]).expect("write");
        let receiving = world.store.receive(layer.blob).expect("receive");
        let present = usize::try_from(receiving.present()).expect("size");
        let rest = &remote.bytes(&layer.blob)[present..];
        receiving.take_in(rest, &mut |_| {}).expect_err("garbage");
    }
    remote.pull(&world.store);
    world.check_clean();
}

#[test]
fn a_layer_comes_in_once_at_a_time() {
    let world = world();
    let remote = remote();
    let blob = remote
        .image()
        .expect("image")
        .layers()
        .next()
        .expect("one")
        .blob;
    let receiving = world.store.receive(blob).expect("receive");
    let error = world.store.receive(blob).expect_err("busy");
    assert!(matches!(error, LoadError::Busy(_)));
    assert_eq!(world.store.forget_incoming().expect("forget"), 0);
    drop(receiving);
    world.store.receive(blob).expect("free again");
    world.store.forget_incoming().expect("forget");
    assert_eq!(incoming(&world), Vec::<String>::new());
}

#[test]
fn two_images_share_a_layer_that_came_once() {
    let world = world();
    let (one, two) = (remote(), Remote::new(&[layer("a"), layer("c")]));
    let first = world
        .store
        .assemble(one.image().expect("image"))
        .expect("one");
    let second = world
        .store
        .assemble(two.image().expect("image"))
        .expect("two");
    let mut layers: Vec<Received> = one.receive(&first, &world.store);
    let shared = second.missing()[0].blob;
    assert_eq!(layers[0].digest(), shared.digest);
    let own = world
        .store
        .receive(second.missing()[1].blob)
        .expect("receive");
    layers.push(
        own.take_in(two.layers[1].as_slice(), &mut |_| {})
            .expect("take in"),
    );
    let images = [&first, &second].map(|assembly| assembly.image().id());
    first.finish(&layers[..2], None).expect("finish");
    second
        .finish([&layers[0], &layers[2]], None)
        .expect("finish");
    drop(layers);
    let mut sorted = images;
    sorted.sort();
    assert_eq!(world.store.images(), sorted);
    world.check_clean();
}

#[test]
fn what_an_image_on_its_way_needs_stays() {
    let world = world();
    let small = Remote::new(&[layer("a")]).pull(&world.store);
    let remote = remote();
    let assembly = world
        .store
        .assemble(remote.image().expect("image"))
        .expect("assemble");
    assert_eq!(assembly.missing().len(), 1);
    let none = BTreeSet::new();
    world
        .store
        .remove_index(&small.index.expect("index"), &none)
        .expect("remove");
    let layers = remote.receive(&assembly, &world.store);
    let image = assembly.finish(&layers, None).expect("finish");
    drop(layers);
    assert_eq!(world.store.images(), [image.id]);
    world.check_clean();
}

#[test]
fn a_configuration_that_lies_about_a_layer_is_refused() {
    let world = world();
    let remote = Remote::claiming(&[layer("a")], &config(&[layer("b")]));
    let assembly = world
        .store
        .assemble(remote.image().expect("image"))
        .expect("assemble");
    let layers = remote.receive(&assembly, &world.store);
    let error = assembly.finish(&layers, None).expect_err("a lie");
    assert!(
        matches!(error, LoadError::DiffId { index: 0, .. }),
        "{error}"
    );
    drop(layers);
    assert_eq!(world.store.images(), []);
    world.check_clean();
}

#[test]
fn attack_g10_odd_documents_are_refused() {
    let good = remote();
    let layer =
        r#"{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:0","size":1}"#;
    let many = vec![layer; 100_000].join(",");
    let config =
        r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0","size":1}"#;
    for manifest in [
        format!(r#"{{"config":{config},"layers":[{many}]}}"#),
        format!(r#"{{"config":{config},"layers":[{layer}]}}"#),
        format!(r#"{{"config":{config},"layers":[],"manifests":[]}}"#),
        format!(r#"{{"config":{config},"layers":null}}"#),
        r#"{"config":null,"layers":[]}"#.to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        String::new(),
    ] {
        let read = RemoteImage::new(
            manifest.clone().into_bytes(),
            media_type::MANIFEST,
            good.config.clone(),
        );
        assert!(read.is_err(), "{}", &manifest[..manifest.len().min(80)]);
    }
    for config in [
        "",
        "null",
        "[]",
        r#"{"rootfs":null}"#,
        r#"{"rootfs":{"diff_ids":["x","y"]}}"#,
    ] {
        let read = RemoteImage::new(
            good.manifest.clone(),
            media_type::MANIFEST,
            config.as_bytes().to_vec(),
        );
        assert!(read.is_err(), "{config}");
    }
}

#[test]
fn an_image_that_goes_leaves_its_index() {
    let world = world();
    let pulled = remote().pull(&world.store);
    let digest = pulled.index.expect("index");
    world.store.remove_image(&pulled.id).expect("remove");
    world.check_clean();
    assert_eq!(world.store.index(&digest).expect("index").members, []);
    let world = world.reopen(DriverChoice::Auto);
    world.check_clean();
    assert_eq!(world.store.index(&digest).expect("index").members, []);
    remote().pull(&world.store);
    assert_eq!(world.store.index(&digest).expect("index").members.len(), 1);
    world.check_clean();
}
