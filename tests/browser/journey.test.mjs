// Tests the life of an account as a person uses it: by the page /docs, the mailbox, and the pages that the
// links in mails open. The tests check the texts on the screen. The screenshots are for a person to look at.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { contrast } from "./contrast.mjs";
import { link, mail } from "./mails.mjs";
import {
  PASSWORD, alterSession, call, close, enter, openProfile, overflow, screenshot, signedIn, storedSession, visit,
} from "./swagger.mjs";

const NEW_PASSWORD = "a louder harbour at dawn";
const REFUSED = "The email address, username or password is wrong.";
const WINDOWS = {
  desktop: { viewport: { width: 1280, height: 900 } },
  phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
};
// The security events of the newcomer, without failed logins, the newest first.
const EVENTS = [
  "login_succeeded", "email_change_undone", "email_changed", "email_change_requested", "reauthenticated",
  "login_succeeded", "password_reset", "session_ended", "email_confirmed", "signup",
];
// Makes the last authentication in a session ten minutes old, as if the user had waited.
const AGE = `
import sqlite3, sys, uuid
database = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
aged = "UPDATE sessions SET authenticated_at = authenticated_at - 600000, created_at = created_at - 600000 WHERE id = ?"
assert database.execute(aged, (uuid.UUID(sys.argv[2]).bytes,)).rowcount == 1
`;

after(close);

class Newcomer {
  static async arrive(name, window) {
    const newcomer = new Newcomer();
    newcomer.name = name;
    newcomer.email = `newcomer-${name}@example.org`;
    newcomer.changed = `newcomer-${name}@new.example.org`;
    newcomer.profile = await openProfile({ ...window, acceptDownloads: true });
    newcomer.page = newcomer.profile.page;
    await visit(newcomer.page);
    await newcomer.look(newcomer.page, "docs");
    return newcomer;
  }

  async look(page, state) {
    await screenshot(page, `journey-${state}-${this.name}`);
    assert.deepEqual(await overflow(page), [], `${state} is wider than the window`);
  }

  // Waits until the box at the top shows that this user is signed in.
  async signedInAs(name) {
    await this.page.getByText(`Signed in as ${name}`).waitFor();
  }

  // Tries to log in at the top of the page, and waits for the message that the login is refused.
  async isRefused(identifier, password) {
    await enter(this.page, identifier, password, "Log in");
    await this.page.getByRole("alert").filter({ hasText: REFUSED }).waitFor();
    assert.equal(await signedIn(this.page), false);
  }

  // Executes an operation on /docs; returns the response that the page shows.
  async execute(operation, options) {
    const result = await call(this.page, operation, options);
    await result.block.locator(".live-responses-table").scrollIntoViewIfNeeded();
    await this.look(this.page, `${operation}-${result.status}`);
    return result;
  }

  async profileShows(...texts) {
    const { status, text } = await this.execute("get_me");
    assert.equal(status, 200, text);
    for (const expected of texts) assert.ok(text.includes(expected), text);
  }

  // Opens the link of a mail in a new tab, as a mail program does. Presses the button and reads the result.
  async followLink(address, path, { field, password, button, result }) {
    const tab = await this.profile.context.newPage();
    await tab.goto(await link(address, path));
    await tab.getByRole("button", { name: button }).waitFor();
    await this.look(tab, path);
    if (field) await tab.getByLabel(field, { exact: true }).fill(password);
    await tab.getByRole("button", { name: button }).click();
    await tab.getByRole("heading", { name: result }).waitFor();
    await this.look(tab, `${path}-done`);
    assert.deepEqual(await contrast(tab), [], `${path}-done has too little contrast`);
    await tab.close();
  }

  confirm(address, password) {
    const [button, result] = ["Confirm the address", "Your email address is confirmed"];
    return this.followLink(address, "confirm", { field: "Password", password, button, result });
  }

  async signUp() {
    await enter(this.page, this.email, PASSWORD, "Sign up");
    await this.signedInAs(this.email);
    await this.look(this.page, "signed-up");
    await this.profileShows(`"email": "${this.email}"`, '"email_verified": false');
    await this.confirm(this.email, PASSWORD);
    await this.profileShows('"email_verified": true');
  }

