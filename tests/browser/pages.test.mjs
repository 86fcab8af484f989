// Tests the use of /docs by a new user, and the handling of the session.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { mail } from "./mails.mjs";
import {
  KEY, PASSWORD, SERVER, allStored, alterSession, api, call, close, openProfile, screenshot, signUp, signedIn,
  storedSession, visit,
} from "./swagger.mjs";

after(close);

const OTHER_ORIGIN = "https://elsewhere.example";

describe("the documentation", { concurrency: 3 }, () => {
  test("an expired access token is refreshed automatically", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    await signUp(ada.page, "expiry");
    const old = await storedSession(ada.page);
    const isValid = async () => (await api("/auth/session", { token: old.access_token })).status === 200;
    for (let tries = 0; await isValid(); tries += 1) {
      assert.ok(tries < 60, "the token does not expire");
      await pause(2_000);
    }
    const response = await call(ada.page, "list_trips");
    assert.equal(response.status, 200, response.text);
    assert.equal(ada.refreshes().length, 1);
    const now = await storedSession(ada.page);
    assert.notEqual(now.access_token, old.access_token);
    assert.notEqual(now.refresh_token, old.refresh_token);
    assert.deepEqual(ada.errors, [], "the refresh came after a rejected request");
    await ada.close();
  });

  test("a user signs up, creates a trip, reloads the page and logs out", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    assert.equal(await signedIn(ada.page), false);
    assert.equal((await call(ada.page, "list_trips")).status, 401);
    assert.equal((await signUp(ada.page, "newcomer")).status, 201);
    assert.equal(await ada.page.locator("#who").innerText(), "newcomer");
    const created = await call(ada.page, "create_trip", { body: { title: "Lisbon by tram" } });
    assert.equal(created.status, 201, created.text);
    assert.match((await call(ada.page, "list_trips")).text, /Lisbon by tram/);
    await ada.page.evaluate(() => scrollTo(0, 0));
    await screenshot(ada.page, "docs-signed-in");

    await ada.page.reload();
    await ada.page.locator(".opblock").first().waitFor();
    assert.equal(await signedIn(ada.page), true);
    assert.match((await call(ada.page, "list_trips")).text, /Lisbon by tram/);

    const { refresh_token } = await storedSession(ada.page);
    const loggedOut = ada.page.waitForResponse((response) => response.url().endsWith("/auth/logout"));
    await ada.page.locator("#log-out").click();
    assert.equal((await loggedOut).status(), 204);
    assert.equal(await signedIn(ada.page), false);
    assert.equal(await allStored(ada.page), '[{},{},""]');
    assert.equal((await call(ada.page, "list_trips")).status, 401);
    assert.equal((await api("/auth/refresh", { body: { refresh_token } })).status, 401);
    await ada.close();
  });

  test("the operations that return tokens log the user in on the page", async () => {
    const ada = await openProfile();
    const account = await api("/auth/signup", { body: { username: "returner", password: PASSWORD } });
    const grant = await account.json();
    await visit(ada.page);
    await call(ada.page, "refresh_session", { body: { refresh_token: grant.refresh_token } });
    assert.equal((await call(ada.page, "get_me")).status, 200);
    const refreshed = await storedSession(ada.page);
    await call(ada.page, "log_in", { body: { identifier: "returner", password: PASSWORD } });
    assert.notEqual((await storedSession(ada.page)).refresh_token, refreshed.refresh_token);
    assert.equal((await call(ada.page, "get_me")).status, 200);

    const email = "returner@example.org";
    await api("/auth/signup", { body: { email, password: PASSWORD } });
    const { flow_id } = await (await api("/auth/login/code", { body: { email } })).json();
    const [, code] = await mail(email, /where you asked for it:\s+(\d{8})/);
    assert.equal((await call(ada.page, "log_in_by_code", { body: { flow_id, code } })).status, 200);
    await ada.page.getByText(`Signed in as ${email}`).waitFor();
    await ada.close();
  });

  test("the response of a signup is shown after the page has stored the session", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    await ada.page.evaluate((key) => new Promise((isHeld) => {
      navigator.locks.request(key, () => new Promise((release) => {
        isHeld();
        setTimeout(release, 1_000);
      }));
    }), KEY);
    assert.equal((await signUp(ada.page, "patient")).status, 201);
    assert.notEqual(await storedSession(ada.page), null);
    await ada.close();
  });

  test("the page uses the new token after the user authenticates again, and shows a changed username", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    await signUp(ada.page, "careful");
    const former = await storedSession(ada.page);
    assert.equal((await call(ada.page, "reauthenticate_me", { body: { password: PASSWORD } })).status, 200);
    const renewed = await storedSession(ada.page);
    assert.notEqual(renewed.access_token, former.access_token);
    assert.equal(renewed.refresh_token, former.refresh_token);
    assert.equal((await call(ada.page, "update_me", { body: { username: "renamed" } })).status, 200);
    assert.equal(await ada.page.locator("#who").innerText(), "renamed");
    assert.equal(ada.refreshes().length, 0);
    await ada.close();
  });

  test("the page is signed out after its user has deleted the account", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    await signUp(ada.page, "deleted");
    assert.equal((await call(ada.page, "delete_me", { body: { password: "not the password" } })).status, 422);
    assert.equal(await signedIn(ada.page), true);
    assert.equal((await call(ada.page, "delete_me", { body: { password: PASSWORD } })).status, 204);
    assert.equal(await signedIn(ada.page), false);
    assert.equal(await allStored(ada.page), '[{},{},""]');
    await ada.close();
  });

  test("a token rejected before its expiry is refreshed, and the request is repeated", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    await signUp(ada.page, "revoked");
    await alterSession(ada.page, { access_token: `${(await storedSession(ada.page)).access_token.slice(0, -4)}AAAA` });
    await ada.page.reload();
    await ada.page.locator(".opblock").first().waitFor();
    assert.equal((await call(ada.page, "create_trip", { body: { title: "Twice?" } })).status, 201);
    assert.equal(ada.refreshes().length, 1);
    assert.equal((await call(ada.page, "list_trips")).text.match(/"Twice\?"/g).length, 1);
    await ada.close();
  });

  for (const locks of [true, false]) {
    test(`simultaneous refreshes in several tabs keep the session, ${locks ? "with" : "without"} locks`, async () => {
      const ada = await openProfile();
      if (!locks) {
        await ada.context.addInitScript(() => Object.defineProperty(navigator, "locks", { value: undefined }));
      }
      const pages = [ada.page, await ada.context.newPage(), await ada.context.newPage()];
      await Promise.all(pages.map((page) => visit(page)));
      await signUp(pages[0], `tabs-${locks}`);
      // Delays each refresh, so that the other tabs need a new token while the first refresh is in progress.
      let inProgress = 0;
      let maxInProgress = 0;
      await ada.context.route("**/auth/refresh", async (route) => {
        inProgress += 1;
        maxInProgress = Math.max(maxInProgress, inProgress);
        const response = await route.fetch();
        await pause(1_500);
        inProgress -= 1;
        await route.fulfill({ response });
      });
      for (let round = 0; round < 2; round += 1) {
        await alterSession(pages[0], { stale_at: 0 });
        await Promise.all(pages.map((page) => page.evaluate(() => Promise.all([session.token(), session.token()]))));
        for (const page of pages) assert.equal((await call(page, "get_me")).status, 200);
      }
      assert.equal(maxInProgress, locks ? 1 : pages.length);
      const [{ refresh_token }, ...others] = await Promise.all(pages.map(storedSession));
      assert.ok(others.every((other) => other.refresh_token === refresh_token));
      assert.equal((await api("/auth/refresh", { body: { refresh_token } })).status, 200, "the session is active");
      await ada.close();
    });
  }

  test("all requests of a tab share one refresh", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    await signUp(ada.page, "waiting");
    await alterSession(ada.page, { stale_at: 0 });
    const getTokens = () => Promise.all([session.token(), session.token(), session.token()]);
    assert.equal(new Set(await ada.page.evaluate(getTokens)).size, 1);
    assert.equal(ada.refreshes().length, 1);
    await ada.close();
  });

  test("logging out in one tab logs out in all tabs", async () => {
    const ada = await openProfile();
    const other = await ada.context.newPage();
    await Promise.all([ada.page, other].map((page) => visit(page)));
    await signUp(ada.page, "elsewhere");
    await other.locator("#session").waitFor();
    await ada.page.locator("#log-out").click();
    await other.locator("#session").waitFor({ state: "hidden" });
    assert.equal((await call(other, "get_me")).status, 401);
    await ada.close();
  });

  test("a refresh whose response was lost is repeated with the same token", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    await signUp(ada.page, "lost");
    let lost = 0;
    await ada.page.route("**/auth/refresh", async (route) => {
      if (lost > 0) return route.continue();
      lost += 1;
      await route.fetch();
      await route.abort("connectionreset");
    });
    await alterSession(ada.page, { stale_at: 0 });
    assert.equal((await call(ada.page, "get_me")).status, 200);
    const sent = ada.refreshes().map((request) => request.postData());
    assert.equal(sent.length, 2);
    assert.equal(sent[0], sent[1]);
    await ada.close();
  });

  test("the page removes a session that was ended elsewhere, but not while the server is unavailable", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    await signUp(ada.page, "ended");
    const before = await storedSession(ada.page);
    await ada.page.route("**/auth/refresh", (route) => route.fulfill({ status: 503, body: "{}" }));
    await alterSession(ada.page, { stale_at: 0 });
    assert.equal((await call(ada.page, "get_me")).status, 200);
    assert.equal((await storedSession(ada.page)).refresh_token, before.refresh_token);
    await ada.page.unroute("**/auth/refresh");
    await api("/auth/logout", { body: { refresh_token: before.refresh_token } });
    assert.equal((await call(ada.page, "get_me")).status, 401);
    assert.equal(await signedIn(ada.page), false);
    assert.equal(await storedSession(ada.page), null);
    await ada.close();
  });

  test("logging out does not wait for a refresh, and a refresh does not undo the logout", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    await signUp(ada.page, "leaving");
    let start;
    const started = new Promise((done) => (start = done));
    await ada.page.route("**/auth/refresh", async (route) => {
      start();
      await new Promise((done) => setTimeout(done, 1_500));
      await route.continue();
    });
    await alterSession(ada.page, { stale_at: 0 });
    const calling = call(ada.page, "get_me");
    await started;
    await ada.page.locator("#log-out").click();
    assert.equal(await storedSession(ada.page), null);
    assert.equal((await calling).status, 401);
    assert.equal(await storedSession(ada.page), null);
    assert.equal(await signedIn(ada.page), false);
    await ada.close();
  });

  test("the refresh token is sent only to the operations refresh_session and log_out", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    await signUp(ada.page, "secretive");
    const secrets = [(await storedSession(ada.page)).refresh_token];
    for (const operation of ["get_me", "list_trips", "get_session"]) {
      await alterSession(ada.page, { stale_at: 0 });
      await call(ada.page, operation);
      secrets.push((await storedSession(ada.page)).refresh_token);
    }
    assert.equal(new Set(secrets).size, 4);
    for (const request of ada.requests) {
      const sent = [request.url(), JSON.stringify(request.headers()), request.postData()].join(" ");
      const isExpected = /\/api\/v1\/auth\/(refresh|logout)$/.test(request.url());
      assert.ok(isExpected || !secrets.some((secret) => sent.includes(secret)), request.url());
    }
    await ada.close();
  });

  test("the operation log_out and the button in the authorization window end the session", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    await signUp(ada.page, "handy");
    const { refresh_token } = await storedSession(ada.page);
    assert.equal((await call(ada.page, "log_out", { body: { refresh_token: "another-users" } })).status, 204);
    assert.equal(await signedIn(ada.page), true);
    assert.equal((await call(ada.page, "log_out", { body: { refresh_token } })).status, 204);
    await ada.page.locator("#session").waitFor({ state: "hidden" });
    assert.equal(await allStored(ada.page), '[{},{},""]');
    assert.equal((await call(ada.page, "get_me")).status, 401);

    await call(ada.page, "log_in", { body: { identifier: "handy", password: PASSWORD } });
    await ada.page.locator(".btn.authorize").first().click();
    const bearer = ada.page.locator(".auth-container", { hasText: "bearerAuth" });
    await bearer.getByText("Log out").click();
    await ada.page.locator("#session").waitFor({ state: "hidden" });
    await ada.page.keyboard.press("Escape");
    assert.equal(await allStored(ada.page), '[{},{},""]');
    assert.equal((await call(ada.page, "get_me")).status, 401);
    await ada.close();
  });

  test("entered passwords, client secrets and tokens are not stored", async () => {
    const ada = await openProfile();
    await api("/auth/signup", { body: { username: "typist", password: PASSWORD } });
    const login = await api("/auth/login", { body: { identifier: "typist", password: PASSWORD } });
    const { access_token } = await login.json();
    await visit(ada.page);
    await ada.page.evaluate(() => localStorage.setItem("authorized", "from an earlier version of the page"));
    await ada.page.reload();
    await ada.page.locator(".btn.authorize").first().click();
    const clientAuth = ["a-service", "its-secret"];
    const typed = { clientAuth, bearerAuth: [access_token], basicAuth: ["typist", PASSWORD] };
    for (const [scheme, values] of Object.entries(typed)) {
      if (scheme === "basicAuth") {
        await ada.page.keyboard.press("Escape");
        await ada.page.locator('[id$="-verify_credentials"] .authorization__btn').click();
      }
      const container = ada.page.locator(".auth-container", { hasText: scheme });
      for (const [index, value] of values.entries()) await container.locator("input").nth(index).fill(value);
      await container.locator(".btn.authorize").click();
    }
    await ada.page.keyboard.press("Escape");
    assert.equal((await call(ada.page, "verify_credentials")).status, 200);
    assert.equal((await call(ada.page, "get_me")).status, 200);
    assert.equal(await allStored(ada.page), '[{},{},""]');
    await ada.page.reload();
    await ada.page.locator(".opblock").first().waitFor();
    assert.equal((await call(ada.page, "get_me")).status, 401);
    await ada.close();
  });

  test("a fragment in the URL opens its operation, and opening an operation sets the fragment", async () => {
    const ada = await openProfile();
    await visit(ada.page, "/docs#/Trips/create_trip");
    await ada.page.locator("#operations-Trips-create_trip.is-open").waitFor();
    await ada.page.locator("#operations-Trips-list_trips .opblock-summary-control").click();
    await ada.page.waitForFunction(() => location.hash === "#/Trips/list_trips");
    await ada.close();
  });

  test("Swagger UI ignores URLs in the query string of the page", async () => {
    const ada = await openProfile();
    const queries = ["url=", "configUrl=", "urls.primaryName=x&url="].map((name) => `${name}${OTHER_ORIGIN}/openapi.json`);
    for (const query of queries) {
      await visit(ada.page, `/docs?${query}&persistAuthorization=true&validatorUrl=${OTHER_ORIGIN}`);
      assert.equal(await ada.page.locator("#operations-Trips-list_trips").count(), 1);
    }
    // Each visit has loaded the document of this server. `close` checks that no request went to another
    // server.
    assert.ok(ada.requests.filter((request) => request.url() === `${SERVER}/openapi.json`).length === 3);
    await ada.close();
  });

  test("operations show their scopes, and problems link to their pages", async () => {
    const ada = await openProfile();
    await visit(ada.page);
    const scopes = async (operation) => ada.page.locator(`[id$="-${operation}"] .scope`).allInnerTexts();
    await ada.page.locator(".scope").first().waitFor();
    assert.deepEqual(await scopes("create_trip"), ["trips:write"]);
    assert.deepEqual(await scopes("verify_credentials"), ["password"]);
    assert.deepEqual(await scopes("introspect_token"), ["service"]);
    assert.deepEqual(await scopes("sign_up"), []);
    const { status, block } = await call(ada.page, "list_trips");
    assert.equal(status, 401);
    const [page] = await Promise.all([ada.context.waitForEvent("page"), block.locator(".problem-link a").click()]);
    await page.waitForURL(`${SERVER}/problems/unauthenticated`);
    assert.equal(await page.locator("dd code").first().innerText(), "unauthenticated");
    await page.getByRole("link", { name: "All problems" }).click();
    await page.waitForURL(`${SERVER}/problems#401`);
    const documented = block.locator('.responses-table:not(.live-responses-table) tr[data-code="422"] a').first();
    assert.equal(await documented.getAttribute("href"), "problems#422");
    await ada.close();
  });
});
