//! Property test of the refresh rules (S-37, S-39, S-40): they hold for any order of client, thief, server
//! and clock events.
//!
//! proptest generates histories, runs each on two replicas, compares every response with [`rules::Rules`]
//! and shrinks a failing history. A session that is never stolen, revoked or expired must stay active; this
//! is checked independently of the rules.

mod rules;
mod steps;

use std::cell::RefCell;
use std::collections::HashSet;

use chrono::TimeDelta;
use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::test_runner::{Config, TestError, TestRunner};
use serde_json::{Value, json};

use super::{has_access, refresh, refresh_token};
use crate::harness::{TestApp, rows};
use rules::{IDLE_SECS, Rules, Verdict};
use steps::{Actor, Step, step};

const REPLICAS: usize = 2;
/// The user of each session. Every history has two sessions of one user, and one session of another user.
const OWNERS: [usize; 3] = [0, 0, 1];
/// A wait that is longer than the grace period of the previous refresh token, in seconds.
const PAST_GRACE_SECS: i64 = 31;

/// The tokens that an actor holds.
#[derive(Clone, Debug)]
struct HeldTokens {
    /// The index of the refresh token in [`Session::tokens`].
    token_index: usize,
    grant: Value,
    /// The time from which the access token is rejected, including the clock tolerance.
    expires_at: i64,
}

impl HeldTokens {
    fn new(token_index: usize, grant: Value, now: i64) -> Self {
        let expires_at = now + grant["expires_in"].as_i64().unwrap() + 30;
        Self { token_index, grant, expires_at }
    }
}

#[derive(Debug)]
struct Session {
    rules: Rules,
    /// All refresh tokens of the session, in the order in which they were first issued.
    tokens: Vec<String>,
    client: HeldTokens,
    thief: Option<HeldTokens>,
    /// The time of the login or of the client's last refresh.
    refreshed_at: i64,
    created_at: i64,
    is_revoked: bool,
}

impl Session {
    fn new(grant: &Value, now: i64) -> Self {
        Self {
            rules: Rules::new(REPLICAS, now),
            tokens: vec![refresh_token(grant).to_owned()],
            client: HeldTokens::new(0, grant.clone(), now),
            thief: None,
            refreshed_at: now,
            created_at: now,
            is_revoked: false,
        }
    }

    fn held(&self, is_thief: bool) -> Option<&HeldTokens> {
        if is_thief { self.thief.as_ref() } else { Some(&self.client) }
    }

    /// Records an issued token. Asserts that no other token was issued with this index.
    fn record(&mut self, token_index: usize, token: &str) {
        if let Some(known) = self.tokens.get(token_index) {
            assert_eq!(known, token, "one token has two successors");
        } else {
            assert!(
                self.tokens.iter().all(|known| known != token),
                "an old token was issued as the successor"
            );
            self.tokens.push(token.to_owned());
        }
    }

    /// Returns whether the session must be active, independently of the rules.
    fn must_be_active(&self, now: i64) -> bool {
        let is_unexpired = now - self.refreshed_at < IDLE_SECS && now - self.created_at < 300 * 86_400;
        self.thief.is_none() && !self.is_revoked && is_unexpired
    }
}

/// The servers, reused by all histories.
struct Servers {
    replicas: Vec<Option<TestApp>>,
    /// The elapsed time in seconds.
    now: i64,
    histories: usize,
}

impl Servers {
    async fn start() -> Self {
        let first = TestApp::start().await.single().await;
        let second = first.replica().await;
        Self { replicas: vec![Some(first), Some(second)], now: 0, histories: 0 }
    }

    fn at(&self, replica: usize) -> &TestApp {
        self.replicas[replica].as_ref().unwrap()
    }

    fn wait(&mut self, secs: i64) {
        self.at(0).clock.advance(TimeDelta::seconds(secs));
        self.now += secs;
    }

    async fn new_history(&mut self) -> History<'_> {
        self.histories += 1;
        let mut sessions = Vec::new();
        for (number, owner) in OWNERS.into_iter().enumerate() {
            let name = format!("u{}-{owner}", self.histories);
            let is_new = number == 0 || OWNERS[number - 1] != owner;
            let client =
                if is_new { self.at(0).sign_up(&name).await } else { self.at(1).log_in(&name).await };
            sessions.push(Session::new(client.grant(), self.now));
        }
        let events = rows::thefts(self.at(0)).await.len();
        History { servers: self, sessions, events }
    }
}

struct History<'a> {
    servers: &'a mut Servers,
    sessions: Vec<Session>,
    /// The number of reported thefts before this history.
    events: usize,
}

