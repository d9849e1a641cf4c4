//! Images that are believed, and that are not.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use wharf_distribution::trust::{Distrust, Policy, Reason};
use wharf_types::{Digest, Reference};

use crate::registry::{Content, MANIFEST, client, manifest, settings};
use crate::server::{Reply, Request, Server};

/// A key that signs.
enum Signer {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn p256() -> Self {
        let random = SystemRandom::new();
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("key");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random);
        Self::P256(pair.expect("key"))
    }

    fn ed25519() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("key");
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("key"))
    }

    fn sign(&self, payload: &str) -> String {
        STANDARD.encode(match self {
            Self::P256(pair) => pair
                .sign(&SystemRandom::new(), payload.as_bytes())
                .expect("signature")
                .as_ref()
                .to_vec(),
            Self::Ed25519(pair) => pair.sign(payload.as_bytes()).as_ref().to_vec(),
        })
    }

    /// The public key in PEM.
    fn public(&self) -> String {
        let (prefix, key) = match self {
            Self::P256(pair) => (
                "3059301306072a8648ce3d020106082a8648ce3d030107034200",
                pair.public_key().as_ref(),
            ),
            Self::Ed25519(pair) => ("302a300506032b6570032100", pair.public_key().as_ref()),
        };
        let mut der: Vec<u8> = (0..prefix.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&prefix[at..at + 2], 16).expect("hex"))
            .collect();
        der.extend(key);
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der)
        )
    }
}

fn payload(reference: &str, digest: &str, kind: &str) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{reference}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":null}}"#
    )
}

const COSIGN: &str = "cosign container image signature";

fn image_digest() -> Digest {
    Digest::of(manifest().as_bytes())
}

/// Puts signatures beside the image: under its tag, or as a referrer.
fn put(content: &mut Content, signatures: &[(String, String)], as_referrer: bool) {
    let layers: Vec<String> = signatures
        .iter()
        .map(|(payload, signature)| {
            let digest = Digest::of(payload.as_bytes());
            content.put(&format!("blobs/{digest}"), "x", payload.as_bytes());
            format!(
                r#"{{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"{digest}","size":{},"annotations":{{"dev.cosignproject.cosign/signature":"{signature}"}}}}"#,
                payload.len()
            )
        })
        .collect();
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"c","digest":"{}","size":2}},"layers":[{}]}}"#,
        Digest::of(b"{}"),
        layers.join(",")
    );
    let digest = Digest::of(document.as_bytes());
    content.put(
        &format!("manifests/{digest}"),
        MANIFEST,
        document.as_bytes(),
    );
    let image = image_digest();
    if !as_referrer {
        let tag = format!("manifests/sha256-{}.sig", image.hex());
        content.put(&tag, MANIFEST, document.as_bytes());
        return;
    }
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{},"artifactType":"application/vnd.dev.cosign.artifact.sig.v1+json"}}]}}"#,
        document.len()
    );
    content.put(
        &format!("referrers/{image}"),
        "application/vnd.oci.image.index.v1+json",
        index.as_bytes(),
    );
}

