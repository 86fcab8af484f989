// What a newcomer does on /docs, what happens to their session, and how the pages look.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import {
  PASSWORD, PHONE, SERVER, SHOTS, alter, api, call, close, kept, open, overflow, person, signUp, signedIn,
  stored, visit,
} from "./swagger.mjs";

before(open);
after(close);

const NOWHERE = "https://elsewhere.example";

describe("the documentation", { concurrency: 3 }, () => {
  test("an access token that ran out is refreshed by itself", async () => {
    const ada = await person();
    await visit(ada.page);
    await signUp(ada.page, "expiry");
    const old = await kept(ada.page);
    const isGood = async () => (await api("/auth/session", { token: old.access_token })).status === 200;
    for (let tries = 0; await isGood(); tries += 1) {
      assert.ok(tries < 60, "the token never runs out");
      await pause(2_000);
    }
    const answer = await call(ada.page, "list_trips");
    assert.equal(answer.status, 200, answer.text);
    assert.equal(ada.refreshes().length, 1);
    const now = await kept(ada.page);
    assert.notEqual(now.access_token, old.access_token);
    assert.notEqual(now.refresh_token, old.refresh_token);
    assert.deepEqual(ada.errors, [], "it was refreshed before anything was refused");
    await ada.leave();
  });

  test("sign up, make a trip, reload, log out", async () => {
    const ada = await person();
    await visit(ada.page);
    assert.equal(await signedIn(ada.page), false);
    assert.equal((await call(ada.page, "list_trips")).status, 401);
    assert.equal((await signUp(ada.page, "newcomer")).status, 201);
    assert.equal(await ada.page.locator("#who").innerText(), "newcomer");
    const made = await call(ada.page, "create_trip", { body: { title: "Lisbon by tram" } });
    assert.equal(made.status, 201, made.text);
    assert.match((await call(ada.page, "list_trips")).text, /Lisbon by tram/);
    await ada.page.evaluate(() => scrollTo(0, 0));
    await ada.page.screenshot({ path: `${SHOTS}/docs-signed-in.png` });

    await ada.page.reload();
    await ada.page.locator(".opblock").first().waitFor();
    assert.equal(await signedIn(ada.page), true);
    assert.match((await call(ada.page, "list_trips")).text, /Lisbon by tram/);

    const { refresh_token } = await kept(ada.page);
    const told = ada.page.waitForResponse((response) => response.url().endsWith("/auth/logout"));
    await ada.page.locator("#log-out").click();
    assert.equal((await told).status(), 204);
    assert.equal(await signedIn(ada.page), false);
    assert.equal(await stored(ada.page), '[{},{},""]');
    assert.equal((await call(ada.page, "list_trips")).status, 401);
    assert.equal((await api("/auth/refresh", { body: { refresh_token } })).status, 401);
    await ada.leave();
  });

  test("logging in authorises, and so does refreshing by hand", async () => {
    const ada = await person();
    const made = await api("/auth/signup", { body: { username: "returner", password: PASSWORD } });
    const grant = await made.json();
    await visit(ada.page);
    await call(ada.page, "refresh_session", { body: { refresh_token: grant.refresh_token } });
    assert.equal((await call(ada.page, "get_me")).status, 200);
    const refreshed = await kept(ada.page);
    await call(ada.page, "log_in", { body: { identifier: "returner", password: PASSWORD } });
    assert.notEqual((await kept(ada.page)).refresh_token, refreshed.refresh_token);
    assert.equal((await call(ada.page, "get_me")).status, 200);
    await ada.leave();
  });

  test("a token that is refused before its time is refreshed, and the call sent again", async () => {
    const ada = await person();
    await visit(ada.page);
    await signUp(ada.page, "revoked");
    await alter(ada.page, { access_token: `${(await kept(ada.page)).access_token.slice(0, -4)}AAAA` });
    await ada.page.reload();
    await ada.page.locator(".opblock").first().waitFor();
    assert.equal((await call(ada.page, "create_trip", { body: { title: "Twice?" } })).status, 201);
    assert.equal(ada.refreshes().length, 1);
    assert.equal((await call(ada.page, "list_trips")).text.match(/"Twice\?"/g).length, 1);
    await ada.leave();
  });

  for (const locks of [true, false]) {
    test(`tabs that refresh at once don't break each other, ${locks ? "with" : "without"} locks`, async () => {
      const ada = await person();
      if (!locks) {
        await ada.context.addInitScript(() => Object.defineProperty(navigator, "locks", { value: undefined }));
      }
      const pages = [ada.page, await ada.context.newPage(), await ada.context.newPage()];
      await Promise.all(pages.map((page) => visit(page)));
      await signUp(pages[0], `tabs-${locks}`);
      // Slow enough that all want one while the first is under way.
      let underWay = 0;
      let most = 0;
      await ada.context.route("**/auth/refresh", async (route) => {
        underWay += 1;
        most = Math.max(most, underWay);
        const answer = await route.fetch();
        await pause(1_500);
        underWay -= 1;
        await route.fulfill({ response: answer });
      });
      for (let round = 0; round < 2; round += 1) {
        await alter(pages[0], { stale_at: 0 });
        await Promise.all(pages.map((page) => page.evaluate(() => Promise.all([session.token(), session.token()]))));
        for (const page of pages) assert.equal((await call(page, "get_me")).status, 200);
      }
      assert.equal(most, locks ? 1 : pages.length);
      const [{ refresh_token }, ...others] = await Promise.all(pages.map(kept));
      assert.ok(others.every((other) => other.refresh_token === refresh_token));
      assert.equal((await api("/auth/refresh", { body: { refresh_token } })).status, 200, "the session lives");
      await ada.leave();
    });
  }

  test("all calls of a tab wait for one refresh", async () => {
    const ada = await person();
    await visit(ada.page);
    await signUp(ada.page, "waiting");
    await alter(ada.page, { stale_at: 0 });
    const ask = () => Promise.all([session.token(), session.token(), session.token()]);
    assert.equal(new Set(await ada.page.evaluate(ask)).size, 1);
    assert.equal(ada.refreshes().length, 1);
    await ada.leave();
  });

  test("logging out in one tab logs out in all", async () => {
    const ada = await person();
    const other = await ada.context.newPage();
    await Promise.all([ada.page, other].map((page) => visit(page)));
    await signUp(ada.page, "elsewhere");
    await other.locator("#session").waitFor();
    await ada.page.locator("#log-out").click();
    await other.locator("#session").waitFor({ state: "hidden" });
    assert.equal((await call(other, "get_me")).status, 401);
    await ada.leave();
  });

  test("a lost reply is asked for again with the same token", async () => {
    const ada = await person();
    await visit(ada.page);
    await signUp(ada.page, "lost");
    let lost = 0;
    await ada.page.route("**/auth/refresh", async (route) => {
      if (lost > 0) return route.continue();
      lost += 1;
      await route.fetch();
      await route.abort("connectionreset");
    });
    await alter(ada.page, { stale_at: 0 });
    assert.equal((await call(ada.page, "get_me")).status, 200);
    const sent = ada.refreshes().map((request) => request.postData());
    assert.equal(sent.length, 2);
    assert.equal(sent[0], sent[1]);
    await ada.leave();
  });

  test("a session that was ended elsewhere is forgotten, one whose server is away is not", async () => {
    const ada = await person();
    await visit(ada.page);
    await signUp(ada.page, "ended");
    const before = await kept(ada.page);
    await ada.page.route("**/auth/refresh", (route) => route.fulfill({ status: 503, body: "{}" }));
    await alter(ada.page, { stale_at: 0 });
    assert.equal((await call(ada.page, "get_me")).status, 200);
    assert.equal((await kept(ada.page)).refresh_token, before.refresh_token);
    await ada.page.unroute("**/auth/refresh");
    await api("/auth/logout", { body: { refresh_token: before.refresh_token } });
    assert.equal((await call(ada.page, "get_me")).status, 401);
    assert.equal(await signedIn(ada.page), false);
    assert.equal(await kept(ada.page), null);
    await ada.leave();
  });

  test("logging out does not wait for a refresh, and no refresh undoes it", async () => {
    const ada = await person();
    await visit(ada.page);
    await signUp(ada.page, "leaving");
    const started = Promise.withResolvers();
    await ada.page.route("**/auth/refresh", async (route) => {
      started.resolve();
      await new Promise((done) => setTimeout(done, 1_500));
      await route.continue();
    });
    await alter(ada.page, { stale_at: 0 });
    const calling = call(ada.page, "get_me");
    await started.promise;
    await ada.page.locator("#log-out").click();
    assert.equal(await kept(ada.page), null);
    assert.equal((await calling).status, 401);
    assert.equal(await kept(ada.page), null);
    assert.equal(await signedIn(ada.page), false);
    await ada.leave();
  });

  test("the refresh token goes to refresh and logout alone", async () => {
    const ada = await person();
    await visit(ada.page);
    await signUp(ada.page, "secretive");
    const secrets = [(await kept(ada.page)).refresh_token];
    for (const operation of ["get_me", "list_trips", "get_session"]) {
      await alter(ada.page, { stale_at: 0 });
      await call(ada.page, operation);
      secrets.push((await kept(ada.page)).refresh_token);
    }
    assert.equal(new Set(secrets).size, 4);
    for (const request of ada.asked) {
      const sent = [request.url(), JSON.stringify(request.headers()), request.postData()].join(" ");
      const isFor = /\/api\/v1\/auth\/(refresh|logout)$/.test(request.url());
      assert.ok(isFor || !secrets.some((secret) => sent.includes(secret)), request.url());
    }
    await ada.leave();
  });

  test("logging out by hand or in the window forgets too", async () => {
    const ada = await person();
    await visit(ada.page);
    await signUp(ada.page, "handy");
    const { refresh_token } = await kept(ada.page);
    assert.equal((await call(ada.page, "log_out", { body: { refresh_token: "somebody-elses" } })).status, 204);
    assert.equal(await signedIn(ada.page), true);
    assert.equal((await call(ada.page, "log_out", { body: { refresh_token } })).status, 204);
    await ada.page.locator("#session").waitFor({ state: "hidden" });
    assert.equal(await stored(ada.page), '[{},{},""]');
    assert.equal((await call(ada.page, "get_me")).status, 401);

    await call(ada.page, "log_in", { body: { identifier: "handy", password: PASSWORD } });
    await ada.page.locator(".btn.authorize").first().click();
    const bearer = ada.page.locator(".auth-container", { hasText: "bearerAuth" });
    await bearer.getByText("Logout").click();
    await ada.page.locator("#session").waitFor({ state: "hidden" });
    await ada.page.locator(".btn-done").first().click();
    assert.equal(await stored(ada.page), '[{},{},""]');
    assert.equal((await call(ada.page, "get_me")).status, 401);
    await ada.leave();
  });

  test("passwords, services' secrets and tokens that are typed in are not stored", async () => {
    const ada = await person();
    await api("/auth/signup", { body: { username: "typist", password: PASSWORD } });
    const login = await api("/auth/login", { body: { identifier: "typist", password: PASSWORD } });
    const { access_token } = await login.json();
    await visit(ada.page);
    await ada.page.evaluate(() => localStorage.setItem("authorized", "what an earlier page kept"));
    await ada.page.reload();
    await ada.page.locator(".btn.authorize").first().click();
    const clientAuth = ["a-service", "its-secret"];
    const typed = { basicAuth: ["typist", PASSWORD], clientAuth, bearerAuth: [access_token] };
    for (const [scheme, values] of Object.entries(typed)) {
      const container = ada.page.locator(".auth-container", { hasText: scheme });
      for (const [at, value] of values.entries()) await container.locator("input").nth(at).fill(value);
      await container.locator(".btn.authorize").click();
    }
    await ada.page.locator(".btn-done").first().click();
    assert.equal((await call(ada.page, "verify_credentials")).status, 200);
    assert.equal((await call(ada.page, "get_me")).status, 200);
    assert.equal(await stored(ada.page), '[{},{},""]');
    await ada.page.reload();
    await ada.page.locator(".opblock").first().waitFor();
    assert.equal((await call(ada.page, "get_me")).status, 401);
    await ada.leave();
  });

  test("a link into the page opens its operation, and opening one makes a link", async () => {
    const ada = await person();
    await visit(ada.page, "/docs#/Trips/create_trip");
    await ada.page.locator("#operations-Trips-create_trip.is-open").waitFor();
    await ada.page.locator("#operations-Trips-list_trips .opblock-summary-control").click();
    await ada.page.waitForFunction(() => location.hash === "#/Trips/list_trips");
    await ada.leave();
  });

  test("an address in the query does nothing", async () => {
    const ada = await person();
    const queries = ["url=", "configUrl=", "urls.primaryName=x&url="].map((name) => `${name}${NOWHERE}/openapi.json`);
    for (const query of queries) {
      await visit(ada.page, `/docs?${query}&persistAuthorization=true&validatorUrl=${NOWHERE}`);
      assert.equal(await ada.page.locator(".info .title").innerText(), "Tripgate");
    }
    // Nothing but this server was asked: `leave` looks at every request.
    assert.ok(ada.asked.filter((request) => request.url() === `${SERVER}/openapi.json`).length === 3);
    await ada.leave();
  });

  test("operations show their scopes, and problems lead to their pages", async () => {
    const ada = await person();
    await visit(ada.page);
    const asks = async (operation) => ada.page.locator(`[id$="-${operation}"] .scope`).allInnerTexts();
    await ada.page.locator(".scope").first().waitFor();
    assert.deepEqual(await asks("create_trip"), ["trips:write"]);
    assert.deepEqual(await asks("verify_credentials"), ["password"]);
    assert.deepEqual(await asks("introspect_token"), ["service"]);
    assert.deepEqual(await asks("sign_up"), []);
    const { status, block } = await call(ada.page, "list_trips");
    assert.equal(status, 401);
    const [page] = await Promise.all([ada.context.waitForEvent("page"), block.locator(".meaning a").click()]);
    await page.waitForURL(`${SERVER}/problems/unauthenticated`);
    assert.equal(await page.locator("dd code").first().innerText(), "unauthenticated");
    await page.getByRole("link", { name: "All problems" }).click();
    await page.waitForURL(`${SERVER}/problems#401`);
    const documented = block.locator('.responses-table:not(.live-responses-table) tr[data-code="422"] a').first();
    assert.equal(await documented.getAttribute("href"), "problems#422");
    await ada.leave();
  });
});

