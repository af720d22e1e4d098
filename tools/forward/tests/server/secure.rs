//! TLS, nkeys, and the credentials that an operator gives.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Output;

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa};
use rcgen::{DnType, KeyUsagePurpose, SanType};
use serde_json::{Value, json};

use crate::harness::{
    MADE, Server, assert_one_sentence, err, forward, merge_with, output, ring, write,
};

/// Runs both programs with this access: what each says. The forwarder gives up soon.
fn both(ring: &Path, target: &str, access: &[&str]) -> [Output; 2] {
    let away = ["--on-away", "wait:100ms"];
    let forwarded = forward(ring, target, &[&MADE[..], &away, access].concat());
    [output(forwarded), merge_with(target, access)]
}

#[track_caller]
fn assert_both_fail(outputs: &[Output; 2], code: i32, sentence: &str) {
    outputs.iter().for_each(|output| assert_one_sentence(output, code, sentence));
}

#[track_caller]
fn assert_both_pass(outputs: &[Output; 2], text: &str) {
    outputs.iter().for_each(|output| assert!(output.status.success(), "{}", err(output)));
    let merged = String::from_utf8_lossy(&outputs[1].stdout);
    assert!(merged.contains(text), "{merged}");
}

type Authority = CertifiedIssuer<'static, rcgen::KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().expect("a key"))
        .expect("a certificate")
}

/// Writes NAME.pem and NAME.key.
fn certificate(folder: &Path, name: &str, by: &Authority, usage: ExtendedKeyUsagePurpose) {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress(IpAddr::from([127, 0, 0, 1]))];
    params.extended_key_usages = vec![usage];
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, by).expect("a certificate");
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("a file");
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("a file");
}

#[test]
fn certificates_are_checked_on_both_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (ours, others) = (authority("ours"), authority("others"));
    fs::write(at("ca.pem"), ours.pem()).expect("a file");
    fs::write(at("other-ca.pem"), others.pem()).expect("a file");
    fs::write(at("empty.pem"), "").expect("a file");
    certificate(folder.path(), "server", &ours, ExtendedKeyUsagePurpose::ServerAuth);
    certificate(folder.path(), "client", &ours, ExtendedKeyUsagePurpose::ClientAuth);
    certificate(folder.path(), "stranger", &others, ExtendedKeyUsagePurpose::ClientAuth);
    let [ca, other_ca, empty, none] = ["ca.pem", "other-ca.pem", "empty.pem", "none.pem"].map(at);
    let [cert, key, strange_cert, strange_key] =
        ["client.pem", "client.key", "stranger.pem", "stranger.key"].map(at);
    let options = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {ca:?}, verify: true }}",
        at("server.pem"),
        at("server.key")
    );
    let server = Server::start_in(folder, &options);
    let path = server.path("a.ring");
    write(&ring(&path, 64), &["one"]);
    let target = server.target();
    let run = |access: &[&str]| both(&path, &target, access);
    let with_ca = |ca: &str| run(&["--tls-ca", ca, "--tls-cert", &cert, "--tls-key", &key]);

    assert_both_fail(&with_ca(&other_ca), 1, "invalid peer certificate: UnknownIssuer");
    assert_both_fail(&with_ca(&none), 2, "cannot read the certificate in ");
    assert_both_fail(&with_ca(&empty), 2, "there is no certificate in ");
    assert_both_fail(&run(&["--tls-ca", &ca]), 1, "expected --tls-cert and --tls-key");
    let strange = ["--tls-ca", &ca, "--tls-cert", &strange_cert, "--tls-key", &strange_key];
    assert_both_fail(&run(&strange), 1, "the server does not take the certificate");
    let swapped = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &cert];
    assert_both_fail(&run(&swapped), 2, "there is no key in ");
    let another = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &strange_key];
    assert_both_fail(&run(&another), 1, "could not add certificate or key");
    let localhost = target.replace("127.0.0.1", "localhost");
    let whole = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key];
    let other_name = both(&path, &localhost, &whole);
    assert_both_fail(&other_name, 1, "certificate not valid for name \"localhost\"");
    assert_both_pass(&with_ca(&ca), "one");
}