impl History<'_> {
    async fn run(&mut self, step: &Step) {
        match step {
            Step::Refresh { actor, replicas, is_lost } => self.refresh(*actor, replicas, *is_lost).await,
            Step::Use { actor, replica } => self.use_token(*actor, *replica).await,
            Step::RefreshAndUse { session, replica } => {
                let actor = Actor { session: *session, is_thief: false };
                self.refresh(actor, &[*replica], false).await;
                self.use_token(actor, *replica).await;
            }
            Step::Reuse { session: number, replica } => {
                let session = &mut self.sessions[*number];
                session.thief.get_or_insert_with(|| session.client.clone());
                if let Some(previous) = session.rules.newest.checked_sub(1) {
                    self.present(*number, previous, &[*replica]).await;
                }
            }
            Step::Steal { session } => {
                let session = &mut self.sessions[*session];
                session.thief = Some(session.client.clone());
            }
            Step::Wait { secs } => self.servers.wait(*secs),
            Step::Restart { replica } => {
                let running = self.servers.replicas[*replica].take().unwrap();
                self.servers.replicas[*replica] = Some(Box::pin(running.restart()).await);
                for session in &mut self.sessions {
                    session.rules.record_flush(*replica);
                    session.rules.forget_unflushed(*replica);
                }
            }
            Step::Flush { replica } => self.flush(*replica).await,
            Step::LogOut { actor, replica } => self.log_out(*actor, *replica).await,
            Step::RevokeOthers { actor, replica } => self.revoke_others(*actor, *replica).await,
        }
    }

    async fn refresh(&mut self, actor: Actor, replicas: &[usize], is_lost: bool) {
        let session = &self.sessions[actor.session];
        let Some(held) = session.held(actor.is_thief) else { return };
        let presented = held.token_index;
        let grant = self.present(actor.session, presented, replicas).await;
        let (servers, session) = (&self.servers, &mut self.sessions[actor.session]);
        let now = servers.now;
        if let Some(grant) = grant
            && !is_lost
        {
            let held = HeldTokens::new(presented + 1, grant, now);
            if actor.is_thief {
                session.thief = Some(held);
            } else {
                session.client = held;
            }
        }
    }

    /// Sends a refresh token to replicas concurrently, checks the responses and returns one of the grants.
    async fn present(&mut self, number: usize, presented: usize, replicas: &[usize]) -> Option<Value> {
        let (servers, session) = (&*self.servers, &mut self.sessions[number]);
        let now = servers.now;
        let token = &session.tokens[presented];
        let replies = join_all(replicas.iter().map(|replica| refresh(servers.at(*replica), token))).await;
        let mut grants = Vec::new();
        let mut is_rejected = false;
        for (reply, replica) in replies.into_iter().zip(replicas) {
            // All requests are concurrent, so the state before the requests applies to each of them.
            let verdict = session.rules.verdict(presented, *replica, now);
            if reply.status == 401 {
                assert!(!matches!(verdict, Verdict::Accept(_)), "expected {verdict:?}, got a rejection");
                // If the session ended before these requests, the error may be `invalid_refresh_token`.
                let may_be_unknown = !session.rules.is_active(now);
                let code = &reply.json()["code"];
                assert!(code == "session_revoked" || may_be_unknown && code == "invalid_refresh_token");
                is_rejected = true;
            } else {
                assert_ne!(verdict, Verdict::Reject, "expected a rejection, got a grant");
                grants.push(reply.expect(200).json());
            }
        }
        assert!(!is_rejected || !session.must_be_active(now), "an honest client was logged out");
        for grant in &grants {
            session.record(presented + 1, refresh_token(grant));
            session.rules.record_grant(presented + 1, now);
            session.refreshed_at = now;
        }
        if is_rejected {
            session.rules.revoke(now);
        }
        grants.pop()
    }

    /// Returns whether an access token must be accepted.
    fn is_valid(&self, number: usize, held: &HeldTokens) -> bool {
        !self.sessions[number].rules.is_revoked && self.servers.now < held.expires_at
    }

    async fn use_token(&mut self, actor: Actor, replica: usize) {
        let Some(held) = self.sessions[actor.session].held(actor.is_thief).cloned() else { return };
        let is_valid = self.is_valid(actor.session, &held);
        let at = self.servers.at(replica);
        // A replica learns of revocations by other replicas when it polls, within a second. Poll now.
        assert!(at.services().tokens.poll().await);
        assert_eq!(has_access(at, &held.grant).await, is_valid);
        if is_valid {
            self.sessions[actor.session].rules.record_use(held.token_index, replica);
        }
    }

    async fn flush(&mut self, replica: usize) {
        self.servers.at(replica).services().sessions.flush_token_usage().await.unwrap();
        for session in &mut self.sessions {
            session.rules.record_flush(replica);
        }
    }

    async fn log_out(&mut self, actor: Actor, replica: usize) {
        let now = self.servers.now;
        let session = &mut self.sessions[actor.session];
        let Some(held) = session.held(actor.is_thief) else { return };
        let body = json!({ "refresh_token": session.tokens[held.token_index] });
        let call = self.servers.at(replica).anonymous().post("/api/v1/auth/logout");
        call.json(&body).await.expect(204);
        session.rules.revoke(now);
        session.is_revoked = true;
    }

    async fn revoke_others(&mut self, actor: Actor, replica: usize) {
        let Some(held) = self.sessions[actor.session].held(actor.is_thief).cloned() else { return };
        let at = self.servers.at(replica);
        assert!(at.services().tokens.poll().await);
        let is_valid = self.is_valid(actor.session, &held);
        let reply = at.anonymous().with_grant(&held.grant).delete("/api/v1/me/sessions").await;
        assert_eq!(reply.status, if is_valid { 204 } else { 401 });
        if !is_valid {
            return;
        }
        let now = self.servers.now;
        self.sessions[actor.session].rules.record_use(held.token_index, replica);
        for (number, session) in self.sessions.iter_mut().enumerate() {
            if number != actor.session && OWNERS[number] == OWNERS[actor.session] {
                session.rules.revoke(now);
                session.is_revoked = true;
            }
        }
    }

    /// Asserts that the newest refresh token of each active session is accepted, and that an older token ends
    /// only its own session.
    async fn finish(mut self) {
        let tokens: HashSet<&String> = self.sessions.iter().flat_map(|session| &session.tokens).collect();
        assert_eq!(tokens.len(), self.sessions.iter().map(|session| session.tokens.len()).sum::<usize>());
        let is_theft = self.sessions.iter().any(|session| session.thief.is_some());
        let events = rows::thefts(self.servers.at(0)).await.len();
        assert!(is_theft || events == self.events, "a theft was reported without a thief");
        for replica in 0..REPLICAS {
            self.flush(replica).await;
        }
        self.servers.wait(PAST_GRACE_SECS);
        for number in 0..self.sessions.len() {
            let newest = self.sessions[number].rules.newest;
            let is_active = self.sessions[number].rules.is_active(self.servers.now);
            assert_eq!(
                self.present(number, newest, &[0]).await.is_some(),
                is_active,
                "the newest token must be accepted exactly while the session is active"
            );
            // Mark the tokens as stolen: the steps below send an old refresh token, so the session need not stay
            // active.
            self.sessions[number].thief = Some(self.sessions[number].client.clone());
            // In an active session, the token that was just exchanged is accepted again within its grace
            // period. An older token, if there is one, is rejected. After that, every token of the session is
            // rejected.
            for presented in [newest, newest.saturating_sub(1), newest] {
                self.present(number, presented, &[1]).await;
            }
            assert!(newest == 0 || !self.sessions[number].rules.is_active(self.servers.now));
            for is_thief in [false, true] {
                for replica in 0..REPLICAS {
                    self.use_token(Actor { session: number, is_thief }, replica).await;
                }
            }
        }
    }
}

#[test]
fn in_any_sequence_of_events_an_honest_client_stays_logged_in_and_a_thief_is_locked_out() {
    // S-37, S-39, S-40, S-42
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let servers = RefCell::new(runtime.block_on(Servers::start()));
    let config = Config::default();
    // PROPTEST_CASES sets the number of cases. Run a tenth of them, because each case is a whole history.
    let config =
        Config { cases: config.cases / 10, failure_persistence: None, max_shrink_iters: 500, ..config };
    let result = TestRunner::new(config).run(&vec(step(), 1..50), |steps| {
        let mut servers = servers.borrow_mut();
        runtime.block_on(async {
            let mut history = servers.new_history().await;
            for step in &steps {
                history.run(step).await;
            }
            history.finish().await;
        });
        Ok(())
    });
    // The servers' tasks must be dropped inside the runtime.
    runtime.block_on(async { drop(servers.into_inner()) });
    if let Err(TestError::Fail(why, history)) = result {
        let steps: Vec<String> = history.iter().map(|step| format!("\n    {step:?}")).collect();
        panic!("{why}, after{}", steps.concat());
    }
    result.unwrap();
}
