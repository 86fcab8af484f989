//! Property test: the refresh rules hold for any order of client, thief, server and clock events
//!
//! (S-37, S-39, S-40). proptest generates histories, runs each on two replicas, compares every response
//! with [`rules::Rules`] and shrinks a failing history. A session that is never stolen, revoked or
//! expired must stay active; this is checked independently of the rules.

mod acts;
mod rules;

use std::cell::RefCell;
use std::collections::HashSet;

use chrono::TimeDelta;
use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::test_runner::{Config, TestError, TestRunner};
use serde_json::{Value, json};

use super::{gets_in, refresh, refresh_token};
use crate::harness::TestApp;
use crate::stored;
use acts::{Act, Who, act};
use rules::{IDLE_SECS, Rules, Verdict};

const REPLICAS: usize = 2;
/// The owners of the sessions of a history.
const OWNERS: [usize; 3] = [0, 0, 1];
/// Longer than the grace period of the previous token, in seconds.
const PAST_GRACE_SECS: i64 = 31;

/// The tokens that an actor holds.
#[derive(Clone, Debug)]
struct Held {
    /// The number of the refresh token.
    number: usize,
    grant: Value,
    /// The time at which the access token is rejected, including the clock tolerance.
    expires_at: i64,
}

impl Held {
    fn new(number: usize, grant: Value, now: i64) -> Self {
        let expires_at = now + grant["expires_in"].as_i64().unwrap() + 30;
        Self { number, grant, expires_at }
    }
}

#[derive(Debug)]
struct Session {
    rules: Rules,
    /// All refresh tokens of the session, by number.
    tokens: Vec<String>,
    client: Held,
    thief: Option<Held>,
    /// The time of the login or of the client's last refresh.
    touched_at: i64,
    began_at: i64,
    ended_by_hand: bool,
}

impl Session {
    fn begin(grant: &Value, now: i64) -> Self {
        Self {
            rules: Rules::new(REPLICAS, now),
            tokens: vec![refresh_token(grant).to_owned()],
            client: Held::new(0, grant.clone(), now),
            thief: None,
            touched_at: now,
            began_at: now,
            ended_by_hand: false,
        }
    }

    fn held(&self, is_thief: bool) -> Option<&Held> {
        if is_thief { self.thief.as_ref() } else { Some(&self.client) }
    }

    /// Records an issued token and asserts that each number has one token.
    fn note(&mut self, number: usize, token: &str) {
        if let Some(known) = self.tokens.get(number) {
            assert_eq!(known, token, "a second successor of one token");
        } else {
            assert!(self.tokens.iter().all(|known| known != token), "an old token as a successor");
            self.tokens.push(token.to_owned());
        }
    }

    /// Returns whether the session must be active, independently of the rules.
    fn must_go_on(&self, now: i64) -> bool {
        let is_young = now - self.touched_at < IDLE_SECS && now - self.began_at < 300 * 86_400;
        self.thief.is_none() && !self.ended_by_hand && is_young
    }
}

/// The servers, reused by all histories.
struct World {
    replicas: Vec<Option<TestApp>>,
    /// In seconds.
    now: i64,
    stories: usize,
}

impl World {
    async fn open() -> Self {
        let first = TestApp::start().await;
        let second = first.replica().await;
        Self { replicas: vec![Some(first), Some(second)], now: 0, stories: 0 }
    }

    fn at(&self, replica: usize) -> &TestApp {
        self.replicas[replica].as_ref().unwrap()
    }

    fn wait(&mut self, secs: i64) {
        self.at(0).clock.advance(TimeDelta::seconds(secs));
        self.now += secs;
    }

    async fn begin(&mut self) -> Story<'_> {
        self.stories += 1;
        let mut sessions = Vec::new();
        for (number, owner) in OWNERS.into_iter().enumerate() {
            let name = format!("u{}-{owner}", self.stories);
            let is_new = number == 0 || OWNERS[number - 1] != owner;
            let client =
                if is_new { self.at(0).sign_up(&name).await } else { self.at(1).log_in(&name).await };
            sessions.push(Session::begin(client.grant(), self.now));
        }
        let events = stored::events(self.at(0)).await.len();
        Story { world: self, sessions, events }
    }
}

