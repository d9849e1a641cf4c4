//! Sandboxes: what is in them, and that nothing is left of them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use serde_json::json;
use wharf_network::{BridgeConfig, BridgeNetwork, Existing, IsolatedPool, SandboxError};

use crate::lab::{
    PATIENCE, SILENCE, ask, attempt, host, inside, json, network, own_netns, ports_of_the_bridge,
    run, serve, until,
};

#[test]
fn sandbox_is_complete() {
    host(|| {
        let network = network();
        let sandbox = network.take().unwrap();
        assert_eq!(sandbox.address, Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(
            (sandbox.prefix, sandbox.gateway),
            (16, Ipv4Addr::new(172, 17, 0, 1))
        );
        let (links, addresses, routes, settings) = inside(&sandbox.netns, || {
            (
                json("ip -j link"),
                run("ip -br addr"),
                run("ip route"),
                [
                    "net/ipv4/ip_unprivileged_port_start",
                    "net/ipv4/ping_group_range",
                    "net/ipv6/conf/eth0/disable_ipv6",
                    "net/ipv6/conf/lo/disable_ipv6",
                ]
                .map(|path| std::fs::read_to_string(format!("/proc/sys/{path}")).unwrap()),
            )
        });
        assert_eq!(links.as_array().unwrap().len(), 2, "{links}");
        assert_eq!(links[0]["flags"], json!(["LOOPBACK", "UP", "LOWER_UP"]));
        assert_eq!(links[1]["ifname"], "eth0");
        assert_eq!(links[1]["operstate"], "UP");
        assert_eq!(links[1]["address"], sandbox.mac.to_string());
        assert_eq!(links[1]["mtu"], 1500);
        assert!(addresses.contains("172.17.0.2/16"), "{addresses}");
        assert!(
            addresses.contains("::1/128") && !addresses.contains("fe80"),
            "{addresses}"
        );
        assert_eq!(
            routes.lines().map(str::trim).collect::<Vec<_>>(),
            [
                "default via 172.17.0.1 dev eth0",
                "172.17.0.0/16 dev eth0 proto kernel scope link src 172.17.0.2"
            ]
        );
        assert_eq!(settings, ["0\n", "0\t2147483647\n", "1\n", "0\n"]);
        let port = || json(&format!("ip -j -d link show {}", sandbox.host_interface))[0].take();
        until("the port is up", || port()["operstate"] == "UP");
        let port = port();
        assert_eq!(port["master"], "wharf0");
        assert_eq!(port["linkinfo"]["info_slave_data"]["hairpin"], true);
        assert_eq!(
            run(&format!("ip -6 addr show {}", sandbox.host_interface)),
            ""
        );
    });
}

#[test]
fn containers_and_host_reach_each_other() {
    host(|| {
        let network = network();
        let [a, b] = [network.take().unwrap(), network.take().unwrap()];
        serve(&a.netns, 80, "a");
        let address = a.address.to_string();
        assert_eq!(ask(&address, 80, PATIENCE).unwrap(), "a 172.17.0.1");
        let from_b = inside(&b.netns, || ask(&address, 80, PATIENCE));
        assert_eq!(from_b.unwrap(), format!("a {}", b.address));
    });
}

#[test]
fn dry_pool_makes_sandboxes_at_once() {
    host(|| {
        let config = BridgeConfig {
            pool: 0,
            ..BridgeConfig::default()
        };
        let network = BridgeNetwork::open(config, Existing::default()).unwrap();
        let taken: Vec<_> = (0..5).map(|_| network.take().unwrap()).collect();
        let addresses: BTreeSet<_> = taken.iter().map(|sandbox| sandbox.address).collect();
        assert_eq!(addresses.len(), 5);
        assert_eq!(ports_of_the_bridge(), 5);
    });
}

#[test]
fn many_takers_at_once_get_different_sandboxes() {
    host(|| {
        let network = network();
        let addresses: Vec<_> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let taken = (0..4).map(|_| network.take().unwrap());
                        taken.map(|sandbox| sandbox.address).collect::<Vec<_>>()
                    })
                })
                .collect();
            takers
                .into_iter()
                .flat_map(|taker| taker.join().unwrap())
                .collect()
        });
        assert_eq!(addresses.len(), 32);
        assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), 32);
    });
}

#[test]
fn closed_sandbox_leaves_nothing() {
    host(|| {
        let network = network();
        let sandbox = network.take().unwrap();
        let interface = sandbox.host_interface.clone();
        network.release(sandbox.address);
        drop(sandbox);
        until("the interface is gone", || {
            !attempt(&format!("ip link show {interface}")).0
        });
        drop(network);
        until("the pool's interfaces are gone", || {
            ports_of_the_bridge() == 0
        });
    });
}

