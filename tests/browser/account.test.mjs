// Tests the box at the top of /docs, the layout of the page, the filter and the "Authorize" window.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import {
  PASSWORD, SERVER, api, call, close, allStored, enter, openProfile, signedIn, storedSession, visit,
} from "./swagger.mjs";

after(close);

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

describe("the documentation", { concurrency: 2 }, () => {
  test("a user signs up, logs out and logs in at the top of the page", async () => {
    // N-11
    const ada = await openProfile();
    const { page } = ada;
    await visit(page);
    await enter(page, "grace@example.org", PASSWORD, "Sign up");
    await page.locator("#session").waitFor();
    const text = async () => (await page.locator("#session").innerText()).replace(/\s+/g, " ");
    assert.equal(await text(), "Signed in as grace@example.org · Log out");
    assert.equal(await page.locator("#account-form").isVisible(), false);
    assert.equal((await call(page, "get_me")).status, 200);

    await page.locator("#log-out").click();
    await page.locator("#account-form").waitFor();
    assert.equal(await page.locator("#password").inputValue(), "", "the password is gone");
    assert.equal(await allStored(page), '[{},{},""]');
    assert.equal((await call(page, "get_me")).status, 401);

    await page.locator("#identifier").fill("Grace@Example.org");
    await page.locator("#password").fill(PASSWORD);
    await page.keyboard.press("Enter");
    await page.locator("#session").waitFor();
    assert.equal((await call(page, "get_me")).status, 200);
    await ada.close();
  });

  test("the sign-up and login form shows why an attempt failed", async () => {
    // N-11
    const ada = await openProfile();
    const { page } = ada;
    await api("/auth/signup", { body: { username: "taken-name", password: PASSWORD } });
    await visit(page);
    const message = page.locator("#account-message");
    for (const [identifier, password, button, expected] of [
      ["taken-name", PASSWORD, "Sign up", /already|taken/i],
      ["taken-name", "another password", "Log in", /password/i],
      ["a b", PASSWORD, "Sign up", /username/i],
      ["free-name", "short", "Sign up", /password/i],
    ]) {
      await enter(page, identifier, password, button);
      await page.waitForFunction(() => !document.querySelector("#account-form button").disabled);
      assert.match(await message.innerText(), expected);
      assert.equal(await storedSession(page), null);
    }
    await page.route("**/auth/login", (route) => route.abort());
    await enter(page, "taken-name", PASSWORD, "Log in");
    await page.waitForFunction(() => /can't be reached/.test(document.getElementById("account-message").innerText));
    await page.unroute("**/auth/login");
    // A login by the operation `log_in` also removes the message.
    await call(page, "log_in", { body: { identifier: "taken-name", password: PASSWORD } });
    await page.locator("#session").waitFor();
    assert.equal(await message.isVisible(), false);
    await ada.close();
  });

  test("the operations are at the top, and the introduction and the schemas are collapsed", async () => {
    // N-11
    for (const [options, limit] of [[{}, 500], [PHONE, 900]]) {
      const ada = await openProfile(options);
      await visit(ada.page);
      const top = (selector) => ada.page.locator(selector).first().evaluate((element) => element.getBoundingClientRect().top);
      assert.ok((await top("#account")) < 130);
      assert.ok((await top(".opblock")) < limit, `${await top(".opblock")}`);
      assert.equal(await ada.page.locator("#guide").evaluate((guide) => guide.open), false);
      assert.equal(await ada.page.locator(".models.is-open").count(), 0);
      const operations = await ada.page.locator(".opblock").count();
      const height = await ada.page.evaluate(() => document.documentElement.scrollHeight);
      assert.ok(height < 150 * operations, `${height} pixels for ${operations} operations`);
      await ada.page.locator("#guide summary").click();
      assert.ok(await ada.page.getByRole("heading", { name: "Concurrent changes" }).isVisible());
      await ada.close();
    }
  });

  test("the content of the page is centered, as on the other pages", async () => {
    // N-25
    const ada = await openProfile({ viewport: { width: 1600, height: 900 } });
    for (const [path, selector] of [["/docs", "#account"], ["/docs", ".opblock"], ["/problems", "main"]]) {
      await ada.page.goto(SERVER + path);
      const box = await ada.page.locator(selector).first().evaluate((element) => {
        const { left, right } = element.getBoundingClientRect();
        return [left, document.documentElement.clientWidth - right];
      });
      assert.ok(Math.abs(box[0] - box[1]) < 2, `${selector}: ${box}`);
    }
    await ada.close();
  });

  test("the filter shows only operations that contain every entered word, and the group links show a group", async () => {
    // N-11
    const ada = await openProfile();
    const { page } = ada;
    await visit(page);
    const count = () => page.locator(".opblock").count();
    const all = await count();
    const filter = page.getByRole("searchbox", { name: "Filter operations" });
    for (const [words, expected] of [["list_trips", 1], ["POST trips stops", 1], ["health", 2], ["reorder", 1]]) {
      await filter.fill(words);
      await page.waitForFunction((expected) => document.querySelectorAll(".opblock").length === expected, expected);
    }
    await filter.fill("nothing of the kind");
    assert.equal(await page.locator(".empty").innerText(), "No operation matches “nothing of the kind”.");
    await page.getByRole("navigation", { name: "Groups" }).getByText("Sync").click();
    await page.waitForFunction((all) => document.querySelectorAll(".opblock").length === all, all);
    await page.waitForFunction(() => document.getElementById("operations-tag-Sync").getBoundingClientRect().top < 600);
    await ada.close();
  });

  test("the page contains neither the word Logout nor the word Cancel, and the Reset button restores the example", async () => {
    // N-25
    const ada = await openProfile(PHONE);
    const { page } = ada;
    await visit(page);
    await enter(page, "word@example.org", PASSWORD, "Sign up");
    await page.locator("#session").waitFor();
    await call(page, "list_trips");
    await page.locator(".btn.authorize").first().click();
    const text = await page.locator("body").innerText();
    assert.doesNotMatch(text, /Logout|Cancel/);
    assert.doesNotMatch(await page.locator("#account").innerText(), /\s[.,;]|^[.,;]/m);
    await page.keyboard.press("Escape");
    // The Reset button appears only after the body was edited.
    await call(page, "create_trip", { body: { title: "Edited" } });
    const block = page.locator('[id$="-create_trip"].opblock');
    await block.getByRole("button", { name: "Reset" }).click();
    assert.match(await block.locator("textarea.body-param__text").inputValue(), /Lisbon in spring/);
    await ada.close();
  });
});

describe("the authorization window", { concurrency: 2 }, () => {
  for (const [name, options] of Object.entries({ desktop: {}, phone: PHONE })) {
    test(`the window opens at its top with the focus in the first field, and Escape closes it: ${name}`, async () => {
      // N-10
      const ada = await openProfile({ ...options, viewport: { width: options.viewport?.width ?? 1280, height: 500 } });
      const { page } = ada;
      await visit(page);
      const button = page.locator(".toolbar .btn.authorize");
      await button.click();
      const dialog = page.getByRole("dialog", { name: "Authorize" });
      await dialog.waitFor();
      const scrolled = await dialog.locator(".modal-ux-content").evaluate((content) => [content.scrollTop, content.scrollHeight - content.clientHeight]);
      assert.equal(scrolled[0], 0);
      assert.ok(scrolled[1] > 0, "the window is smaller than its content");
      const focused = () => page.evaluate(() => document.activeElement.id);
      assert.equal(await focused(), "auth-bearer-value");
      // The Tab key moves the focus only within the window.
      for (let presses = 0; presses < 12; presses += 1) {
        await page.keyboard.press("Tab");
        assert.ok(await page.evaluate(() => document.querySelector("[role=dialog]").contains(document.activeElement)));
      }
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
      assert.ok(await button.evaluate((element) => element === document.activeElement), "the focus returns");
      await button.click();
      await page.getByRole("button", { name: "Close" }).first().click();
      await dialog.waitFor({ state: "detached" });
      await ada.close();
    });
  }

  test("the authorization window offers Basic authentication only for operations that accept it", async () => {
    // N-10
    await api("/auth/signup", { body: { username: "basic-user", password: PASSWORD } });
    const ada = await openProfile();
    const { page } = ada;
    await visit(page);
    await page.locator(".toolbar .btn.authorize").click();
    const dialog = page.getByRole("dialog");
    const names = async () => (await dialog.locator("h4 code").allInnerTexts()).sort();
    assert.deepEqual(await names(), ["bearerAuth", "clientAuth"]);
    await page.keyboard.press("Escape");
    await page.locator('[id$="-verify_credentials"] .authorization__btn').click();
    assert.deepEqual(await names(), ["basicAuth"]);
    await dialog.locator("input").nth(0).fill("basic-user");
    await dialog.locator("input").nth(1).fill(PASSWORD);
    await dialog.getByRole("button", { name: "Apply credentials" }).click();
    await page.keyboard.press("Escape");
    assert.equal((await call(page, "verify_credentials")).status, 200);
    await ada.close();
  });

  test("Basic authentication works for every operation if the server accepts it everywhere", async () => {
    // N-10
    const server = process.env.SERVER_WITH_BASIC;
    const ada = await openProfile({ allowed: server });
    const { page } = ada;
    await fetch(`${server}/api/v1/auth/signup`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ username: "basic", password: PASSWORD }),
    });
    await page.goto(`${server}/docs`);
    await page.locator(".opblock").first().waitFor();
    await page.locator(".toolbar .btn.authorize").click();
    const basic = page.getByRole("dialog").locator(".auth-container", { hasText: "basicAuth" });
    await basic.locator("input").nth(0).fill("basic");
    await basic.locator("input").nth(1).fill(PASSWORD);
    await basic.getByRole("button", { name: "Apply credentials" }).click();
    await page.keyboard.press("Escape");
    assert.equal((await call(page, "list_trips")).status, 200);
    assert.equal(await signedIn(page), false);
    await ada.close();
  });
});
