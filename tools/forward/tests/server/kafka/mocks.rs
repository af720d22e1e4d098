//! The engine against librdkafka's cluster of mocks: refusals, and answers that do not come.

use std::time::Duration;

use linering::LineRing;
use linering_forward::access::Access;
use linering_forward::engine::{Engine, Trouble};
use linering_forward::exit::{Failure, Kind};
use linering_forward::forward::{Forwarder, Options, Totals, Watch};
use linering_forward::kafka::Kafka;
use linering_forward::message::{Encoding, Extent, Message};
use linering_forward::target::Target;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

use super::merged;
use crate::harness::{PATIENCE, assert_fails, err, forward, output, ring, write};

struct Mocks(MockCluster<'static, DefaultProducerContext>);

impl Mocks {
    fn start() -> Self {
        let mocks = MockCluster::new(1).expect("mocks");
        mocks.create_topic("LINES", 1, 1).expect("a topic");
        Self(mocks)
    }

    fn target(&self) -> String {
        format!("kafka://{}/LINES", self.0.bootstrap_servers())
    }

    async fn open(&self, subject: &str) -> Kafka {
        let target: Target = self.target().parse().expect("a target");
        let opened = Kafka::open(&target, &Access::default(), subject, None).await;
        opened.expect("all is as it should be").expect("they answer")
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let limited = async { tokio::time::timeout(2 * PATIENCE, future).await };
    runtime.expect("a runtime").block_on(limited).expect("it ends")
}

fn message(first: u64) -> Message {
    let extent = Extent { ring: 1, first, upto: first + 1, records: 0 };
    Message::new(extent, Encoding::None, Vec::new())
}

async fn last(engine: &Kafka) -> Option<Extent> {
    let last = engine.last().await.expect("they answer");
    last.map(|last| last.message.expect("a ring's").extent)
}

#[test]
fn what_the_brokers_refuse_is_a_sentence_and_what_they_may_have_done_is_asked() {
    let mocks = Mocks::start();
    run(async {
        let engine = mocks.open("linering.a").await;
        let mut next = 0;
        for (api, code) in [
            (Api::Produce, Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE),
            (Api::Produce, Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
            (Api::AddPartitionsToTxn, Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
            (
                Api::AddPartitionsToTxn,
                Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            ),
        ] {
            last(&engine).await;
            mocks.0.request_errors(api, &[code; 3]);
            let refused = engine.append(0, &message(next)).await;
            assert!(matches!(&refused, Err(Trouble::Refused(_))), "{api:?} {code:?}: {refused:?}");
            mocks.0.clear_request_errors(api);
        }
        for (api, code) in [
            (Api::Produce, Code::RD_KAFKA_RESP_ERR__TRANSPORT),
            (Api::Produce, Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
            (Api::Produce, Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT),
            (Api::AddPartitionsToTxn, Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS),
            (Api::EndTxn, Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE),
            (Api::EndTxn, Code::RD_KAFKA_RESP_ERR__TRANSPORT),
        ] {
            let before = last(&engine).await;
            mocks.0.request_errors(api, &[code; 2]);
            let appended = engine.append(0, &message(next)).await;
            mocks.0.clear_request_errors(api);
            let after = last(&engine).await;
            // It is there, or nothing is, and only the former may be said.
            assert!(
                matches!(&appended, Ok(_) | Err(Trouble::Doubt(_))),
                "{api:?} {code:?}: {appended:?}"
            );
            let is_there = after == Some(message(next).extent);
            assert!(is_there || (appended.is_err() && after == before), "{api:?}: {after:?}");
            next += u64::from(is_there);
        }
        for code in [
            Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
            Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        ] {
            last(&engine).await;
            mocks.0.request_errors(Api::EndTxn, &[code]);
            assert_eq!(engine.append(0, &message(next)).await, Err(Trouble::Overtaken), "{code:?}");
            mocks.0.clear_request_errors(Api::EndTxn);
        }
    });
}

#[test]
fn an_answer_that_comes_too_late_leaves_a_doubt_that_the_next_question_ends() {
    let mocks = Mocks::start();
    run(async {
        let engine = mocks.open("linering.a").await;
        assert_eq!(last(&engine).await, None);
        mocks.0.broker_round_trip_time(-1, Duration::from_secs(6)).expect("a time");
        let appended = engine.append(0, &message(0)).await;
        assert!(matches!(appended, Err(Trouble::Doubt(_))), "{appended:?}");
        // None without a new question.
        let appended = engine.append(0, &message(0)).await;
        assert!(matches!(appended, Err(Trouble::Doubt(_))), "{appended:?}");
        mocks.0.broker_round_trip_time(-1, Duration::ZERO).expect("a time");
        let found = last(&engine).await;
        assert!(found.is_none_or(|extent| extent == message(0).extent), "{found:?}");
        let next = message(found.map_or(0, |extent| extent.upto));
        engine.append(1, &next).await.expect("they answer again");
        assert_eq!(last(&engine).await, Some(next.extent));
    });
}

/// Stops when it has forwarded so much.
struct Until(u64);

impl Watch for Until {
    fn is_over(&mut self, totals: &Totals) -> bool {
        totals.upto >= self.0
    }

    fn say(&mut self, _: &str) {}
}

async fn forwarded(ring: &LineRing, engine: Kafka, until: Until) -> Result<Totals, Failure> {
    let (mut until, linger) = (until, Duration::ZERO);
    let options = Options { message_bytes: 300, linger, follows: true, ..Options::default() };
    Forwarder::new(ring, engine, options)?.run(&mut until).await
}

#[test]
fn each_line_is_there_once_though_connections_are_cut() {
    let mocks = Mocks::start();
    let folder = tempfile::tempdir().expect("a folder");
    let ring = ring(&folder.path().join("a.ring"), 1024);
    let mut mirror = ring.mirror().expect("a mirror");
    let apis = [Api::Produce, Api::EndTxn, Api::InitProducerId, Api::AddPartitionsToTxn];
    run(async {
        for (round, api) in apis.into_iter().enumerate() {
            let upto = 20 * (round as u64 + 1);
            for line in upto - 20..upto {
                mirror.write_line(format!("line {line}").as_bytes()).expect("room");
            }
            let engine = mocks.open("linering.a").await;
            mocks.0.request_errors(api, &[Code::RD_KAFKA_RESP_ERR__TRANSPORT; 2]);
            forwarded(&ring, engine, Until(upto)).await.expect("all is forwarded");
            mocks.0.clear_request_errors(api);
        }
    });
    let all: Vec<String> = merged(&mocks.target())
        .iter()
        .filter_map(|line| Some(line["text"].as_str()?.to_owned()))
        .collect();
    assert_eq!(all, (0..80).map(|line| format!("line {line}")).collect::<Vec<_>>());
}

#[test]
fn a_forwarder_that_is_fenced_twice_ends_with_three() {
    let mocks = Mocks::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.ring");
    write(&ring(&path, 1024), &["one", "two"]);
    mocks.0.request_errors(Api::AddPartitionsToTxn, &[Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED; 2]);
    let fenced = output(forward(&path, &mocks.target(), &[]));
    assert_fails(&fenced, Kind::Another as i32, "another program appends to this subject");
    let again = output(forward(&path, &mocks.target(), &[]));
    assert!(again.status.success(), "{}", err(&again));
    assert_eq!(merged(&mocks.target()).len(), 3, "two lines and an end");
}