/// A policy that asks for a signature of every image.
fn policy(directory: &Path, key: &str, references: &str) -> Policy {
    std::fs::write(directory.join("key.pub"), key).expect("key");
    let path = directory.join("policy.json");
    let text =
        format!(r#"{{"default":{{"signed":{{"keys":["key.pub"],"references":{references}}}}}}}"#);
    std::fs::write(&path, text).expect("policy");
    Policy::read(&path).expect("policy")
}

/// Serves the image with what is beside it, and asks the policy about it.
async fn verdict(
    content: impl FnOnce(&str) -> Content,
    key: &str,
    references: &str,
) -> Result<(), Reason> {
    let directory = tempfile::tempdir().expect("directory");
    let policy = policy(directory.path(), key, references);
    // The payload names the server, whose port is not known before it runs.
    let served = std::sync::Arc::new(std::sync::OnceLock::<Content>::new());
    let serving = std::sync::Arc::clone(&served);
    let server = Server::start(move |request: &Request| match serving.get() {
        Some(content) => content.answer(request),
        None => Reply::status(500),
    })
    .await;
    served
        .set(content(&format!("{}/app", server.name())))
        .expect("once");
    let name: Reference = format!("{}/app:1", server.name()).parse().expect("name");
    let repository = client(settings()).repository(&name, wharf_distribution::Credentials::None);
    match policy.check(&repository, &name, &image_digest()).await {
        Ok(()) => Ok(()),
        Err(Distrust::Refused {
            image,
            registry,
            reason,
        }) => {
            assert_eq!((image, registry), (name.to_string(), server.name()));
            Err(reason)
        }
        Err(other) => panic!("{other}"),
    }
}

/// The verdict on one signature of the right key, over a payload.
async fn verdict_on(payload: impl FnOnce(&str) -> String, references: &str) -> Result<(), Reason> {
    let signer = Signer::p256();
    let key = signer.public();
    verdict(
        move |name| {
            let mut content = Content::image("1");
            let payload = payload(name);
            let signature = signer.sign(&payload);
            put(&mut content, &[(payload, signature)], false);
            content
        },
        &key,
        references,
    )
    .await
}

#[tokio::test]
async fn an_image_signed_by_the_key_is_believed() {
    for as_referrer in [false, true] {
        for signer in [Signer::p256(), Signer::ed25519()] {
            let key = signer.public();
            let other = Signer::p256();
            let content = |name: &str| {
                let mut content = Content::image("1");
                let payload = payload(name, &image_digest().to_string(), COSIGN);
                // Somebody else's signature stands before it.
                let signatures = [
                    (payload.clone(), other.sign(&payload)),
                    (payload.clone(), signer.sign(&payload)),
                ];
                put(&mut content, &signatures, as_referrer);
                content
            };
            assert_eq!(verdict(content, &key, "\"same\"").await, Ok(()));
        }
    }
}

#[tokio::test]
async fn an_image_without_a_signature_is_refused() {
    let key = Signer::p256().public();
    let content = |_: &str| Content::image("1");
    assert_eq!(
        verdict(content, &key, "\"any\"").await,
        Err(Reason::Unsigned)
    );
}

#[tokio::test]
async fn a_signature_by_another_key_or_of_another_text_is_none() {
    let key = Signer::p256().public();
    let other = Signer::p256();
    let content = |name: &str| {
        let mut content = Content::image("1");
        let payload = payload(name, &image_digest().to_string(), COSIGN);
        let signature = other.sign(&payload);
        put(&mut content, &[(payload, signature)], false);
        content
    };
    assert_eq!(
        verdict(content, &key, "\"same\"").await,
        Err(Reason::NoTrustedKey(1))
    );
    let signer = Signer::p256();
    let key = signer.public();
    let content = |name: &str| {
        let mut content = Content::image("1");
        let signed = payload(name, &Digest::of(b"another").to_string(), COSIGN);
        let shown = payload(name, &image_digest().to_string(), COSIGN);
        put(&mut content, &[(shown, signer.sign(&signed))], false);
        content
    };
    assert_eq!(
        verdict(content, &key, "\"same\"").await,
        Err(Reason::NoTrustedKey(1))
    );
}

#[tokio::test]
async fn a_signature_of_another_image_is_not_this_ones() {
    let other = Digest::of(b"another").to_string();
    assert_eq!(
        verdict_on(|name| payload(name, &other, COSIGN), "\"any\"").await,
        Err(Reason::OtherDigest(other.clone()))
    );
    // The same digits in upper case are no digest.
    let upper = image_digest().to_string().to_uppercase();
    assert_eq!(
        verdict_on(|name| payload(name, &upper, COSIGN), "\"any\"").await,
        Err(Reason::OtherDigest(upper.clone()))
    );
}

#[tokio::test]
async fn a_signature_of_another_repository_counts_as_the_policy_says() {
    let digest = image_digest().to_string();
    let on = |references: &'static str| {
        let digest = digest.clone();
        verdict_on(
            move |_| payload("quay.io/team/app", &digest, COSIGN),
            references,
        )
    };
    assert_eq!(
        on("\"same\"").await,
        Err(Reason::OtherRepository("quay.io/team/app".to_owned()))
    );
    assert_eq!(on("\"any\"").await, Ok(()));
    assert_eq!(on(r#"{"below":["quay.io/team"]}"#).await, Ok(()));
    assert_eq!(
        on(r#"{"below":["quay.io/teams","docker.io"]}"#).await,
        Err(Reason::OtherRepository("quay.io/team/app".to_owned()))
    );
}

#[tokio::test]
async fn what_is_no_statement_about_an_image_is_none() {
    for text in ["{}", "nonsense", r#"{"critical":null}"#] {
        assert_eq!(
            verdict_on(|_| text.to_owned(), "\"any\"").await,
            Err(Reason::Payload),
            "{text}"
        );
    }
    let digest = image_digest().to_string();
    assert_eq!(
        verdict_on(|name| payload(name, &digest, "a promise"), "\"any\"").await,
        Err(Reason::Payload)
    );
}

#[tokio::test]
async fn a_registry_that_is_rejected_is_named() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("policy.json");
    std::fs::write(
        &path,
        r#"{"default":"accept","repositories":{"reg.test/team":"reject"}}"#,
    )
    .expect("policy");
    let policy = Policy::read(&path).expect("policy");
    let name: Reference = "reg.test/team/app:1".parse().expect("name");
    let repository = client(settings()).repository(&name, wharf_distribution::Credentials::None);
    let error = policy
        .check(&repository, &name, &image_digest())
        .await
        .expect_err("rejected");
    assert_eq!(
        error.to_string(),
        "image reg.test/team/app:1 of registry reg.test is refused by the trust policy: images of reg.test/team are rejected"
    );
}

#[tokio::test]
async fn signatures_that_cannot_be_fetched_are_not_taken_for_none() {
    let directory = tempfile::tempdir().expect("directory");
    let policy = policy(directory.path(), &Signer::p256().public(), "\"any\"");
    let server = Server::start(|_: &Request| Reply::status(403)).await;
    let name: Reference = format!("{}/app:1", server.name()).parse().expect("name");
    let repository = client(settings()).repository(&name, wharf_distribution::Credentials::None);
    let error = policy
        .check(&repository, &name, &image_digest())
        .await
        .expect_err("nobody knows");
    assert!(matches!(error, Distrust::Fetch { .. }), "{error}");
}

/// What cosign does is what OpenSSL does: `openssl dgst -sha256 -sign`.
#[tokio::test]
async fn a_signature_of_openssls_is_believed() {
    let directory = tempfile::tempdir().expect("directory");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let (key, public, text) = (at("key"), at("public"), at("payload"));
    run(&[
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        &key,
    ]);
    run(&["ec", "-in", &key, "-pubout", "-out", &public]);
    let public = std::fs::read_to_string(&public).expect("key");
    let content = |name: &str| {
        let payload = payload(name, &image_digest().to_string(), COSIGN);
        std::fs::write(&text, &payload).expect("payload");
        let signature = STANDARD.encode(run(&["dgst", "-sha256", "-sign", &key, &text]));
        let mut content = Content::image("1");
        put(&mut content, &[(payload, signature)], false);
        content
    };
    assert_eq!(verdict(content, &public, "\"same\"").await, Ok(()));
}
