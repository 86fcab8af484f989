"""Accounts and sessions: sign-up, login, refresh with lost responses, and the end of sessions.

Checks: the login of an existing account with its device token always works; every refresh token has at most one
successor, and a client that repeats a refresh stays logged in; a session that was ended is refused on every
replica from one second after the response, and for ever.
"""

import threading
import time

from client import NOT_DONE, REFUSED, UNKNOWN, AccessToken

PASSWORD = "a red kite over Lisbon"
# An access token is valid for 300 seconds.
REFRESH_AFTER_SECS, EXPIRES_AFTER_SECS = 120, 280
ENDED_AFTER_SECS = 1.0
# A request whose response the client did not read may still run on a replica. If the replica processed this request
# after two more refreshes, its token would be an old one, and the server would end the session. So the next refresh
# waits until this request has ended.
REQUEST_SECS = 12


class Account:
    """An account, and whether it exists for certain."""

    def __init__(self, name, client, journal):
        self.name, self.client, self.journal = name, client, journal
        self.exists = False
        # Whether a sign-up has an unknown outcome, so that the account may exist.
        self.may_exist = False
        self.device_token = None
        self.lock = threading.Lock()

    def sign_up(self):
        """Tries to sign up once. Returns the token grant, or None."""
        reply = self.client.call("sign up", "POST", "/auth/signup", {"username": self.name, "password": PASSWORD})
        if reply.is_done:
            self.learn(reply.body)
            return self.client.with_access_token(reply)
        if reply.outcome == UNKNOWN:
            self.may_exist = True
        elif reply.outcome == REFUSED:
            is_expected = reply.status == 409 and self.may_exist
            self.journal.expect("a sign-up that was reported as not done left no account", is_expected,
                                lambda: f"{self.name}: {reply}")
            self.exists = reply.status == 409
        return None

    def learn(self, grant):
        self.exists = True
        self.device_token = grant.get("device_token", self.device_token)

    def log_in(self):
        """Logs in with the device token, if there is one. Returns the token grant, or None."""
        body = {"identifier": self.name, "password": PASSWORD}
        if self.device_token:
            body["device_token"] = self.device_token
        reply = self.client.call("log in", "POST", "/auth/login", body)
        self.journal.expect("an acknowledged account can log in", reply.outcome != REFUSED or not self.exists,
                            lambda: f"{self.name}: {reply}")
        if reply.is_done:
            self.learn(reply.body)
            return self.client.with_access_token(reply)
        return None

    def begin_session(self):
        """Signs up or logs in. Returns a session, or None."""
        # Only one sign-up at a time: of two concurrent sign-ups, one would get 409.
        with self.lock:
            grant = None if self.exists else self.sign_up()
        if self.exists and not grant:
            grant = self.log_in()
        return Session(self, grant) if grant else None


