// Whoever is signed in on this page: both tokens of one session, and who refreshes them when.
//
// They lie in localStorage, which all tabs of this origin see. The refresh token changes with each
// use, and using an old one ends the session: so it has one home, where a tab finds what another has
// made of it. sessionStorage would be copied into a duplicated tab, and two tabs that each keep a
// copy look like a thief to the server. A script that had got into the page could read either; the
// content security policy is what keeps it out. The price is that the tokens stay on the disk until
// somebody logs out, or the refresh token is too old.
//
// The refresh token goes to this server's /auth/refresh and /auth/logout, and nowhere else.
"use strict";

const session = (() => {
  const KEY = "tripgate.session";
  const EARLY_MS = 10_000;
  const SETTLE_MS = 100;
  const TRIES_AFTER_MS = [0, 500, 2_000];
  const PATIENCE_MS = 10_000;
  const listeners = [];
  let queue = Promise.resolve();
  let unstored = null; // Where storage is full or blocked: of this tab, until it is left.

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  function kept() {
    try {
      const found = unstored ?? JSON.parse(localStorage.getItem(KEY));
      return found && found.gone_at > Date.now() ? found : null;
    } catch {
      return null;
    }
  }

  function keep(found) {
    unstored = null;
    try {
      localStorage.removeItem(KEY);
      if (found) localStorage.setItem(KEY, JSON.stringify(found));
    } catch {
      unstored = found;
    }
    tell();
  }

  function tell() {
    const found = kept();
    listeners.forEach((listener) => listener(found));
  }

  // One at a time over all tabs. Locks are there on HTTPS and localhost alone; elsewhere it is one at
  // a time in this tab, and tabs that refresh at once get the same successor from the server.
  function alone(work) {
    if (navigator.locks) return navigator.locks.request(KEY, work);
    const turn = queue.then(work);
    queue = turn.catch(() => {});
    return turn;
  }

  function post(path, refreshToken) {
    return fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ refresh_token: refreshToken }),
      credentials: "omit",
      redirect: "error",
      keepalive: true,
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  }

  function ofGrant(grant) {
    const { username, email, id } = grant.user || {};
    return {
      session_id: grant.session_id,
      access_token: grant.access_token,
      refresh_token: grant.refresh_token,
      stale_at: Date.now() + grant.expires_in * 1000 - EARLY_MS,
      gone_at: Date.now() + grant.refresh_expires_in * 1000,
      name: username || email || id,
    };
  }

  // A reply that was lost is asked for again with the same token: the server gives the same successor.
  // What was logged out meanwhile, or gave way to somebody else, does not come back.
  async function refresh(refreshToken) {
    const isKept = () => kept()?.refresh_token === refreshToken;
    for (const wait of TRIES_AFTER_MS) {
      await pause(wait);
      if (!isKept()) return;
      const reply = await post("api/v1/auth/refresh", refreshToken).catch(() => null);
      const grant = reply && reply.ok && (await reply.json().catch(() => null));
      if (grant) return isKept() && keep(ofGrant(grant));
      if (reply && reply.status === 401) return isKept() && keep(null);
    }
  }

  return {
    // Calls back with what is kept, now and whenever it changes, here or in another tab.
    watch(listener) {
      listeners.push(listener);
      listener(kept());
    },

    // Whose access token it is; or undefined.
    id: () => kept()?.session_id,

    // Takes the answer of signing up, logging in or refreshing, and ends the session that it replaces.
    remember: (grant) => alone(async () => {
      const former = kept();
      keep(ofGrant(grant));
      if (former && former.session_id !== grant.session_id) {
        await post("api/v1/auth/logout", former.refresh_token).catch(() => {});
      }
    }),

    // The access token, refreshed if it has run out or is the one that was refused; or null.
    token: (refused) => {
      const isGood = (found) => !found || (found.access_token !== refused && Date.now() < found.stale_at);
      const token = () => kept()?.access_token ?? null;
      if (isGood(kept())) return Promise.resolve(token());
      return alone(async () => {
        // What another tab has stored arrives a moment later than its lock is free. Should it come too
        // late after all, the server gives this tab the same successor.
        if (!isGood(kept())) await pause(SETTLE_MS);
        const found = kept();
        if (!isGood(found)) await refresh(found.refresh_token);
        return token();
      });
    },

    // Forgets both tokens at once, whoever is refreshing them and whatever comes of telling the server.
    end: async () => {
      const found = kept();
      keep(null);
      if (found) await post("api/v1/auth/logout", found.refresh_token).catch(() => {});
    },

    // Forgets them if this body, which was sent to /auth/logout by hand, names the refresh token.
    ended: (body) => alone(() => {
      const found = kept();
      if (found && String(body).includes(JSON.stringify(found.refresh_token))) keep(null);
    }),

    start() {
      if (!kept()) keep(null);
      try {
        localStorage.removeItem("authorized"); // Where Swagger UI kept everything, passwords too.
      } catch {
        // Blocked: then nothing is there.
      }
      addEventListener("storage", (event) => {
        if (event.key !== KEY && event.key !== null) return;
        unstored = null;
        tell();
      });
    },
  };
})();