struct Story<'a> {
    world: &'a mut World,
    sessions: Vec<Session>,
    /// The number of security events that were recorded before.
    events: usize,
}

impl Story<'_> {
    async fn act(&mut self, act: &Act) {
        match act {
            Act::Refresh { who, replicas, is_lost } => self.refresh(*who, replicas, *is_lost).await,
            Act::Use { who, replica } => self.used(*who, *replica).await,
            Act::Live { session, replica } => {
                let who = Who { session: *session, is_thief: false };
                self.refresh(who, &[*replica], false).await;
                self.used(who, *replica).await;
            }
            Act::Reuse { session: number, replica } => {
                let session = &mut self.sessions[*number];
                session.thief.get_or_insert_with(|| session.client.clone());
                if let Some(before) = session.rules.newest.checked_sub(1) {
                    self.show(*number, before, &[*replica]).await;
                }
            }
            Act::Steal { session } => {
                let session = &mut self.sessions[*session];
                session.thief = Some(session.client.clone());
            }
            Act::Wait { secs } => self.world.wait(*secs),
            Act::Restart { replica } => {
                let running = self.world.replicas[*replica].take().unwrap();
                self.world.replicas[*replica] = Some(Box::pin(running.restart()).await);
                for session in &mut self.sessions {
                    session.rules.wrote(*replica);
                    session.rules.forgot(*replica);
                }
            }
            Act::Write { replica } => self.write(*replica).await,
            Act::LogOut { who, replica } => self.log_out(*who, *replica).await,
            Act::EndOthers { who, replica } => self.end_others(*who, *replica).await,
        }
    }

    async fn refresh(&mut self, who: Who, replicas: &[usize], is_lost: bool) {
        let session = &self.sessions[who.session];
        let Some(held) = session.held(who.is_thief) else { return };
        let shown = held.number;
        let grant = self.show(who.session, shown, replicas).await;
        let (world, session) = (&self.world, &mut self.sessions[who.session]);
        let now = world.now;
        if let Some(grant) = grant
            && !is_lost
        {
            let held = Held::new(shown + 1, grant, now);
            if who.is_thief {
                session.thief = Some(held);
            } else {
                session.client = held;
            }
        }
    }

    /// Sends a refresh token to replicas concurrently, checks the responses and returns one of the grants.
    async fn show(&mut self, number: usize, shown: usize, replicas: &[usize]) -> Option<Value> {
        let (world, session) = (&*self.world, &mut self.sessions[number]);
        let now = world.now;
        let token = &session.tokens[shown];
        let replies = join_all(replicas.iter().map(|replica| refresh(world.at(*replica), token))).await;
        let mut grants = Vec::new();
        let mut is_refused = false;
        for (reply, replica) in replies.into_iter().zip(replicas) {
            // All requests are concurrent, so the state before them applies to each.
            let verdict = session.rules.verdict(shown, *replica, now);
            if reply.status == 401 {
                assert!(!matches!(verdict, Verdict::Gives(_)), "{verdict:?}, but it was refused");
                // The reason may be lost for a session that was already revoked.
                let may_be_unknown = !session.rules.lives(now);
                let code = &reply.json()["code"];
                assert!(code == "session_revoked" || may_be_unknown && code == "invalid_refresh_token");
                is_refused = true;
            } else {
                assert_ne!(verdict, Verdict::Refuses, "it was given a successor");
                grants.push(reply.expect(200).json());
            }
        }
        assert!(!is_refused || !session.must_go_on(now), "an honest client was logged out");
        for grant in &grants {
            session.note(shown + 1, refresh_token(grant));
            session.rules.given(shown + 1, now);
            session.touched_at = now;
        }
        if is_refused {
            session.rules.ended(now);
        }
        grants.pop()
    }

    /// Returns whether an access token must be valid.
    fn is_good(&self, number: usize, held: &Held) -> bool {
        !self.sessions[number].rules.dead && self.world.now < held.expires_at
    }

    async fn used(&mut self, who: Who, replica: usize) {
        let Some(held) = self.sessions[who.session].held(who.is_thief).cloned() else { return };
        let is_good = self.is_good(who.session, &held);
        let at = self.world.at(replica);
        // A revocation by another replica takes effect within a second.
        assert!(at.rooms().tokens.poll().await);
        assert_eq!(gets_in(at, &held.grant).await, is_good);
        if is_good {
            self.sessions[who.session].rules.used(held.number, replica);
        }
    }

    async fn write(&mut self, replica: usize) {
        self.world.at(replica).rooms().sessions.flush_token_usage().await.unwrap();
        for session in &mut self.sessions {
            session.rules.wrote(replica);
        }
    }

    async fn log_out(&mut self, who: Who, replica: usize) {
        let now = self.world.now;
        let session = &mut self.sessions[who.session];
        let Some(held) = session.held(who.is_thief) else { return };
        let body = json!({ "refresh_token": session.tokens[held.number] });
        let call = self.world.at(replica).anonymous().post("/api/v1/auth/logout");
        call.json(&body).await.expect(204);
        session.rules.ended(now);
        session.ended_by_hand = true;
    }

    async fn end_others(&mut self, who: Who, replica: usize) {
        let Some(held) = self.sessions[who.session].held(who.is_thief).cloned() else { return };
        let at = self.world.at(replica);
        assert!(at.rooms().tokens.poll().await);
        let is_good = self.is_good(who.session, &held);
        let reply = at.anonymous().granted(&held.grant).delete("/api/v1/me/sessions").await;
        assert_eq!(reply.status, if is_good { 204 } else { 401 });
        if !is_good {
            return;
        }
        let now = self.world.now;
        self.sessions[who.session].rules.used(held.number, replica);
        for (number, session) in self.sessions.iter_mut().enumerate() {
            if number != who.session && OWNERS[number] == OWNERS[who.session] {
                session.rules.ended(now);
                session.ended_by_hand = true;
            }
        }
    }

    /// Asserts that an active session has one newest token, and that older tokens revoke only that session.
    async fn end(mut self) {
        let tokens: HashSet<&String> = self.sessions.iter().flat_map(|session| &session.tokens).collect();
        assert_eq!(tokens.len(), self.sessions.iter().map(|session| session.tokens.len()).sum::<usize>());
        let is_theft = self.sessions.iter().any(|session| session.thief.is_some());
        let events = stored::events(self.world.at(0)).await.len();
        assert!(is_theft || events == self.events, "an alarm without a thief");
        for replica in 0..REPLICAS {
            self.write(replica).await;
        }
        self.world.wait(PAST_GRACE_SECS);
        for number in 0..self.sessions.len() {
            let newest = self.sessions[number].rules.newest;
            let lives = self.sessions[number].rules.lives(self.world.now);
            assert_eq!(self.show(number, newest, &[0]).await.is_some(), lives, "another one was to live on");
            // From here on, a stolen token is in use.
            self.sessions[number].thief = Some(self.sessions[number].client.clone());
            // The newest token may be accepted; the one before it is rejected, and then all are.
            for shown in [newest, newest.saturating_sub(1), newest] {
                self.show(number, shown, &[1]).await;
            }
            assert!(newest == 0 || !self.sessions[number].rules.lives(self.world.now));
            for is_thief in [false, true] {
                for replica in 0..REPLICAS {
                    self.used(Who { session: number, is_thief }, replica).await;
                }
            }
        }
    }
}

#[test]
fn an_honest_client_stays_logged_in_and_a_thief_is_locked_out_in_any_history() {
    // S-37, S-39, S-40, S-42
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = RefCell::new(runtime.block_on(World::open()));
    let config = Config::default();
    // Each case is a whole history. PROPTEST_CASES sets their number.
    let config =
        Config { cases: config.cases / 10, failure_persistence: None, max_shrink_iters: 500, ..config };
    let told = TestRunner::new(config).run(&vec(act(), 1..50), |acts| {
        let mut world = world.borrow_mut();
        runtime.block_on(async {
            let mut story = world.begin().await;
            for act in &acts {
                story.act(act).await;
            }
            story.end().await;
        });
        Ok(())
    });
    // Dropped inside the runtime, which their tasks require.
    runtime.block_on(async { drop(world.into_inner()) });
    if let Err(TestError::Fail(why, story)) = told {
        let acts: Vec<String> = story.iter().map(|act| format!("\n    {act:?}")).collect();
        panic!("{why}, after{}", acts.concat());
    }
    told.unwrap();
}
