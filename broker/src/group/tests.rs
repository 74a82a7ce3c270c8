//! The group's life with time driven by hand.

use super::*;

const SESSION: i32 = 6_000;
const REBALANCE: i32 = 60_000;

/// A group under test: tickets are numbered, answers collected.
#[derive(Default)]
struct Bench {
    group: Group,
    tickets: Ticket,
    answers: Answers,
    now: Millis,
}

impl Bench {
    fn request(&self, member_id: &str, subscription: &'static str) -> JoinRequest {
        JoinRequest {
            member_id: member_id.to_owned(),
            fresh_id: format!("m{}", self.tickets),
            two_steps: true,
            can_skip: true,
            instance: None,
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_ms: SESSION,
            rebalance_ms: REBALANCE,
            protocol_type: "consumer".to_owned(),
            protocols: vec![("sticky".to_owned(), Bytes::from_static(subscription.as_bytes()))],
        }
    }

    fn send(&mut self, request: JoinRequest) -> Ticket {
        self.tickets += 1;
        let ticket = self.tickets;
        self.group.join(request, ticket, self.now, &mut self.answers);
        ticket
    }

    fn join(&mut self, member_id: &str) -> Ticket {
        self.send(self.request(member_id, "s"))
    }

    /// Both steps of a new member; returns its id and the ticket of the second.
    fn newcomer(&mut self) -> (String, Ticket) {
        let ticket = self.join("");
        let refused = self.joined(ticket).unwrap();
        assert_eq!(refused.error, Some(ResponseError::MemberIdRequired));
        let ticket = self.join(&refused.member_id);
        (refused.member_id, ticket)
    }

