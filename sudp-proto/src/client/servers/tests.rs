use std::sync::LazyLock;

use super::*;
use crate::rng::Seed;
use crate::wire::Host;

#[expect(clippy::disallowed_methods, reason = "an epoch for virtual time")]
static EPOCH: LazyLock<Instant> = LazyLock::new(|| Instant::now() + Duration::from_secs(86_400));

#[test]
fn a_lower_priority_always_comes_first() {
    for seed in 0..100 {
        let configs = [server("a", 2, 100), server("b", 0, 1), server("c", 1, 50)];
        assert_eq!(draw_order(&configs, &mut rng(seed)), [1, 2, 0]);
    }
}

#[test]
fn weight_is_the_share_of_first_choices() {
    let configs = [server("a", 0, 3), server("b", 0, 1), server("c", 0, 0)];
    let mut rng = rng(1);
    let orders: Vec<_> = (0..4_000).map(|_| draw_order(&configs, &mut rng)).collect();
    let first = orders.iter().filter(|order| order[0] == 0).count();
    assert!((2_850..3_150).contains(&first), "{first}");
    assert!(orders.iter().all(|order| order[2] == 2), "weight 0 comes last");
}

#[test]
fn servers_that_all_weigh_nothing_keep_their_order() {
    let configs = [server("a", 0, 0), server("b", 0, 0)];
    assert_eq!(draw_order(&configs, &mut rng(1)), [0, 1]);
}

#[test]
fn a_failure_is_held_against_a_server_for_a_minute() {
    let mut rng = rng(1);
    let mut servers = Servers::new(vec![server("a", 0, 1), server("b", 1, 1)], &mut rng);
    let best = |servers: &Servers, now| servers.best(now, &[0, 1], |_| false);
    assert_eq!(best(&servers, *EPOCH), Some(0));
    servers.backoff_mut(0).handle_path_failed(*EPOCH, &mut rng);
    assert_eq!(best(&servers, *EPOCH + Duration::from_secs(59)), Some(1));
    assert_eq!(best(&servers, *EPOCH + Duration::from_secs(60)), Some(0));
}

#[test]
fn among_servers_in_trouble_the_one_tried_longest_ago_is_next() {
    let mut rng = rng(1);
    let mut servers = Servers::new(vec![server("a", 0, 1), server("b", 1, 1)], &mut rng);
    let second = *EPOCH + Duration::from_secs(1);
    for (server, now) in [(0, *EPOCH), (1, second)] {
        servers.handle_start(now, server, &mut rng);
        servers.backoff_mut(server).handle_path_failed(now, &mut rng);
    }
    assert_eq!(servers.best(second, &[0, 1], |_| false), Some(0));
    servers.handle_start(second + Duration::from_secs(1), 0, &mut rng);
    assert_eq!(servers.best(second, &[0, 1], |_| false), Some(1));
}

#[test]
fn t31_a_url_means_a_configured_server_or_none() {
    let servers = Servers::new(vec![server("a", 0, 1), server("b", 0, 1)], &mut rng(1));
    let at = |name: &str| Address { host: Host::Name(name.into()), port: 443 };
    assert_eq!(servers.find(Scheme::Wss, &at("B."), "/sudp"), Some(1));
    assert_eq!(servers.find(Scheme::Ws, &at("b"), "/sudp"), None);
    assert_eq!(servers.find(Scheme::Wss, &at("c"), "/sudp"), None);
}

fn server(name: &str, priority: u16, weight: u16) -> ServerConfig {
    let address = Address { host: Host::Name(name.into()), port: 443 };
    ServerConfig { priority, weight, ..ServerConfig::new(Scheme::Wss, address) }
}

fn rng(seed: u64) -> Rng {
    Rng::new(&Seed::from(seed))
}
