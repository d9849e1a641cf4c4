//! The bridge: made, chosen, kept, repaired, refused.

use wharf_network::{Aftermath, BridgeConfig, BridgeNetwork, Existing, OpenError, Warning};

use crate::lab::{attempt, host, json, neighbour, network, run};

fn open(config: BridgeConfig) -> Result<BridgeNetwork, OpenError> {
    BridgeNetwork::open(BridgeConfig { pool: 0, ..config }, Existing::default())
}

fn addresses() -> Vec<String> {
    let links = json("ip -j -4 addr show wharf0");
    let addresses = links[0]["addr_info"].as_array().unwrap();
    addresses
        .iter()
        .map(|info| format!("{}/{}", info["local"].as_str().unwrap(), info["prefixlen"]))
        .collect()
}

#[test]
fn bridge_is_made_on_a_subnet_of_its_own() {
    host(|| {
        let _neighbour = neighbour();
        run("ip route add 172.16.0.0/15 via 192.0.2.2");
        let network = open(BridgeConfig::default()).unwrap();
        assert_eq!(network.address().to_string(), "172.18.0.1/16");
        assert_eq!(network.mtu(), 1400, "as the way out");
        assert_eq!(network.warnings(), [Warning::ForwardingTurnedOn]);
        let link = &json("ip -j -d link show wharf0")[0];
        assert_eq!(
            (&link["mtu"], &link["linkinfo"]["info_kind"]),
            (&1400.into(), &"bridge".into())
        );
        assert_eq!(addresses(), ["172.18.0.1/16"]);
        assert_eq!(run("ip -6 addr show wharf0"), "");
        assert_eq!(
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
            "1\n"
        );
    });
}

#[test]
fn bridge_that_is_there_keeps_its_address() {
    host(|| {
        run("ip link add wharf0 type bridge");
        run("ip addr add 10.1.2.3/24 dev wharf0");
        let network = open(BridgeConfig::default()).unwrap();
        assert_eq!(network.address().to_string(), "10.1.2.3/24");
        assert_eq!(network.take().unwrap().gateway.to_string(), "10.1.2.3");
    });
}

#[test]
fn asked_for_address_replaces_another() {
    host(|| {
        drop(network());
        let address = Some("10.5.0.1/24".parse().unwrap());
        let config = BridgeConfig {
            address,
            mtu: Some(1280),
            ..BridgeConfig::default()
        };
        let network = open(config).unwrap();
        assert_eq!(addresses(), ["10.5.0.1/24"]);
        assert_eq!(network.take().unwrap().address.to_string(), "10.5.0.2");
        assert_eq!(json("ip -j link show wharf0")[0]["mtu"], 1280);
    });
}

#[test]
fn subnet_that_is_routed_elsewhere_is_told() {
    host(|| {
        run("ip route add unreachable 10.5.4.0/24");
        let config = BridgeConfig {
            address: Some("10.5.0.1/16".parse().unwrap()),
            ..BridgeConfig::default()
        };
        let told = |network: BridgeNetwork| network.warnings()[0].to_string();
        let expected = "the bridge's subnet 10.5.0.0/16 overlaps the host's route to 10.5.4.0/24: one hides the other";
        assert_eq!(told(open(config.clone()).unwrap()), expected);
        assert_eq!(
            told(open(config).unwrap()),
            expected,
            "its own routes are no reason"
        );
    });
}

#[test]
fn closing_removes_all_or_nothing() {
    host(|| {
        let network = open(BridgeConfig::default()).unwrap();
        network.close(Aftermath::Keep).unwrap();
        assert!(attempt("ip link show wharf0").0);
        assert!(run("nft list tables").contains("table inet wharf\n"));
        let network = open(BridgeConfig::default()).unwrap();
        assert_eq!(network.warnings(), []);
        network.close(Aftermath::Remove).unwrap();
        assert!(!attempt("ip link show wharf0").0);
        assert_eq!(run("nft list ruleset"), "");
    });
}

#[test]
fn engines_with_bridges_of_their_own_live_side_by_side() {
    host(|| {
        let one = open(BridgeConfig::default()).unwrap();
        let config = BridgeConfig {
            name: "wharf-two".to_owned(),
            ..BridgeConfig::default()
        };
        let two = open(config).unwrap();
        assert_eq!(one.address().to_string(), "172.17.0.1/16");
        assert_eq!(two.address().to_string(), "172.18.0.1/16");
        assert_eq!(
            run("nft list tables"),
            "table inet wharf\ntable inet wharf-wharf-two\n"
        );
        let first = run("nft list table inet wharf");
        assert!(
            !first.contains("wharf-two"),
            "it leaves the other's table alone: {first}"
        );
        two.close(Aftermath::Remove).unwrap();
        assert_eq!(run("nft list tables"), "table inet wharf\n");
    });
}

#[test]
fn impossible_bridges_are_refused() {
    host(|| {
        run("ip link add dummy0 type veth peer name dummy1");
        run("ip route add unreachable 172.16.0.0/12");
        run("ip route add unreachable 192.168.0.0/16");
        let error = |config| open(config).unwrap_err().to_string();
        let named = |name: &str| BridgeConfig {
            name: name.to_owned(),
            ..BridgeConfig::default()
        };
        let at = |address: &str| BridgeConfig {
            address: Some(address.parse().unwrap()),
            ..BridgeConfig::default()
        };
        assert_eq!(error(named("dummy0")), "interface dummy0 is not a bridge");
        assert_eq!(error(named("../../x")), "invalid bridge name \"../../x\"");
        assert!(error(at("10.0.0.0/24")).starts_with("invalid bridge address 10.0.0.0/24"));
        assert!(error(at("10.0.0.1/31")).starts_with("invalid bridge address 10.0.0.1/31"));
        assert_eq!(
            error(BridgeConfig::default()),
            "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
        );
        assert!(!attempt("ip link show wharf0").0, "nothing was made");
    });
}
