// Swagger UI as a person uses it, and what may never happen while they do.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const SERVER = process.env.SERVER;
export const SHOTS = process.env.SCREENSHOTS;
export const KEY = "tripgate.session";
export const PASSWORD = "a red kite over Lisbon";

const viewport = { width: 375, height: 800 };
export const PHONE = { viewport, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

let browser;

export async function open() {
  // Without its sandbox, which root can't have: it sees nothing but this server.
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
}

export const close = () => browser.close();

// A person with a browser profile of their own; `faults` fills with whatever may never happen.
export async function person(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const faults = [];
  const asked = [];
  const errors = [];
  await context.exposeBinding("violated", (_, what) => faults.push(`policy: ${what}`));
  await context.addInitScript(() => addEventListener("securitypolicyviolation", (event) =>
    window.violated(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`)));
  context.on("request", (request) => {
    asked.push(request);
    const isOurs = [`${SERVER}/`, "data:"].some((start) => request.url().startsWith(start));
    if (!isOurs) faults.push(`asked ${request.url()}`);
  });
  context.on("console", (message) => {
    if (message.type() !== "error") return;
    errors.push(message.text());
    // The browser itself reports each answer that is an error; the tests look at those.
    if (!message.text().startsWith("Failed to load resource:")) faults.push(message.text());
  });
  context.on("weberror", (error) => faults.push(error.error().message));
  return {
    context,
    asked,
    faults,
    errors,
    page: await context.newPage(),
    refreshes: () => asked.filter((request) => request.url().endsWith("/auth/refresh")),
    // Ends the profile, and says whether anything happened that may never happen.
    async leave() {
      await context.close();
      assert.deepEqual(faults, []);
    },
  };
}

export async function visit(page, path = "/docs") {
  await page.goto(SERVER + path);
  await page.locator(".opblock").first().waitFor();
}

// Runs an operation; gives the status and the text that the page shows for it.
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
  const answer = block.locator(".live-responses-table .response");
  await answer.waitFor();
  const status = Number.parseInt(await answer.locator(".response-col_status").innerText(), 10);
  return { status, text: await answer.innerText(), block };
}

export const signUp = (page, username) => call(page, "sign_up", { body: { username, password: PASSWORD } });

// What the page keeps of the session.
export const kept = (page) => page.evaluate((key) => JSON.parse(localStorage.getItem(key)), KEY);

// Changes what the page keeps, behind its back.
export const alter = (page, change) =>
  page.evaluate(([key, change]) => {
    localStorage.setItem(key, JSON.stringify({ ...JSON.parse(localStorage.getItem(key)), ...change }));
  }, [KEY, change]);

// Everything that the page has stored, as one text.
export const stored = (page) =>
  page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));

export const signedIn = (page) => page.locator("#session").isVisible();

// The server's own word, past the page.
export async function api(path, { body, token } = {}) {
  const headers = new Headers();
  if (body) headers.set("Content-Type", "application/json");
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const method = body ? "POST" : "GET";
  return fetch(`${SERVER}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
}

export async function overflow(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll("body *")]
      .filter((element) => element.getBoundingClientRect().right > width + 1)
      .map((element) => `${element.tagName}.${element.className}`);
  });
}
