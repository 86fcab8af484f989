// The box at the top of the page: it signs up, logs in, shows who is signed in, and logs out. If the browser
// supports passkeys for this host, the box also logs in with a passkey, and adds a passkey to the account.
"use strict";

(() => {
  const element = (id) => document.getElementById(id);
  const [form, message] = [element("account-form"), element("account-message")];
  const REQUEST_TIMEOUT_MS = 30_000;
  // The reasons why a browser does not create or use a passkey, by the names of the errors that browsers
  // report.
  const REASONS = {
    InvalidStateError: "This device already has a passkey for this account.",
    SecurityError: "Passkeys of this server cannot be used at this address.",
  };

  function showMessage(text) {
    message.hidden = !text;
    message.textContent = text;
  }

  function show(current) {
    // `show` is also called when nothing has changed. It must not move the focus then.
    const wasSignedIn = form.hidden;
    const hadFocus = element("account").contains(document.activeElement);
    form.hidden = Boolean(current);
    element("session").hidden = !current;
    element("who").textContent = current ? current.name : "";
    if (current) {
      form.reset();
      showMessage("");
    }
    if (hadFocus && wasSignedIn !== form.hidden) (current ? element("log-out") : element("identifier")).focus();
  }

  // An identifier with an at sign is an email address: usernames can't contain one.
  function signUpBody(identifier, password) {
    return { [identifier.includes("@") ? "email" : "username"]: identifier, password };
  }

  // Returns the sentences of a problem. Returns a general sentence for a response that is not a problem.
  function explain(problem) {
    const errors = (problem?.errors ?? []).map((error) => error.detail);
    return errors.join(" ") || problem?.detail || "The server did not respond as expected. Please try again.";
  }

  // Sends a request; returns whether it succeeded, and the body of the response.
  async function post(path, content, token) {
    const response = await fetch(`api/v1/${path}`, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        Accept: "application/json",
        ...(token && { Authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(content),
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    return { ok: response.ok, body: await response.json().catch(() => null) };
  }

  async function send(action) {
    const [identifier, password] = [element("identifier").value.trim(), element("password").value];
    const content = action === "signup" ? signUpBody(identifier, password) : { identifier, password };
    const { ok, body } = await post(`auth/${action}`, content);
    if (ok && body?.refresh_token) return session.remember(body);
    if (ok) return showMessage("Please confirm the account, then log in.");
    showMessage(explain(body));
  }

  // Browsers support passkeys on HTTPS and on localhost, but not for IP addresses.
  const hasPasskeys = () => isSecureContext && Boolean(window.PublicKeyCredential?.parseRequestOptionsFromJSON) &&
    !/^[\d.]+$|:/.test(location.hostname);

  // Sends the two requests of a passkey operation, and asks the device between them. Returns the last
  // response. If the device returns no credential, returns null, and shows the reason unless the user has
  // cancelled.
  async function withPasskey(optionsPath, path, ask, token, more = {}) {
    const begun = await post(optionsPath, {}, token);
    if (!begun.ok) return begun;
    const { challenge_id, options } = begun.body;
    const credential = await ask(options).catch((error) => {
      // A NotAllowedError means that the user has cancelled.
      if (error.name !== "NotAllowedError") showMessage(REASONS[error.name] ?? "The passkey cannot be used.");
      return null;
    });
    return credential && post(path, { challenge_id, credential: credential.toJSON(), ...more }, token);
  }

  async function logInWithPasskey() {
    const ask = (json) =>
      navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(json) });
    const result = await withPasskey("auth/passkeys/options", "auth/passkeys/login", ask);
    if (result?.ok) await session.remember(result.body);
    else if (result) showMessage(explain(result.body));
  }

  async function addPasskey() {
    const ask = (json) =>
      navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(json) });
    const [path, token] = ["me/passkeys", await session.token()];
    const result = await withPasskey(`${path}/options`, path, ask, token, { name: "Browser" });
    if (result?.ok) showMessage("The passkey was added. You can log in with it from now on.");
    else if (result?.body?.code === "step_up_required") showMessage("Please log out and log in again first.");
    else if (result) showMessage(explain(result.body));
  }

  // Disables the buttons while the action runs. Shows a message if the server can't be reached.
  async function run(buttons, action) {
    showMessage("");
    for (const button of buttons) button.disabled = true;
    try {
      await action();
    } catch {
      showMessage("The server can't be reached. Please try again.");
    }
    for (const button of buttons) button.disabled = false;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(form.querySelectorAll("button"), () => send(event.submitter?.value ?? "login"));
  });
  for (const [id, action] of [["passkey-log-in", logInWithPasskey], ["passkey-add", addPasskey]]) {
    element(id).hidden = !hasPasskeys();
    element(id).addEventListener("click", () => run([element(id)], action));
  }
  element("log-out").addEventListener("click", () => session.end());

  session.start();
  session.watch(show);
})();
