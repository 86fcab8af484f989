// Tests the look of every page at three widths, light and dark: nothing is wider than the window, and every text has
// enough contrast. The screenshots are for a person to look at.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { contrast } from "./contrast.mjs";
import {
  PASSWORD, SERVER, api, call, close, openProfile, overflow, screenshot, share, signUp, visit,
} from "./swagger.mjs";

const phone = { isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
const WINDOWS = {
  desktop: { viewport: { width: 1280, height: 900 } },
  tablet: { viewport: { width: 768, height: 1024 } },
  phone: { viewport: { width: 390, height: 844 }, ...phone },
};
const OPERATIONS = ["docs#/Trips/create_trip", "docs#/Trips/list_trips", "docs#/Sync/send_operations"];
const TRIP = {
  title: "Lisbon in spring", destination: "Portugal", start_date: "2027-04-02", end_date: "2027-04-09",
  time_zone: "Europe/Lisbon", notes: "Take the tram, not the bus.\n\nBring:\n- comfortable shoes\n- the museum tickets",
  stops: [
    { name: "Lisbon Airport", latitude: 38.7742, longitude: -9.1342, arrives_at: "2027-04-02T14:30:00" },
    {
      name: "Hotel near Rossio", latitude: 38.7139, longitude: -9.1394, arrives_at: "2027-04-02T16:00:00",
      departs_at: "2027-04-09T10:15:00", notes: "The reception is on the second floor.",
    },
    { name: "Miradouro da Graça", latitude: 38.7165, longitude: -9.1319 },
  ],
};

after(close);

// N-25
describe("every page", { concurrency: 2 }, () => {
  for (const [name, window] of Object.entries(WINDOWS)) {
    for (const colorScheme of ["light", "dark"]) {
      const look = async (page, state) => {
        await pause(300);
        await screenshot(page, `${state}-${name}-${colorScheme}`);
        assert.deepEqual(await overflow(page), [], `${state} is wider than the window`);
        assert.deepEqual(await contrast(page), [], `${state} has too little contrast`);
      };

      test(`all pages fit the window and have enough contrast: ${name}, ${colorScheme}`, async () => {
        const ada = await openProfile({ ...window, colorScheme });
        const link = await share(`share-${name}-${colorScheme}`, TRIP);
        const backgrounds = new Set();
        const paths = ["docs", ...OPERATIONS, "problems", "problems/invalid", link, "api/v1/shared/revoked", "no/such/page"];
        for (const path of paths) {
          // If the page is already open, a URL that differs only in the fragment does not load it again.
          await ada.page.goto("about:blank");
          await ada.page.goto(`${SERVER}/${path}`);
          assert.match(await ada.page.locator(".brand").innerText(), /^Tripgate(\s\d+\.\d+\.\d+)?$/);
          if (path.startsWith("docs")) await ada.page.locator(".opblock").first().waitFor();
          if (OPERATIONS.includes(path)) await ada.page.locator(".is-open .responses-table").first().waitFor();
          if (!path.includes("/") || path.startsWith("problems")) {
            const links = await ada.page.locator(".top nav a").allInnerTexts();
            assert.deepEqual(links, ["Docs", "Problems", "openapi.json"]);
          }
          backgrounds.add(await ada.page.evaluate(() => getComputedStyle(document.body).backgroundColor));
          await look(ada.page, path === link ? "shared-trip" : path.replace(/\W+/g, "-"));
        }
        assert.equal(backgrounds.size, 1, "all pages have the same background");
        await ada.close();
      });

      test(`all states of /docs fit the window and have enough contrast: ${name}, ${colorScheme}`, async () => {
        const ada = await openProfile({ ...window, colorScheme });
        const { page } = ada;
        await visit(page);
        await page.locator("#identifier").fill("x");
        await page.locator("#password").fill("short");
        await page.getByRole("button", { name: "Sign up", exact: true }).click();
        await page.locator("#account-message").waitFor();
        await look(page, "sign-up-error");
        await page.locator("#guide summary").click();
        await look(page, "guide");
        await page.locator("#guide summary").click();
        await page.locator(".filter-input").fill("zzz");
        await look(page, "filter-without-match");
        await page.locator(".filter-input").fill("trips");
        await page.locator(".more summary").first().click();
        await look(page, "filter");
        await page.locator(".filter-input").fill("");
        await page.locator(".btn.authorize").first().click();
        await look(page, "authorize");
        await page.keyboard.press("Escape");
        await page.locator(".models-control").click();
        await page.locator(".model-container button").first().click();
        await page.locator("section.models").scrollIntoViewIfNeeded();
        await look(page, "schemas");
        await signUp(page, `look-${name}-${colorScheme}`);
        await page.evaluate(() => scrollTo(0, 0));
        await look(page, "signed-in");
        await page.locator(".btn.authorize").first().click();
        await look(page, "authorize-signed-in");
        await page.keyboard.press("Escape");
        const { block } = await call(page, "create_trip", { body: { title: "" } });
        await block.locator(".problem-link").scrollIntoViewIfNeeded();
        await look(page, "problem-response");
        await call(page, "create_trip", { body: TRIP });
        await block.locator(".live-responses-table").scrollIntoViewIfNeeded();
        await look(page, "response");
        await ada.close();
      });
    }
  }
});

test("a shared trip is readable in a browser without JavaScript, and markup in the trip is text", async () => {
  // N-14, S-64
  const ada = await openProfile({ javaScriptEnabled: false });
  const link = await share("share-evil", { title: "<script>alert(1)</script> & co", notes: "<img src=x onerror=alert(1)>" });
  const response = await ada.page.goto(`${SERVER}/${link}`);
  assert.equal(response.status(), 200);
  assert.equal(await ada.page.locator("h1").innerText(), "<script>alert(1)</script> & co");
  assert.equal(await ada.page.locator(".text").innerText(), "<img src=x onerror=alert(1)>");
  assert.equal(await ada.page.title(), "<script>alert(1)</script> & co · Tripgate");
  assert.equal(await ada.page.locator('meta[property="og:title"]').getAttribute("content"), "<script>alert(1)</script> & co");
  // The browser has loaded the style sheet by its relative URL. Without the style sheet, the margin is 8px.
  assert.notEqual(await ada.page.evaluate(() => getComputedStyle(document.body).margin), "8px");
  const json = await fetch(`${SERVER}/${link}`);
  assert.match(json.headers.get("Content-Type"), /^application\/json/);
  await ada.close();
});

test("the screenshot for the README can be taken", async () => {
  const ada = await openProfile({ viewport: { width: 1280, height: 860 } });
  await api("/auth/signup", { body: { email: "ada@example.org", password: PASSWORD } });
  await visit(ada.page);
  await ada.page.locator("#identifier").fill("ada@example.org");
  await ada.page.locator("#password").fill(PASSWORD);
  await ada.page.getByRole("button", { name: "Log in", exact: true }).click();
  await ada.page.locator("#session").waitFor();
  await ada.page.locator("h3[data-tag=Authentication] button").click();
  await ada.page.locator("h3[data-tag=Account] button").click();
  await ada.page.evaluate(() => document.activeElement.blur());
  await ada.page.mouse.move(0, 0);
  await pause(500);
  await screenshot(ada.page, "swagger-ui");
  await ada.close();
});
