//! The table beside other people's rules.

use serde_json::Value;
use wharf_network::{Aftermath, PortRequest, Protocol};

use crate::lab::{
    PATIENCE, SILENCE, ask, attempt, host, inside, json, neighbour, network, nft, request, run,
    serve, until,
};

/// The table as nft prints it, with one port of each kind published.
#[test]
fn table_is_as_documented() {
    host(|| {
        let network = network();
        let container = network.take().unwrap().address;
        let udp = PortRequest {
            protocol: Protocol::Udp,
            ..request("0.0.0.0", 53, container, 5353)
        };
        network
            .publish(&[request("127.0.0.1", 8080, container, 80), udp])
            .unwrap();
        let expected = r#"table inet wharf {
	comment "wharf: containers on wharf0"
	map published {
		type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service
		elements = { tcp . 127.0.0.1 . 8080 : 172.17.0.2 . 80 }
	}

	map published_anywhere {
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { udp . 53 : 172.17.0.2 . 5353 }
	}

	chain publish {
		dnat ip to meta l4proto . ip daddr . th dport map @published
		meta nfproto ipv4 dnat ip to meta l4proto . th dport map @published_anywhere
	}

	chain guard {
		type filter hook prerouting priority raw; policy accept;
		iifname != "lo" ip daddr 127.0.0.0/8 drop
		iifname != "lo" ip saddr 127.0.0.0/8 drop
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump publish
	}

	chain output {
		type nat hook output priority -100; policy accept;
		fib daddr type local jump publish
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 172.17.0.0/16 oifname != "wharf0" masquerade
		oifname "wharf0" ip saddr 127.0.0.0/8 masquerade
		oifname "wharf0" ip saddr 172.17.0.0/16 ct status dnat masquerade
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		oifname != "wharf0" accept
		iifname "wharf0" accept
		ct state established,related accept
		ct status dnat accept
		oifname "wharf0" drop
	}
}
"#;
        assert_eq!(run("nft list table inet wharf"), expected);
    });
}

#[test]
fn rules_swept_away_come_back() {
    host(|| {
        let neighbour = neighbour();
        let network = network();
        let web = network.take().unwrap();
        serve(&web.netns, 80, "web");
        network
            .publish(&[request("0.0.0.0", 8080, web.address, 80)])
            .unwrap();
        let rules = || run("nft list ruleset");
        // A table that has been loaded again has another handle.
        let handle = || attempt("nft -a list table inet wharf").1;
        let before = rules();
        for sweep in [
            "nft flush ruleset",
            "nft delete table inet wharf",
            "nft flush chain inet wharf publish",
            "nft delete element inet wharf published_anywhere { tcp . 8080 }",
            "nft add element inet wharf published_anywhere { tcp . 22 : 172.17.0.2 . 22 }",
            "nft insert rule inet wharf forward accept",
        ] {
            let first = handle();
            run(sweep);
            let start = std::time::Instant::now();
            until(sweep, || handle() != first && rules() == before);
            assert!(
                start.elapsed().as_millis() < 1000,
                "{sweep}: {:?}",
                start.elapsed()
            );
        }
        assert_eq!(
            inside(&neighbour, || ask("192.0.2.1", 8080, PATIENCE)).unwrap(),
            "web 192.0.2.2"
        );
    });
}

#[test]
fn ports_can_be_published_the_moment_after_a_sweep() {
    host(|| {
        let network = network();
        let web = network.take().unwrap();
        serve(&web.netns, 80, "web");
        let first = network
            .publish(&[request("0.0.0.0", 8080, web.address, 80)])
            .unwrap();
        run("nft flush ruleset");
        network
            .publish(&[request("0.0.0.0", 8081, web.address, 80)])
            .unwrap();
        assert!(ask("127.0.0.1", 8080, PATIENCE).is_some());
        assert!(ask("127.0.0.1", 8081, PATIENCE).is_some());
        run("nft flush ruleset");
        network.unpublish(&first).unwrap();
        assert_eq!(ask("127.0.0.1", 8080, SILENCE), None);
        assert!(ask("127.0.0.1", 8081, PATIENCE).is_some());
    });
}

