//! What framing costs: 16 KiB messages from one end of a link to the other, masked and not.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sudp_proto::Seed;
use sudp_proto::link::{ClientUpgrade, Link, LinkEvent, LinkLimits, Scheme, ServerExpect};
use sudp_tests::clock::epoch;

fn framing(criterion: &mut Criterion) {
    let message = vec![7; 16 << 10];
    let (mut client, mut server) = open();
    let mut group = criterion.benchmark_group("link");
    group.throughput(Throughput::Bytes(16 << 10));
    group.bench_function("16 KiB, client to server", |bencher| {
        bencher.iter(|| pass_message(&mut client, &mut server, &message));
    });
    group.bench_function("16 KiB, server to client", |bencher| {
        bencher.iter(|| pass_message(&mut server, &mut client, &message));
    });
    group.bench_function("16 KiB, only sent, masked", |bencher| {
        bencher.iter(|| {
            client.send(&[&message]).expect("the link is open");
            let written = client.output().len();
            client.advance_output(written);
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("64 bytes, client to server", |bencher| {
        bencher.iter(|| pass_message(&mut client, &mut server, &message[..64]));
    });
    group.finish();
}

fn pass_message(from: &mut Link, to: &mut Link, message: &[u8]) {
    from.send(&[message]).expect("the link is open");
    let now = epoch();
    to.handle_input(now, &mut BytesMut::from(from.output()));
    let written = from.output().len();
    from.advance_output(written);
    assert!(matches!(to.poll_event(), Some(LinkEvent::Message(bytes)) if black_box(&bytes).len() == message.len()));
}

fn open() -> (Link, Link) {
    let now = epoch();
    let upgrade = ClientUpgrade::new(Scheme::Ws, "sudp.example", 80, "/sudp").expect("a proper upgrade");
    let expect = ServerExpect { path: "/sudp".into(), ..ServerExpect::default() };
    let mut client = Link::client(now, upgrade, LinkLimits::default(), Seed::from(1));
    let mut server = Link::server(now, expect, LinkLimits::default(), Seed::from(2));
    server.handle_input(now, &mut BytesMut::from(client.output()));
    let written = client.output().len();
    client.advance_output(written);
    assert!(matches!(server.poll_event(), Some(LinkEvent::Request(_))));
    server.accept(now).expect("a request waits for an answer");
    client.handle_input(now, &mut BytesMut::from(server.output()));
    let written = server.output().len();
    server.advance_output(written);
    assert!(matches!(client.poll_event(), Some(LinkEvent::Open { .. })));
    (client, server)
}

criterion_group!(benches, framing);
criterion_main!(benches);