    fn sync(&mut self, id: &str, assignments: &[(&str, &'static str)]) -> Ticket {
        self.tickets += 1;
        let assignments = assignments.iter().map(|(id, a)| ((*id).to_owned(), Bytes::from_static(a.as_bytes())));
        let request = SyncRequest {
            member_id: id.to_owned(),
            instance: None,
            generation: self.group.generation,
            protocol_type: None,
            protocol: Some("sticky".to_owned()),
            assignments: assignments.collect(),
        };
        let ticket = self.tickets;
        self.group.sync(request, ticket, self.now, &mut self.answers);
        ticket
    }

    fn take(&mut self, ticket: Ticket) -> Option<Answer> {
        let index = self.answers.iter().position(|(t, _)| *t == ticket)?;
        Some(self.answers.remove(index).1)
    }

    fn joined(&mut self, ticket: Ticket) -> Option<Joined> {
        self.take(ticket).map(|answer| match answer {
            Answer::Join(joined) => joined,
            Answer::Sync(_) => panic!("a sync answered a join"),
        })
    }

    fn synced(&mut self, ticket: Ticket) -> Option<Synced> {
        self.take(ticket).map(|answer| match answer {
            Answer::Sync(synced) => synced,
            Answer::Join(_) => panic!("a join answered a sync"),
        })
    }

    fn pass(&mut self, ms: i64) {
        self.now += ms;
        self.group.expire(self.now, &mut self.answers);
    }

    /// Two members, stable; the first is the leader.
    fn pair() -> (Self, String, String) {
        let mut bench = Self::default();
        let (a, ticket) = bench.newcomer();
        assert_eq!(bench.joined(ticket).unwrap().leader, a);
        let (b, second) = bench.newcomer();
        assert_eq!(bench.joined(second), None, "waits for the first to join again");
        let first = bench.join(&a);
        let joined = bench.joined(first).unwrap();
        assert_eq!((joined.generation, joined.members.len()), (2, 2));
        assert!(bench.joined(second).unwrap().members.is_empty());
        let waiting = bench.sync(&b, &[]);
        assert_eq!(bench.synced(waiting), None);
        let leader = bench.sync(&a, &[(&a, "for a"), (&b, "for b")]);
        assert_eq!(bench.synced(leader).unwrap().assignment, "for a");
        assert_eq!(bench.synced(waiting).unwrap().assignment, "for b");
        assert_eq!(bench.group.phase, Phase::Stable);
        (bench, a, b)
    }
}

#[test]
fn two_members_share_the_work() {
    let (mut bench, a, b) = Bench::pair();
    assert_eq!(bench.group.heartbeat(&a, None, 2, bench.now), Ok(()));
    assert_eq!(bench.group.heartbeat(&b, None, 1, bench.now), Err(ResponseError::IllegalGeneration));
    assert_eq!(bench.group.heartbeat("x", None, 2, bench.now), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.group.check_commit(2, &b, None, false), Ok(()));
    assert_eq!(bench.group.check_commit(1, &b, None, true), Err(ResponseError::IllegalGeneration));
    assert_eq!(bench.group.check_commit(-1, "", None, false), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.group.check_commit(-1, "", None, true), Ok(()));
}

#[test]
fn a_silent_member_expires() {
    let (mut bench, a, b) = Bench::pair();
    bench.pass(5_000);
    bench.group.heartbeat(&a, None, 2, bench.now).unwrap();
    bench.pass(999);
    assert_eq!(bench.group.members.len(), 2);
    bench.pass(1);
    assert!(!bench.group.members.contains_key(&b));
    assert_eq!(bench.group.heartbeat(&a, None, 2, bench.now), Err(ResponseError::RebalanceInProgress));
    let ticket = bench.join(&a);
    assert_eq!(bench.joined(ticket).unwrap().generation, 3);
}

#[test]
fn a_member_that_does_not_rejoin_is_left_behind() {
    let (mut bench, a, b) = Bench::pair();
    let (_, newcomer) = bench.newcomer();
    let rejoined = bench.join(&a);
    for _ in 0..REBALANCE / 1_000 {
        assert_eq!(bench.joined(newcomer), None);
        bench.group.heartbeat(&b, None, 2, bench.now).unwrap_err();
        bench.pass(1_000);
    }
    assert_eq!(bench.joined(rejoined).unwrap().members.len(), 2);
    assert_eq!(bench.group.heartbeat(&b, None, 2, bench.now), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_leader_that_does_not_assign_is_removed() {
    let mut bench = Bench::default();
    let (a, ticket) = bench.newcomer();
    bench.joined(ticket).unwrap();
    for _ in 0..REBALANCE / 1_000 {
        bench.group.heartbeat(&a, None, 1, bench.now).unwrap();
        bench.pass(1_000);
    }
    assert_eq!((bench.group.phase, bench.group.members.len()), (Phase::Empty, 0));
    assert!(bench.group.is_forgettable());
}

#[test]
fn leaving_rebalances_and_the_last_one_empties() {
    let (mut bench, a, b) = Bench::pair();
    bench.group.leave(&a, None, bench.now, &mut bench.answers).unwrap();
    let ticket = bench.join(&b);
    assert_eq!(bench.joined(ticket).unwrap().leader, b);
    bench.group.leave(&b, None, bench.now, &mut bench.answers).unwrap();
    assert_eq!(bench.group.phase, Phase::Empty);
    assert_eq!(bench.group.leave(&b, None, 0, &mut Vec::new()), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.group.next_deadline(), None);
}

#[test]
fn a_new_subscription_rebalances_and_the_same_does_not() {
    let (mut bench, _, b) = Bench::pair();
    let ticket = bench.join(&b);
    assert_eq!(bench.joined(ticket).unwrap().generation, 2);
    let ticket = bench.send(bench.request(&b, "other"));
    assert_eq!(bench.joined(ticket), None);
    assert_eq!(bench.group.phase, Phase::Preparing);
}

#[test]
fn an_announced_member_is_awaited_but_not_for_ever() {
    let mut bench = Bench::default();
    bench.join("");
    let (_, ticket) = bench.newcomer();
    assert_eq!(bench.joined(ticket), None);
    bench.pass(i64::from(SESSION));
    assert_eq!(bench.joined(ticket).unwrap().generation, 1);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut bench = Bench::default();
    let request = |bench: &Bench| JoinRequest { instance: Some("i".to_owned()), ..bench.request("", "s") };
    let ticket = bench.send(request(&bench));
    let first = bench.joined(ticket).unwrap();
    let sync = bench.sync(&first.member_id, &[(&first.member_id, "mine")]);
    bench.synced(sync).unwrap();
    let ticket = bench.send(request(&bench));
    let second = bench.joined(ticket).unwrap();
    assert_eq!((second.generation, second.skip_assignment), (1, true));
    assert_eq!(bench.group.heartbeat(&first.member_id, Some("i"), 1, 0), Err(ResponseError::FencedInstanceId));
    let sync = bench.sync(&second.member_id, &[]);
    assert_eq!(bench.synced(sync).unwrap().assignment, "mine");
}

#[test]
fn protocols_must_agree() {
    let (mut bench, ..) = Bench::pair();
    let changes: [fn(&mut JoinRequest); 4] = [
        |r| r.protocols.clear(),
        |r| r.protocols[0].0 = "eager".to_owned(),
        |r| r.protocol_type.clear(),
        |r| r.protocol_type = "connect".to_owned(),
    ];
    for change in changes {
        let mut request = bench.request("", "s");
        change(&mut request);
        let ticket = bench.send(request);
        assert_eq!(bench.joined(ticket).unwrap().error, Some(ResponseError::InconsistentGroupProtocol));
    }
}