describe("every page", { concurrency: 3 }, () => {
  for (const [name, options] of Object.entries({ desktop: {}, phone: PHONE })) {
    for (const colorScheme of ["light", "dark"]) {
      test(`${name}, ${colorScheme}`, async () => {
        const ada = await person({ ...options, colorScheme });
        const grounds = new Set();
        const operations = ["docs#/Trips/create_trip", "docs#/Sync/send_operations"];
        const paths = ["docs", ...operations, "problems", "problems/invalid"];
        for (const path of paths) {
          // Else the next link into the page would be no new page.
          await ada.page.goto("about:blank");
          await ada.page.goto(`${SERVER}/${path}`);
          if (path.startsWith("docs")) await ada.page.locator(".opblock").first().waitFor();
          assert.match(await ada.page.locator(".brand").innerText(), /^Tripgate\s\d+\.\d+\.\d+$/);
          const links = await ada.page.locator(".top nav a").allInnerTexts();
          assert.deepEqual(links, ["Docs", "Problems", "openapi.json"]);
          grounds.add(await ada.page.evaluate(() => getComputedStyle(document.body).backgroundColor));
          if (operations.includes(path)) await ada.page.locator(".is-open .responses-table").first().waitFor();
          await pause(300);
          assert.deepEqual(await overflow(ada.page), [], path);
          const file = `${path.replace(/\W+/g, "-")}-${name}-${colorScheme}.png`;
          await ada.page.screenshot({ path: `${SHOTS}/${file}` });
        }
        assert.equal(grounds.size, 1, "one ground under all pages");
        await visit(ada.page);
        await signUp(ada.page, `look-${name}-${colorScheme}`);
        const { block } = await call(ada.page, "create_trip", { body: { title: "" } });
        await block.locator(".meaning").scrollIntoViewIfNeeded();
        await ada.page.screenshot({ path: `${SHOTS}/docs-problem-${name}-${colorScheme}.png` });
        assert.deepEqual(await overflow(ada.page), [], "with an answer");
        await ada.page.locator(".btn.authorize").first().click();
        assert.deepEqual(await overflow(ada.page), [], "with the window");
        await ada.leave();
      });
    }
  }
});