class Session:
    """The tokens of one device."""

    def __init__(self, account, grant):
        self.account, self.client, self.journal = account, account.client, account.journal
        self.id = grant["session_id"]
        self.successors = {}
        self.is_ended, self.next_refresh, self.is_uncertain = False, 0, False
        self.take(grant)

    def take(self, grant):
        self.access, self.refresh_token = grant["access_token"], grant["refresh_token"]
        self.taken = time.monotonic()
        if self.is_uncertain:
            self.next_refresh, self.is_uncertain = self.taken + REQUEST_SECS, False

    def may_refresh(self):
        return time.monotonic() >= self.next_refresh

    def token(self):
        """Returns a valid access token, or None if the token must be refreshed and the refresh fails."""
        age = time.monotonic() - self.taken
        if (age > REFRESH_AFTER_SECS or self.access.is_refused) and self.may_refresh():
            self.refresh()
            age = time.monotonic() - self.taken
        return self.access if age < EXPIRES_AFTER_SECS and not self.access.is_refused else None

    def exchange(self, token, replica=None):
        """Sends the refresh token once. Returns the grant, or None; records the successor."""
        reply = self.client.call("refresh", "POST", "/auth/refresh", {"refresh_token": token}, replica=replica)
        self.journal.expect("a client that repeats a refresh stays logged in", reply.outcome != REFUSED,
                            lambda: f"session {self.id}: {reply}")
        self.is_ended = self.is_ended or reply.status == 401
        self.is_uncertain = self.is_uncertain or reply.outcome == UNKNOWN
        if not reply.is_done:
            return None
        known = self.successors.setdefault(token, set())
        known.add(reply.body["refresh_token"])
        self.journal.expect("a refresh token has at most one successor", len(known) == 1, f"session {self.id}")
        return self.client.with_access_token(reply)

    def refresh(self):
        grant = self.exchange(self.refresh_token)
        if grant:
            self.take(grant)

    def refresh_with_lost_reply(self):
        """Drops the response, and repeats the same refresh token.

        If an earlier refresh of this token has an unknown outcome, refreshes without dropping a response: the earlier
        refresh may have begun the grace period of 30 seconds. A dropped request that runs late, after the use of the
        successor, would then end the session.
        """
        if self.is_uncertain:
            self.refresh()
            return
        token, self.is_uncertain = self.refresh_token, True
        for _ in range(self.client.random.randint(1, 3)):
            self.client.send_and_drop("refresh", "POST", "/auth/refresh", {"refresh_token": token})
        if grant := self.exchange(token):
            # The successor is unused so far: the same token still returns it, on any replica.
            if self.client.random.random() < 0.5:
                self.exchange(token)
            self.take(grant)

    def refresh_twice_at_once(self):
        """Sends one refresh token to two replicas at the same time, as two processes of an app may do."""
        token, grants = self.refresh_token, []
        pair = self.client.random.sample(range(len(self.client.replicas)), 2)
        threads = [threading.Thread(target=lambda replica=replica: grants.append(self.exchange(token, replica)))
                   for replica in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if grant := next((grant for grant in grants if grant), None):
            self.take(grant)


class EndedSessions:
    """Sessions whose end was acknowledged. A thread checks each on all replicas one second later."""

    def __init__(self, replicas, journal):
        self.replicas, self.journal = range(len(replicas)), journal
        self.lock, self.waiting, self.all = threading.Lock(), [], []
        self.is_stopping = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def add(self, session):
        session.access.is_ended = True
        with self.lock:
            self.waiting.append((time.monotonic() + ENDED_AFTER_SECS, session))

    def watch(self):
        while not self.is_stopping.wait(0.02):
            with self.lock:
                due = [session for at, session in self.waiting if at <= time.monotonic()]
                self.waiting = [entry for entry in self.waiting if entry[1] not in due]
            for session in due:
                # Check in threads, because a replica without its database takes seconds to respond.
                threading.Thread(target=self.check, args=(session,), daemon=True).start()

    def check(self, session, is_final=False):
        threads = [threading.Thread(target=self.check_on, args=(session, replica, is_final))
                   for replica in self.replicas]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with self.lock:
            if not is_final:
                self.all.append(session)

    def check_on(self, session, replica, is_final):
        call, what = session.client.call, "an ended session is refused everywhere"
        is_expired = time.monotonic() - session.taken > EXPIRES_AFTER_SECS
        replies = [] if is_expired else [call("use an ended session", "GET", "/auth/session", token=session.access,
                                              replica=replica)]
        replies.append(call("use an ended session", "POST", "/auth/refresh",
                            {"refresh_token": session.refresh_token}, replica=replica))
        for reply in replies:
            is_refused = reply.status == 401 or not is_final and reply.outcome in (NOT_DONE, UNKNOWN)
            self.journal.expect(what, is_refused, lambda: f"session {session.id}: {reply}")

    def stop(self):
        self.is_stopping.set()
        self.thread.join()
