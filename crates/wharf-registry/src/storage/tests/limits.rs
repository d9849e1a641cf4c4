//! What some may not do, and what there is no room for; and what comes later.

use super::*;

#[test]
fn attack_g2_a_tag_is_kept_from_who_may_not_overwrite() {
    let app = name("app");
    let fixture = Fixture::new();
    let (bytes, digest) = fixture.image(&app, "one");
    let config = fixture.blob(&app, b"{}");
    let other = manifest(config, config, None);
    let put = |tagged: &str, bytes: &[u8]| {
        fixture
            .storage
            .put_manifest(&app, &tag(tagged), bytes, None, Overwrite::Refused)
    };
    assert!(matches!(
        put("latest", &other),
        Err(StorageError::TagExists { .. })
    ));
    assert!(
        put("latest", &bytes).is_ok(),
        "the same again changes nothing"
    );
    assert!(put("new", &other).is_ok());
    let served = fixture
        .storage
        .manifest(&app, &tag("latest"))
        .expect("served");
    assert_eq!(served.digest, digest);
}

#[test]
fn attack_g7_an_upload_is_its_owners() {
    let app = name("app");
    let mut fixture = Fixture::new();
    let id = fixture
        .storage
        .begin_upload(&app, Some("anna"))
        .expect("begins");
    let nobodys = fixture.storage.begin_upload(&app, None).expect("begins");
    for _ in 0..2 {
        let check = |id, who| fixture.storage.check_owner(&app, id, who).is_ok();
        assert!(check(&id, Some("anna")));
        assert!(!check(&id, Some("bert")));
        assert!(!check(&id, None));
        assert!(check(&nobodys, Some("bert")));
        fixture = fixture.reopened();
    }
}

#[test]
fn a_quota_holds_over_pushes_mounts_and_restarts() {
    let (app, mine) = (name("team/app"), name("team/mine"));
    let quota = || {
        vec![Quota {
            prefix: "team".to_owned(),
            limit: 20,
        }]
    };
    let Fixture { storage, directory } = Fixture::new();
    let mut fixture = Fixture {
        storage: storage.with_quotas(quota()),
        directory,
    };
    let ten = fixture.blob(&app, b"0123456789");
    let other = fixture.blob(&name("other"), b"0123456789abcdef");
    for _ in 0..2 {
        let storage = &fixture.storage;
        assert!(
            storage
                .mount(&mine, &app, ten)
                .expect("it is counted already")
        );
        assert!(matches!(
            storage.mount(&mine, &name("other"), other),
            Err(StorageError::Quota(_))
        ));
        let id = storage.begin_upload(&app, None).expect("begins");
        let more = storage.append(&app, &id, Expected::default(), b"01234567890".as_slice());
        assert!(matches!(more, Err(UploadError::Quota(_))), "{more:?}");
        storage.cancel_upload(&app, &id).expect("ends");
        let Fixture { storage, directory } = fixture.reopened();
        fixture = Fixture {
            storage: storage.with_quotas(quota()),
            directory,
        };
    }
    fixture.storage.delete_blob(&app, ten).expect("deleted");
    fixture.storage.delete_blob(&mine, ten).expect("deleted");
    assert!(
        fixture
            .storage
            .mount(&mine, &name("other"), other)
            .expect("there is room")
    );
}

#[test]
fn a_cached_manifest_keeps_the_blobs_that_come_later() {
    let hub = name("hub/app");
    let mut fixture = Fixture::new();
    let (config, layer) = (Digest::of(b"{}"), Digest::of(b"layer"));
    let bytes = manifest(config, layer, None);
    fixture
        .storage
        .put_cached_manifest(&hub, &tag("1"), &bytes, None)
        .expect("stored");
    fixture.blob(&hub, b"{}");
    fixture = fixture.reopened();
    let later = SystemTime::now() + Duration::from_secs(30 * 24 * 3600);
    let kept = fixture
        .storage
        .collect(Retention::default(), later)
        .expect("collects");
    assert_eq!(kept.blobs, 0);
    assert_eq!(fixture.storage.blob_size(&hub, config), Some(2));
    assert_eq!(fixture.storage.blob_size(&hub, layer), None);
}
