//! Stories of clients and servers on real sockets. Each is told four times: by both adapters, and across them.
//!
//! Nothing here asserts how long something takes: a story waits for what must come, and has patience.

#![expect(clippy::wildcard_enum_match_arm, reason = "a story waits for the events that concern it")]

mod creds;
mod drains;
mod flows;
mod life;
mod limits;
mod links;
mod outages;
mod paths;
#[expect(clippy::unwrap_used, reason = "what fails there fails the test")]
#[expect(dead_code, reason = "of the proxies, one is needed here")]
#[path = "../proxies/programs.rs"]
mod programs;
mod relay;
mod rig;
mod sealed;
mod side;
mod tls;
mod udp;
mod watch;

use std::future::Future;
use std::time::Duration;

use sudp_async_std::AsyncStd;
use sudp_tokio::Tokio;

macro_rules! stories {
    ($($room:ident { $($story:ident)+ })+) => {
        stories!(@ tokio_to_tokio Tokio Tokio $($room { $($story)+ })+);
        stories!(@ tokio_to_async_std Tokio AsyncStd $($room { $($story)+ })+);
        stories!(@ async_std_to_tokio AsyncStd Tokio $($room { $($story)+ })+);
        stories!(@ async_std_to_async_std AsyncStd AsyncStd $($room { $($story)+ })+);
    };
    (@ $pairing:ident $client:ident $server:ident $($room:ident { $($story:ident)+ })+) => {
        mod $pairing {
            $(mod $room {
                $(#[test]
                fn $story() {
                    crate::tell(crate::$room::$story::<crate::$client, crate::$server>());
                })+
            })+
        }
    };
}

stories! {
    creds {
        a_new_credential_takes_the_place_of_one_that_ends_and_the_session_goes_on
        a_grant_that_ends_takes_its_session_with_it_within_a_second
        a_ticket_that_is_handed_out_later_is_the_one_that_is_shown
    }
    paths {
        a_forward_tunnel_carries_datagrams_there_and_back
        a_reverse_tunnel_begins_at_the_server
        every_source_has_a_flow_and_a_port_of_its_own
        three_hundred_sources_at_once_are_all_answered
        ipv6_is_carried_like_ipv4
        datagrams_of_every_size_arrive_whole
        a_name_is_looked_up_where_the_tunnel_ends
        a_service_that_was_down_is_reached_once_it_is_up
        a_source_that_went_away_is_no_trouble_for_the_others
    }
    outages {
        a_reset_loses_nothing_and_doubles_nothing
        a_connection_that_hangs_is_replaced
        a_connection_that_swallows_what_the_client_says_is_replaced
        a_connection_that_swallows_what_the_server_says_is_replaced
        what_only_the_server_sends_survives_a_connection_that_hangs
        a_path_that_is_gone_for_a_while_costs_nothing
        a_server_that_stopped_is_followed_by_the_next_one
        a_server_that_vanished_is_followed_by_the_next_one
    }
    links {
        sources_share_several_links
        a_flow_that_is_spread_uses_them_all_and_arrives_once
        copies_arrive_once
        what_was_on_a_link_that_dies_arrives_on_the_others
    }
    drains {
        a_client_that_drains_leaves_nothing_behind
        a_server_that_drains_leaves_nothing_behind
        a_client_without_a_server_drains_at_once
    }
    flows {
        a_flow_by_hand_is_used_like_a_socket
        a_flow_speaks_to_other_destinations_too
        what_was_sent_before_a_flow_is_dropped_arrives
        a_flow_goes_on_in_the_next_session
        a_flow_to_where_nobody_may_go_says_so
        a_flow_ends_with_its_client
    }
    life {
        a_port_in_use_is_named
        a_server_that_cannot_be_found_is_looked_for_again
        tunnels_come_and_go_while_others_run
        a_client_that_is_refused_is_told_of_at_the_server
        counters_add_up_and_events_tell_the_story
        dropping_the_handles_ends_everything
        a_server_without_descriptors_waits_for_some
    }
    limits {
        t32_flows_are_counted_over_all_clients_of_a_principal
        t32_rates_are_kept_over_all_clients_of_a_principal
        t13_of_the_last_tenth_of_memory_nobody_new_gets_any_and_who_is_there_goes_on
        t13_of_the_last_twentieth_of_memory_sessions_without_a_link_go_newest_first
    }
    watch {
        a_flow_is_seen_at_both_ends_and_can_be_cut_at_either
        a_client_replaces_its_links_and_nobody_notices
        a_server_ends_the_links_of_a_session_that_goes_on
        who_is_kicked_is_told_and_what_he_sent_stays_counted
        taps_at_both_ends_see_every_datagram
        a_slow_reader_misses_records_and_nobody_a_datagram
    }
    sealed {
        a_sealed_tunnel_carries_datagrams_of_every_size
        who_is_in_between_and_flips_bits_or_cuts_changes_nothing
        whoever_has_the_wrong_key_or_none_is_told_so
    }
    tls {
        a_tunnel_leads_to_a_server_that_a_root_vouches_for
        a_tunnel_leads_to_a_server_whose_key_is_pinned_whatever_its_certificate_says
        a_reset_under_tls_loses_nothing_and_doubles_nothing
        a_certificate_is_renewed_under_a_session_that_goes_on
        a_client_certificate_is_required_and_who_has_none_is_told_so
        every_wrong_server_and_certificate_is_told_in_words_of_its_own
        a_certificate_that_expires_while_it_serves_is_told_as_such
        tls_leads_through_a_proxy
    }
}

/// Tells one story, on a runtime of its own.
fn tell(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = async { tokio::time::timeout(PATIENCE, story).await };
    runtime.expect("a runtime").block_on(ended).expect("the story comes to an end");
}

/// For how long a story may go on: far longer than any does.
const PATIENCE: Duration = Duration::from_secs(100);