  async losePassword() {
    await this.page.locator("#session").getByRole("button", { name: "Log out" }).click();
    await this.page.getByText("Sign up or log in to try the operations").waitFor();
    await this.isRefused(this.email, "not the password");
    await this.look(this.page, "wrong-password");
    assert.equal((await this.execute("forgot_password", { body: { email: this.email } })).status, 202);
    await this.followLink(this.email, "reset", {
      field: "New password", password: NEW_PASSWORD, button: "Set the password", result: "Your password is changed",
    });
    await this.isRefused(this.email, PASSWORD);
    await enter(this.page, this.email, NEW_PASSWORD, "Log in");
    await this.signedInAs(this.email);
  }

  // Changes the address long after the login, so the server asks for the password again.
  async changeAddress() {
    const { session_id } = await storedSession(this.page);
    execFileSync("python3", ["-c", AGE, `${process.env.DATA_DIR}/tripgate.db`, session_id]);
    await alterSession(this.page, { stale_at: 0 });
    const change = { body: { email: this.changed } };
    const refused = await this.execute("change_email", change);
    assert.equal(refused.status, 401);
    assert.match(refused.text, /Please confirm your identity to continue\./);
    assert.equal((await this.execute("reauthenticate_me", { body: { password: NEW_PASSWORD } })).status, 200);
    assert.equal((await this.execute("change_email", change)).status, 202);
    await mail(this.email, /A change of your email address/);
    await this.profileShows(`"email": "${this.email}"`);
    await this.confirm(this.changed, NEW_PASSWORD);
    await this.profileShows(`"email": "${this.changed}"`);
    await this.signedInAs(this.changed);
  }

  async undoChange() {
    const [button, result] = ["Undo the change", "Your email address is back"];
    await this.followLink(this.email, "undo", { button, result });
    const { status, text } = await this.execute("get_me");
    assert.equal(status, 401);
    assert.match(text, /Your login has ended\. Please log in again\./);
    await this.isRefused(this.changed, NEW_PASSWORD);
    await enter(this.page, this.email, NEW_PASSWORD, "Log in");
    await this.signedInAs(this.email);
    await this.profileShows(`"email": "${this.email}"`, '"email_verified": true');
  }

  async seeEvents() {
    const { status, text } = await this.execute("list_events");
    assert.equal(status, 200);
    const types = [...text.matchAll(/"type": "(\w+)"/g)].map(([, type]) => type);
    // Failed logins within a short time share one event, so the number of these events depends on the time.
    assert.deepEqual(types.filter((type) => type !== "login_failed"), EVENTS);
    assert.ok(types.includes("login_failed"));
  }

  async exportData() {
    const { status, block } = await this.execute("export_me");
    assert.equal(status, 200);
    const [download] = await Promise.all([this.page.waitForEvent("download"), block.getByText("Download file").click()]);
    assert.match(download.suggestedFilename(), /^tripgate-export-\d{4}-\d\d-\d\d\.json$/);
    const exported = JSON.parse(readFileSync(await download.path(), "utf8"));
    assert.equal(exported.user.email, this.email);
    assert.deepEqual(exported.events.map(({ type }) => type).filter((type) => type !== "login_failed").reverse(),
      ["data_exported", ...EVENTS]);
  }

  async leave() {
    assert.equal((await this.execute("delete_me", { body: { password: NEW_PASSWORD } })).status, 204);
    await this.page.getByText("Sign up or log in to try the operations").waitFor();
    assert.equal((await this.execute("get_me")).status, 401);
    for (const address of [this.email, this.changed]) await this.isRefused(address, NEW_PASSWORD);
    await this.look(this.page, "gone");
    await this.profile.close();
  }
}

describe("the life of an account", { concurrency: 2 }, () => {
  for (const [name, window] of Object.entries(WINDOWS)) {
    test(`a newcomer signs up, recovers the account, changes and restores the address, and leaves: ${name}`, async () => {
      const newcomer = await Newcomer.arrive(name, window);
      await newcomer.signUp();
      await newcomer.losePassword();
      await newcomer.changeAddress();
      await newcomer.undoChange();
      await newcomer.seeEvents();
      await newcomer.exportData();
      await newcomer.leave();
    });
  }
});
