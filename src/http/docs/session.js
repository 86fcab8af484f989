// Stores the tokens of the session that is signed in on this page, and refreshes them.
//
// The tokens are in localStorage, which all tabs of this origin share. Each refresh replaces the refresh token, and
// the use of an old one ends the session, so all tabs must use the same copy. sessionStorage is copied into a
// duplicated tab, and two tabs with copies would look like a stolen token to the server. An injected script could
// read either storage; the content security policy prevents such scripts. The tokens remain on the disk until the
// user logs out or the refresh token expires.
//
// The refresh token is sent only to /auth/refresh and /auth/logout of this server.
"use strict";

const session = (() => {
  const KEY = "tripgate.session";
  const REFRESH_EARLY_MS = 10_000;
  const STORAGE_DELAY_MS = 100;
  const ATTEMPT_DELAYS_MS = [0, 500, 2_000];
  const REQUEST_TIMEOUT_MS = 10_000;
  const listeners = [];
  let queue = Promise.resolve();
  let unstored = null; // The session of this tab if the storage is full or blocked.

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  function load() {
    try {
      const current = unstored ?? JSON.parse(localStorage.getItem(KEY));
      return current && current.expires_at > Date.now() ? current : null;
    } catch {
      return null;
    }
  }

  function store(current) {
    unstored = null;
    try {
      localStorage.removeItem(KEY);
      if (current) localStorage.setItem(KEY, JSON.stringify(current));
    } catch {
      unstored = current;
    }
    notify();
  }

  function notify() {
    const current = load();
    listeners.forEach((listener) => listener(current));
  }

  // Runs the work exclusively across all tabs. Locks exist only on HTTPS and localhost; elsewhere the work is
  // exclusive only within this tab. Tabs that refresh at the same time then get the same new refresh token
  // from the server.
  function exclusively(work) {
    if (navigator.locks) return navigator.locks.request(KEY, work);
    const result = queue.then(work);
    queue = result.catch(() => {});
    return result;
  }

  function post(path, refreshToken) {
    return fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ refresh_token: refreshToken }),
      credentials: "omit",
      redirect: "error",
      keepalive: true,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
  }

  const nameOf = ({ username, email, id } = {}) => username || email || id;

  const accessOf = ({ access_token, expires_in }) =>
    ({ access_token, stale_at: Date.now() + expires_in * 1000 - REFRESH_EARLY_MS });

  function fromGrant(grant) {
    return {
      ...accessOf(grant),
      session_id: grant.session_id,
      refresh_token: grant.refresh_token,
      expires_at: Date.now() + grant.refresh_expires_in * 1000,
      name: nameOf(grant.user),
    };
  }

  // Replaces fields of the stored session, unless another session is stored by now.
  const update = (sessionId, fields) => exclusively(() => {
    const current = load();
    if (current?.session_id === sessionId) store({ ...current, ...fields });
  });

  // Refreshes the tokens. If the response is lost, repeats the request with the same token: the server
  // returns the same new refresh token. A session that was logged out or replaced in the meantime is not
  // restored.
  async function refresh(refreshToken) {
    const isCurrent = () => load()?.refresh_token === refreshToken;
    for (const delay of ATTEMPT_DELAYS_MS) {
      await pause(delay);
      if (!isCurrent()) return;
      const response = await post("api/v1/auth/refresh", refreshToken).catch(() => null);
      const grant = response && response.ok && (await response.json().catch(() => null));
      if (grant) return isCurrent() && store(fromGrant(grant));
      if (response && response.status === 401) return isCurrent() && store(null);
    }
  }

  return {
    // Calls the listener with the session now, and whenever it changes in this or another tab.
    watch(listener) {
      listeners.push(listener);
      listener(load());
    },

    // Returns the id of the session, or undefined.
    id: () => load()?.session_id,

    // Stores the response to signing up, logging in or refreshing, and logs out another session that was
    // stored before.
    remember: (grant) => exclusively(async () => {
      const former = load();
      store(fromGrant(grant));
      if (former && former.session_id !== grant.session_id) {
        await post("api/v1/auth/logout", former.refresh_token).catch(() => {});
      }
    }),

    // Returns the access token, or null. Refreshes the token first if it has expired or equals `rejected`.
    token: (rejected) => {
      const isFresh = (current) => !current || (current.access_token !== rejected && Date.now() < current.stale_at);
      const token = () => load()?.access_token ?? null;
      if (isFresh(load())) return Promise.resolve(token());
      return exclusively(async () => {
        // A session that another tab has stored becomes visible shortly after that tab releases the lock. If
        // the session becomes visible even later, the server returns the same new refresh token to this tab.
        if (!isFresh(load())) await pause(STORAGE_DELAY_MS);
        const current = load();
        if (!isFresh(current)) await refresh(current.refresh_token);
        return token();
      });
    },

    // Deletes both tokens immediately, even during a refresh, and then logs out on the server if it is reachable.
    end: async () => {
      const current = load();
      store(null);
      if (current) await post("api/v1/auth/logout", current.refresh_token).catch(() => {});
    },

    // Deletes the tokens if a logout request that the user sent from the page contained the refresh token.
    ended: (body) => exclusively(() => {
      const current = load();
      if (current && String(body).includes(JSON.stringify(current.refresh_token))) store(null);
    }),

    // Stores the new access token of a user who has authenticated again.
    renew: (sessionId, grant) => update(sessionId, accessOf(grant)),

    // Stores the name of the user, which may have changed.
    rename: async (sessionId, user) => {
      if (load()?.name !== nameOf(user)) await update(sessionId, { name: nameOf(user) });
    },

    // Deletes the tokens of a session that has ended on the server.
    forget: (sessionId) => exclusively(() => {
      if (load()?.session_id === sessionId) store(null);
    }),

    start() {
      if (!load()) store(null);
      try {
        localStorage.removeItem("authorized"); // Swagger UI used to store credentials here, including passwords.
      } catch {
        // The storage is blocked, so it is empty.
      }
      addEventListener("storage", (event) => {
        if (event.key !== KEY && event.key !== null) return;
        unstored = null;
        notify();
      });
    },
  };
})();
