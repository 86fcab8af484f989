// Tests the pages that the links in mails open. The mails are files in the server's data directory.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { contrast } from "./contrast.mjs";
import { link } from "./mails.mjs";
import { PASSWORD, SERVER, api, close, openProfile, overflow, screenshot } from "./swagger.mjs";

const NEW_PASSWORD = "a louder harbour at dawn";
// A viewport is in CSS pixels: `phone` has the layout of a window of 1280 pixels at 400 % zoom, and `zoomed` has
// the layout of such a window at 200 %.
const WINDOWS = {
  desktop: { viewport: { width: 1280, height: 900 } },
  phone: { viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
  zoomed: { viewport: { width: 640, height: 450 }, deviceScaleFactor: 2 },
};

after(close);

async function signUp(name) {
  const email = `${name}@example.org`;
  const response = await api("/auth/signup", { body: { email, password: PASSWORD } });
  assert.equal(response.status, 201);
  return { email, grant: await response.json() };
}

const logIn = async (identifier, password) => (await api("/auth/login", { body: { identifier, password } })).status;

async function resetLink(email) {
  assert.equal((await api("/auth/password/forgot", { body: { email } })).status, 202);
  return link(email, "reset");
}

// Changes the address of a user, and returns the link that undoes the change.
async function undoLink({ email, grant: { access_token } }, changed) {
  assert.equal((await api("/me/email", { token: access_token, body: { email: changed } })).status, 202);
  const token = new URL(await link(changed, "confirm")).hash.slice(1);
  assert.equal((await api("/auth/email/confirm", { token: access_token, body: { token } })).status, 204);
  return link(email, "undo");
}

// Logs a user in on a new device, and returns the link that ends the session.
async function sessionLink({ email }) {
  const body = { identifier: email, password: PASSWORD, device_name: "Tablet" };
  assert.equal((await api("/auth/login", { body })).status, 200);
  return link(email, "session");
}

// The links, each with the operation of its page and the fields that the page sends with the token.
const LINKS = {
  confirm: [({ email }) => link(email, "confirm"), "/auth/email/confirm", { password: PASSWORD }],
  reset: [({ email }) => resetLink(email), "/auth/password/reset", { new_password: NEW_PASSWORD }],
  undo: [(user) => undoLink(user, "scanned@new.example.org"), "/auth/email/undo", {}],
  session: [sessionLink, "/auth/session/end", {}],
};

const message = (page) => page.locator("#message");

describe("the pages of mailed links", { concurrency: 2 }, () => {
  test("the reset page asks for a password, shows why a password is rejected, and works once", async () => {
    const { email } = await signUp("reset");
    const url = await resetLink(email);
    const ada = await openProfile();
    await ada.page.goto(url);
    await ada.page.getByRole("button", { name: "Set the password" }).click();
    assert.equal(await message(ada.page).innerText(), "Please enter the password.");
    await ada.page.getByLabel("New password").fill("short");
    await ada.page.keyboard.press("Enter");
    await ada.page.getByText("Password is too short").waitFor();
    assert.equal(await ada.page.evaluate(() => document.activeElement.id), "password");
    assert.equal(await ada.page.locator("#password").getAttribute("aria-invalid"), "true");
    await screenshot(ada.page, "account-reset-error");
    await ada.page.getByLabel("New password").fill(NEW_PASSWORD);
    await ada.page.getByLabel("Show the password").check();
    assert.equal(await ada.page.locator("#password").getAttribute("type"), "text");
    await ada.page.getByRole("button", { name: "Set the password" }).click();
    await ada.page.getByRole("heading", { name: "Your password is changed" }).waitFor();
    assert.equal(await ada.page.evaluate(() => document.activeElement.id), "done");
    assert.equal(new URL(ada.page.url()).hash, "");
    assert.equal(await logIn(email, NEW_PASSWORD), 200);
    await ada.page.goto("about:blank");
    await ada.page.goto(url);
    await ada.page.getByLabel("New password").fill("another quiet harbour");
    await ada.page.getByRole("button", { name: "Set the password" }).click();
    await ada.page.getByText("This code is not valid or has expired").waitFor();
    assert.equal(await logIn(email, NEW_PASSWORD), 200);
    await ada.close();
  });

  test("the confirmation page requires the password of the account or a new password", async () => {
    for (const [name, choice, password] of [["confirm", null, PASSWORD], ["reclaim", "With a new password", NEW_PASSWORD]]) {
      const { email, grant } = await signUp(name);
      const ada = await openProfile();
      await ada.page.goto(await link(email, "confirm"));
      if (choice) {
        await ada.page.getByLabel(choice).check();
        assert.match(await ada.page.locator("#hint").innerText(), /logged out/);
        await ada.page.getByLabel("New password", { exact: true }).fill(password);
      } else {
        await ada.page.getByLabel("Password", { exact: true }).fill("not the password");
        await ada.page.getByRole("button", { name: "Confirm the address" }).click();
        await ada.page.getByText("Password is wrong").waitFor();
        await ada.page.getByLabel("Password", { exact: true }).fill(password);
      }
      await ada.page.getByRole("button", { name: "Confirm the address" }).click();
      await ada.page.getByRole("heading", { name: "Your email address is confirmed" }).waitFor();
      assert.equal(await logIn(email, password), 200);
      const me = await api("/me", { token: grant.access_token });
      assert.equal(me.status, choice ? 401 : 200);
      await ada.close();
    }
  });

  test("a button on the page of an undo link undoes the change of the email address", async () => {
    const user = await signUp("undo");
    const { email } = user;
    const changed = "undo@new.example.org";
    const url = await undoLink(user, changed);
    const ada = await openProfile();
    await ada.page.goto(url);
    assert.equal(await logIn(changed, PASSWORD), 200);
    await ada.page.getByRole("button", { name: "Undo the change" }).click();
    await ada.page.getByRole("heading", { name: "Your email address is back" }).waitFor();
    assert.equal(await logIn(email, PASSWORD), 200);
    await ada.close();
  });

  test("a button on the page of a device report ends only the session of the new device", async () => {
    const { email, grant } = await signUp("device");
    const login = await api("/auth/login", { body: { identifier: email, password: PASSWORD, device_name: "Tablet" } });
    const tablet = await login.json();
    const alive = async ({ access_token }) => (await api("/me", { token: access_token })).status === 200;
    const ada = await openProfile();
    await ada.page.goto(await link(email, "session"));
    assert.equal(await alive(tablet), true);
    await ada.page.getByRole("button", { name: "End this session" }).click();
    await ada.page.getByRole("heading", { name: "The session has ended" }).waitFor();
    assert.equal(await alive(tablet), false);
    assert.equal(await alive(grant), true);
    await ada.close();
  });

  for (const [path, [linkOf, operation, fields]] of Object.entries(LINKS)) {
    test(`opening the link to the page ${path} 20 times, also in a browser that runs scripts, does not use up the link`, async () => {
      // S-46
      const url = await linkOf(await signUp(`scanned-${path}`));
      const ada = await openProfile();
      const sent = [];
      ada.page.on("request", (request) => sent.push(`${request.method()} ${request.url()}`));
      for (let visits = 0; visits < 20; visits += 1) {
        for (const method of ["HEAD", "GET"]) assert.equal((await fetch(url, { method })).status, 200);
        await ada.page.goto("about:blank");
        await ada.page.goto(url);
        await ada.page.locator("#form").waitFor();
      }
      assert.ok(sent.every((request) => request.startsWith("GET ") && !request.includes("/api/")), sent.join("\n"));
      assert.ok(sent.every((request) => request.includes(SERVER) || request.includes("about:blank")), "an outside request");
      const token = new URL(url).hash.slice(1);
      assert.equal((await api(operation, { body: { token, ...fields } })).status, 204);
      await ada.close();
    });
  }

  test("the page of an undo link reports a missing token and an unavailable server", async () => {
    const ada = await openProfile();
    await ada.page.goto(`${SERVER}/account/undo`);
    assert.match(await message(ada.page).innerText(), /not complete/);
    assert.equal(await ada.page.locator("#form").isVisible(), false);
    await ada.page.goto("about:blank");
    await ada.page.goto(`${SERVER}/account/undo#x`);
    await ada.context.route("**/api/**", (route) => route.abort());
    await ada.page.getByRole("button").click();
    await ada.page.getByText("can't be reached").waitFor();
    await ada.close();
  });

  for (const [name, window] of Object.entries(WINDOWS)) {
    for (const colorScheme of ["light", "dark"]) {
      test(`the pages of mailed links fit the window and have enough contrast: ${name}, ${colorScheme}`, async () => {
        const ada = await openProfile({ ...window, colorScheme });
        for (const path of ["confirm", "reset", "undo", "session"]) {
          await ada.page.goto("about:blank");
          await ada.page.goto(`${SERVER}/account/${path}#x`);
          if (path === "confirm") await ada.page.getByLabel("With a new password").check();
          if (["confirm", "reset"].includes(path)) await ada.page.locator("#password").fill("a quiet sea");
          const look = async (state) => {
            await screenshot(ada.page, `account-${path}${state}-${name}-${colorScheme}`, { fullPage: true });
            assert.deepEqual(await overflow(ada.page), [], `${path}${state} is wider than the window`);
            assert.deepEqual(await contrast(ada.page), [], `${path}${state} has too little contrast`);
          };
          await look("");
          await ada.page.locator("#submit").click();
          await ada.page.getByText(/not valid/).waitFor();
          await look("-error");
        }
        await ada.close();
      });
    }
  }
});