/// Rules in a foreign chain that carry our comment.
fn ours(family: &str, table: &str, chain: &str) -> usize {
    let listed = json(&format!("nft -j list chain {family} {table} {chain}"));
    let rules = listed["nftables"].as_array().unwrap().iter();
    rules
        .filter(|item| item["rule"]["comment"] == "wharf: containers on wharf0")
        .count()
}

const DROPPING: &str =
    "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop;
}
}";
const REJECTING: &str = "table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10; policy accept
    ct state established accept
    counter reject with icmpx admin-prohibited
}
}";
const HARMLESS: &str =
    "table ip other { chain forward { type filter hook forward priority 0; policy accept
    ip saddr 198.51.100.1 drop
}
}";

#[test]
fn forward_chains_that_drop_are_told_of_the_bridge() {
    host(|| {
        let neighbour = neighbour();
        [DROPPING, REJECTING, HARMLESS].into_iter().for_each(nft);
        let network = network();
        let web = network.take().unwrap();
        serve(&web.netns, 80, "web");
        serve(&neighbour, 443, "internet");
        network
            .publish(&[request("0.0.0.0", 8080, web.address, 80)])
            .unwrap();
        let works = || {
            assert_eq!(
                inside(&neighbour, || ask("192.0.2.1", 8080, PATIENCE)).unwrap(),
                "web 192.0.2.2"
            );
            assert_eq!(
                inside(&web.netns, || ask("192.0.2.2", 443, PATIENCE)).unwrap(),
                "internet 192.0.2.1"
            );
        };
        works();
        assert_eq!(ours("ip", "filter", "FORWARD"), 2);
        assert_eq!(ours("inet", "firewalld", "filter_FORWARD"), 2);
        assert_eq!(ours("ip", "other", "forward"), 0);

        // Their owners reload them.
        run("nft flush chain ip filter FORWARD");
        run("nft delete table inet firewalld");
        nft(REJECTING);
        until("both are told again", || {
            ours("ip", "filter", "FORWARD") == 2 && ours("inet", "firewalld", "filter_FORWARD") == 2
        });
        works();

        network.close(Aftermath::Remove).unwrap();
        assert_eq!(ours("ip", "filter", "FORWARD"), 0);
        assert_eq!(ours("inet", "firewalld", "filter_FORWARD"), 0);
    });
}

#[test]
fn forward_policy_that_turns_to_drop_later_is_noticed() {
    host(|| {
        let _network = network();
        nft("table ip filter { chain FORWARD { type filter hook forward priority 0;\n }\n}");
        run("nft chain ip filter FORWARD { policy drop; }");
        until("the chain is told", || ours("ip", "filter", "FORWARD") == 2);
        let rules = json("nft -j list chain ip filter FORWARD");
        let texts: Vec<&Value> = rules["nftables"].as_array().unwrap().iter().collect();
        assert!(
            texts
                .iter()
                .any(|item| item["rule"]["expr"][0]["match"]["right"] == "wharf0"),
            "{rules}"
        );
    });
}

#[test]
fn iptables_lists_and_keeps_our_rules() {
    host(|| {
        run("iptables-nft -P FORWARD DROP");
        let _network = network();
        let ours = "\
            -P FORWARD DROP\n\
            -A FORWARD -i wharf0 -m comment --comment \"wharf: containers on wharf0\" -j ACCEPT\n\
            -A FORWARD -o wharf0 -m comment --comment \"wharf: containers on wharf0\" -j ACCEPT\n";
        assert_eq!(run("iptables-nft -S FORWARD"), ours);
        run("iptables-nft -A FORWARD -s 198.51.100.7 -j DROP");
        let listed = run("iptables-nft -S FORWARD");
        assert_eq!(
            listed,
            format!("{ours}-A FORWARD -s 198.51.100.7/32 -j DROP\n")
        );
    });
}
