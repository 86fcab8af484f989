// Tests passkeys with the virtual authenticator of Chromium, on a server at localhost: browsers support no
// passkeys for IP addresses.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { PASSWORD, api, close, openProfile } from "./swagger.mjs";

const SERVER = process.env.SERVER_WITH_PASSKEYS;
// Another server on the same host, with other origins.
const OTHER = process.env.SERVER_WITH_BASIC.replace("127.0.0.1", "localhost");

after(close);

async function post(path, body, token) {
  const response = await api(path, { server: SERVER, body, token });
  return { status: response.status, body: await response.json() };
}

async function signUp(username) {
  return (await post("/auth/signup", { username, password: PASSWORD })).body.access_token;
}

// Opens a profile with an authenticator that verifies its user.
async function openWithAuthenticator() {
  const profile = await openProfile({ allowed: [SERVER, OTHER] });
  const devtools = await profile.context.newCDPSession(profile.page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  const verifyUser = (isUserVerified) => devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified });
  await profile.page.goto(`${SERVER}/problems`);
  return { ...profile, verifyUser };
}

// Creates a passkey on the page, and returns the `RegistrationResponseJSON`.
const create = (page, options) => page.evaluate(async (json) => {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(json);
  return (await navigator.credentials.create({ publicKey })).toJSON();
}, options);

// Signs a challenge with a passkey on the page, and returns the `AuthenticationResponseJSON`.
const get = (page, options) => page.evaluate(async (json) => {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(json);
  return (await navigator.credentials.get({ publicKey })).toJSON();
}, options);

async function visitDocs(page, server = SERVER) {
  await page.goto(`${server}/docs`);
  await page.locator(".opblock").first().waitFor();
}

async function register(page, token) {
  const begun = await post("/me/passkeys/options", {}, token);
  assert.equal(begun.status, 200);
  const { challenge_id, options } = begun.body;
  return post("/me/passkeys", { challenge_id, credential: await create(page, options), name: "Chromium" }, token);
}

async function logIn(page, { url, change = {} } = {}) {
  const { challenge_id, options } = (await post("/auth/passkeys/options", {})).body;
  if (url) await page.goto(url);
  return post("/auth/passkeys/login", { challenge_id, credential: await get(page, { ...options, ...change }) });
}

describe("passkeys", () => {
  test("Chromium registers a passkey and logs in with it", async () => {
    const ada = await openWithAuthenticator();
    const token = await signUp("ada");
    const created = await register(ada.page, token);
    assert.equal(created.status, 201, JSON.stringify(created.body));
    assert.equal(created.body.name, "Chromium");
    const { status, body } = await logIn(ada.page);
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.user.username, "ada");
    assert.equal((await logIn(ada.page)).status, 200);
    await ada.close();
  });

  test("Chromium authenticates the user again with a passkey", async () => {
    const ada = await openWithAuthenticator();
    const token = await signUp("ada-again");
    assert.equal((await register(ada.page, token)).status, 201);
    const { challenge_id, options } = (await post("/me/reauthenticate/options", {}, token)).body;
    const passkey = { challenge_id, credential: await get(ada.page, options) };
    assert.equal((await post("/me/reauthenticate", { passkey }, token)).status, 200);
    await ada.close();
  });

  test("Chromium does not register a passkey twice on one device", async () => {
    const ada = await openWithAuthenticator();
    const token = await signUp("ada-twice");
    assert.equal((await register(ada.page, token)).status, 201);
    await assert.rejects(register(ada.page, token), /InvalidStateError/);
    await ada.close();
  });

  test("a page of another origin cannot log in", async () => {
    const ada = await openWithAuthenticator();
    assert.equal((await register(ada.page, await signUp("ada-elsewhere"))).status, 201);
    const { status, body } = await logIn(ada.page, { url: `${OTHER}/problems` });
    assert.equal(status, 401);
    assert.equal(body.code, "invalid_credentials");
    await ada.close();
  });

  test("a passkey without user verification cannot log in", async () => {
    const ada = await openWithAuthenticator();
    assert.equal((await register(ada.page, await signUp("ada-unverified"))).status, 201);
    await ada.verifyUser(false);
    // The browser requires user verification if the page asks for it. The second attempt does not ask for it.
    await assert.rejects(logIn(ada.page), /NotAllowedError/);
    const { status, body } = await logIn(ada.page, { change: { userVerification: "discouraged" } });
    assert.equal(status, 401);
    assert.match(body.detail, /fingerprint/);
    await ada.verifyUser(true);
    assert.equal((await logIn(ada.page)).status, 200);
    await ada.close();
  });

  test("the documentation adds a passkey and logs in with it", async () => {
    const ada = await openWithAuthenticator();
    await visitDocs(ada.page);
    await ada.page.locator("#identifier").fill("ada-docs");
    await ada.page.locator("#password").fill(PASSWORD);
    await ada.page.getByRole("button", { name: "Sign up", exact: true }).click();
    await ada.page.locator("#passkey-add").click();
    await ada.page.getByText("The passkey was added").waitFor();
    await ada.page.locator("#passkey-add").click();
    await ada.page.getByText("This device already has a passkey for this account").waitFor();
    await ada.page.locator("#log-out").click();
    await ada.page.locator("#passkey-log-in").click();
    await ada.page.getByText("Signed in as ada-docs").waitFor();
    await ada.close();
  });

  test("the documentation says that passkeys cannot be used at the address of the page", async () => {
    const ada = await openWithAuthenticator();
    // The public URL of this server contains an IP address, but the page is opened at `localhost`.
    await visitDocs(ada.page, OTHER);
    await ada.page.locator("#passkey-log-in").click();
    await ada.page.getByText("Passkeys of this server cannot be used at this address").waitFor();
    await ada.close();
  });

  test("the documentation offers no passkey login if the browser does not support passkeys", async () => {
    const ada = await openProfile();
    await visitDocs(ada.page, process.env.SERVER);
    assert.equal(await ada.page.locator("#passkey-log-in").isVisible(), false);
    await ada.close();
  });
});