#[test]
fn a_server_without_tls_is_not_sent_secrets_where_tls_is_asked_for() {
    let server = Server::start("");
    let path = server.path("a.ring");
    write(&ring(&path, 64), &["one"]);
    let target = server.target().replace("nats://", "tls://");
    assert_both_fail(&both(&path, &target, &[]), 1, "the server does not speak TLS");
}

#[test]
fn a_nkey_is_taken_and_another_is_not() {
    let (known, unknown) = (KeyPair::new_user(), KeyPair::new_user());
    let users = format!("authorization {{ users = [ {{ nkey: {} }} ] }}", known.public_key());
    let server = Server::start(&users);
    let path = server.path("a.ring");
    write(&ring(&path, 64), &["one"]);
    let target = server.target();
    let run = |seed: &str| both(&path, &target, &["--nkey", seed]);
    let seed = |name: &str, pair: &KeyPair| server.file(name, &pair.seed().expect("a seed"));
    assert_both_fail(&run("/nonexistent"), 2, "cannot read the seed in /nonexistent");
    assert_both_fail(&run(&server.file("no.nk", "no seed")), 2, "no.nk has no seed of a nkey");
    assert_both_fail(&run(&seed("unknown.nk", &unknown)), 1, "authorization violation");
    assert_both_pass(&run(&seed("known.nk", &known)), "one");
}

/// A JWT as NATS has it: signed by one key, about another.
fn jwt(by: &KeyPair, about: &str, nats: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let head = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let claims = json!({
        "jti": "TEST", "iat": 1_700_000_000, "iss": by.public_key(), "name": "test", "sub": about,
        "nats": nats,
    });
    let signed = format!("{}.{}", part(&head), part(&claims));
    let signature = by.sign(signed.as_bytes()).expect("a key that signs");
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// As `nsc generate creds` writes it.
fn creds(account: &KeyPair, user: &KeyPair) -> String {
    let nats = json!({"subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2});
    format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt(account, &user.public_key(), &nats),
        user.seed().expect("a seed")
    )
}

#[test]
fn an_operators_credentials_are_taken_and_those_of_another_account_are_not() {
    let operator = KeyPair::new_operator();
    let (account, system) = (KeyPair::new_account(), KeyPair::new_account());
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1,
        "consumer": -1,
    });
    let of_system = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1,
    });
    let as_account = |limits| json!({"limits": limits, "type": "account", "version": 2});
    let options = format!(
        "operator: {}\nsystem_account: {system}\nresolver: MEMORY\n\
         resolver_preload {{ {account}: {}, {system}: {} }}",
        jwt(&operator, &operator.public_key(), &json!({"type": "operator", "version": 2})),
        jwt(&operator, &account.public_key(), &as_account(limits)),
        jwt(&operator, &system.public_key(), &as_account(of_system)),
        account = account.public_key(),
        system = system.public_key(),
    );
    let server = Server::start(&options);
    let path = server.path("a.ring");
    write(&ring(&path, 64), &["one"]);
    let target = server.target();
    let run = |name: &str, text: &str| both(&path, &target, &["--creds", &server.file(name, text)]);
    assert_both_fail(&both(&path, &target, &[]), 1, "authorization violation");
    let text = "no credentials";
    assert_both_fail(&run("none.creds", text), 2, "cannot read the credentials in ");
    let stranger = creds(&KeyPair::new_account(), &KeyPair::new_user());
    assert_both_fail(&run("stranger.creds", &stranger), 1, "authorization violation");
    let user = creds(&account, &KeyPair::new_user());
    assert_both_pass(&run("user.creds", &user), "one");
    // Of an account without JetStream.
    let user = creds(&system, &KeyPair::new_user());
    assert_both_fail(&run("system.creds", &user), 2, "JetStream");
}
