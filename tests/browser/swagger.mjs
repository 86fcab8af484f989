// Operates Swagger UI as a user does, and records events that must never occur, such as requests to other
// hosts.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const SERVER = process.env.SERVER;
const SHOTS = process.env.SCREENSHOTS;
export const KEY = "tripgate.session";
export const PASSWORD = "a red kite over Lisbon";

let browser;

// Starts the browser once. A test file without a selected test starts no browser, so its process can end.
function launch() {
  // Root can't use the browser's sandbox. The browser loads pages from this server only.
  browser ??= chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
  return browser;
}

export const close = async () => (await browser)?.close();

// Saves a screenshot of `page`. On a loaded machine Chromium may fail to deliver one; a later attempt succeeds.
export async function screenshot(page, name, options = {}) {
  for (let attempts = 3; ; attempts -= 1) {
    try {
      return await page.screenshot({ path: `${SHOTS}/${name}.png`, timeout: 60_000, ...options });
    } catch (error) {
      if (error.name !== "TimeoutError" || attempts === 1) throw error;
    }
  }
}

// Opens a separate browser profile. `violations` collects events that must never occur, such as a request to
// a server that is not in `allowed`.
export async function openProfile({ allowed = SERVER, ...options } = {}) {
  const context = await (await launch()).newContext({ viewport: { width: 1280, height: 900 }, ...options });
  // Leaves time for a slow machine: the tests of two files run at once.
  context.setDefaultTimeout(60_000);
  const violations = [];
  const requests = [];
  const errors = [];
  await context.exposeBinding("violated", (_, detail) => violations.push(`policy: ${detail}`));
  await context.addInitScript(() => addEventListener("securitypolicyviolation", (event) =>
    window.violated(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`)));
  context.on("request", (request) => {
    requests.push(request);
    const own = [...[allowed].flat().map((server) => `${server}/`), "data:"];
    const isOwn = own.some((start) => request.url().startsWith(start));
    if (!isOwn) violations.push(`request to ${request.url()}`);
  });
  context.on("console", (message) => {
    if (message.type() !== "error") return;
    errors.push(message.text());
    // The browser logs each error response. Tests that expect error responses check them.
    if (!message.text().startsWith("Failed to load resource:")) violations.push(message.text());
  });
  context.on("weberror", (error) => violations.push(error.error().message));
  return {
    context,
    requests,
    violations,
    errors,
    page: await context.newPage(),
    refreshes: () => requests.filter((request) => request.url().endsWith("/auth/refresh")),
    // Closes the profile and checks that there were no violations.
    async close() {
      await context.close();
      assert.deepEqual(violations, []);
    },
  };
}

export async function visit(page, path = "/docs") {
  await page.goto(SERVER + path);
  await page.locator(".opblock").first().waitFor();
}

// Fills in the box at the top of /docs and presses one of its buttons.
export async function enter(page, identifier, password, button) {
  await page.locator("#identifier").fill(identifier);
  await page.locator("#password").fill(password);
  await page.getByRole("button", { name: button, exact: true }).click();
}

// Runs an operation; returns the status and the text that the page shows.
export async function call(page, operation, { body, parameters = {} } = {}) {
  const block = page.locator(`[id$="-${operation}"].opblock`);
  if (!(await block.evaluate((element) => element.classList.contains("is-open")))) {
    await block.locator(".opblock-summary-control").click();
  }
  if (body) await block.locator("textarea.body-param__text").fill(JSON.stringify(body));
  for (const [name, value] of Object.entries(parameters)) {
    await block.locator(`tr[data-param-name="${name}"] input`).fill(value);
  }
  const clear = block.locator(".btn-clear");
  if (await clear.count()) await clear.click();
  await block.locator(".btn.execute").click();
  const response = block.locator(".live-responses-table .response");
  await response.waitFor();
  const status = Number.parseInt(await response.locator(".response-col_status").innerText(), 10);
  return { status, text: await response.innerText(), block };
}

export const signUp = (page, username) => call(page, "sign_up", { body: { username, password: PASSWORD } });

// Returns the session that the page has stored.
export const storedSession = (page) => page.evaluate((key) => JSON.parse(localStorage.getItem(key)), KEY);

// Changes the stored session without the page's knowledge.
export const alterSession = (page, change) =>
  page.evaluate(([key, change]) => {
    localStorage.setItem(key, JSON.stringify({ ...JSON.parse(localStorage.getItem(key)), ...change }));
  }, [KEY, change]);

// Returns everything that the page has stored, as one string.
export const allStored = (page) =>
  page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));

export const signedIn = (page) => page.locator("#session").isVisible();

// Calls a server directly, without the page.
export async function api(path, { server = SERVER, body, token } = {}) {
  const headers = new Headers();
  if (body) headers.set("Content-Type", "application/json");
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const method = body ? "POST" : "GET";
  return fetch(`${server}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
}

// Creates a trip of a new user and returns the path of its share link, without the leading slash.
export async function share(username, trip) {
  const signup = await api("/auth/signup", { body: { username, password: PASSWORD } });
  const { access_token } = await signup.json();
  const created = await (await api("/trips", { body: trip, token: access_token })).json();
  const headers = { Authorization: `Bearer ${access_token}` };
  const link = await fetch(`${SERVER}/api/v1/trips/${created.id}/share`, { method: "PUT", headers });
  return new URL((await link.json()).url).pathname.slice(1);
}

// Returns the elements that extend beyond the right edge of the window.
export async function overflow(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll("body *")]
      .filter((element) => element.getBoundingClientRect().right > width + 1)
      .map((element) => `${element.tagName}.${element.className}`);
  });
}