#[test]
fn killed_engine_leaves_no_interface() {
    host(|| {
        let mut engine = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "sandbox::engine_that_waits_to_be_killed",
                "--nocapture",
            ])
            .env("WHARF_TEST_ENGINE", "1")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        until("the engine's pool is full", || {
            attempt("nft list table inet wharf").0 && ports_of_the_bridge() == 4
        });
        let pid = engine.id();
        let error = BridgeNetwork::open(BridgeConfig::default(), Existing::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("bridge wharf0 is used by another engine (process {pid})")
        );
        engine.kill().unwrap();
        engine.wait().unwrap();
        until("its interfaces are gone", || ports_of_the_bridge() == 0);
        assert_eq!(
            network().take().unwrap().address,
            Ipv4Addr::new(172, 17, 0, 2)
        );
    });
}

/// The other process of the test above; by itself it does nothing.
#[test]
fn engine_that_waits_to_be_killed() {
    if std::env::var_os("WHARF_TEST_ENGINE").is_none() {
        return;
    }
    let config = BridgeConfig {
        pool: 4,
        ..BridgeConfig::default()
    };
    let _network = BridgeNetwork::open(config, Existing::default()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn addresses_in_use_are_not_given() {
    host(|| {
        let in_use = [2, 3, 5].map(|last| Ipv4Addr::new(172, 17, 0, last));
        let existing = Existing {
            addresses: &in_use,
            ..Existing::default()
        };
        let config = BridgeConfig {
            pool: 0,
            ..BridgeConfig::default()
        };
        let network = BridgeNetwork::open(config, existing).unwrap();
        let taken = [(); 3].map(|()| network.take().unwrap().address);
        assert_eq!(taken, [4, 6, 7].map(|last| Ipv4Addr::new(172, 17, 0, last)));
    });
}

#[test]
fn full_subnet_says_so_and_recovers() {
    host(|| {
        let config = BridgeConfig {
            address: Some("10.9.8.1/30".parse().unwrap()),
            pool: 0,
            ..BridgeConfig::default()
        };
        let network = BridgeNetwork::open(config, Existing::default()).unwrap();
        let only = network.take().unwrap();
        let error = network.take().unwrap_err();
        assert!(matches!(error, SandboxError::NoAddress { .. }));
        assert_eq!(
            error.to_string(),
            "no available IPv4 addresses on network 10.9.8.0/30"
        );
        network.release(only.address);
        drop(only);
        assert_eq!(network.take().unwrap().address, Ipv4Addr::new(10, 9, 8, 2));
    });
}

#[test]
fn isolated_namespace_has_loopback_only() {
    host(|| {
        let pool = IsolatedPool::open(1).unwrap();
        for _ in 0..4 {
            let netns = pool.take().unwrap();
            let links = inside(netns.as_fd(), || json("ip -j link"));
            assert_eq!(links.as_array().unwrap().len(), 1, "{links}");
            assert_eq!(links[0]["flags"], json!(["LOOPBACK", "UP", "LOWER_UP"]));
        }
    });
}

#[test]
fn running_container_is_attached_again_to_a_bridge_that_was_deleted() {
    host(|| {
        let first = network();
        let container = first.take().unwrap();
        serve(&container.netns, 80, "still here");
        let address = container.address.to_string();
        drop(first);
        run("ip link del wharf0");
        let existing = Existing {
            addresses: &[container.address],
            ..Existing::default()
        };
        let second = BridgeNetwork::open(BridgeConfig::default(), existing).unwrap();
        assert_eq!(ask(&address, 80, SILENCE), None);
        second.adopt(container.netns.as_fd()).unwrap();
        assert_eq!(
            ask(&address, 80, PATIENCE).unwrap(),
            "still here 172.17.0.1"
        );
        second.adopt(container.netns.as_fd()).unwrap();
    });
}

/// A first packet lost on the way would be sent again after a second.
#[test]
fn sandbox_made_at_once_is_heard_at_once() {
    host(|| {
        let config = BridgeConfig {
            pool: 0,
            ..BridgeConfig::default()
        };
        let network = BridgeNetwork::open(config, Existing::default()).unwrap();
        let gateway = network.address().addr().to_string();
        serve(own_netns(), 80, "host");
        for _ in 0..30 {
            let sandbox = network.take().unwrap();
            let start = std::time::Instant::now();
            let answer = inside(&sandbox.netns, || ask(&gateway, 80, PATIENCE));
            assert_eq!(answer.unwrap(), format!("host {}", sandbox.address));
            assert!(start.elapsed().as_millis() < 1000, "{:?}", start.elapsed());
        }
    });
}

#[test]
fn attack_n7_container_gets_no_ipv6_address() {
    host(|| {
        let network = network();
        let sandbox = network.take().unwrap();
        inside(&sandbox.netns, || {
            run("ip link set eth0 down");
            run("ip link set eth0 up");
            assert_eq!(run("ip -6 addr show eth0"), "");
        });
    });
}
