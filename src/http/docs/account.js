// The box at the top of the page: it signs up, logs in, shows who is signed in, and logs out.
"use strict";

(() => {
  const element = (id) => document.getElementById(id);
  const [form, message] = [element("account-form"), element("account-message")];
  const REQUEST_TIMEOUT_MS = 30_000;

  function showMessage(text) {
    message.hidden = !text;
    message.textContent = text;
  }

  function show(current) {
    // A listener can be called without a change, and must not take the focus from the user then.
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

  // Returns the sentences of a problem, or of a response that is none.
  function explain(problem) {
    const errors = (problem?.errors ?? []).map((error) => error.detail);
    return errors.join(" ") || problem?.detail || "The server did not respond as expected. Please try again.";
  }

  async function send(action) {
    const [identifier, password] = [element("identifier").value.trim(), element("password").value];
    const response = await fetch(`api/v1/auth/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify(action === "signup" ? signUpBody(identifier, password) : { identifier, password }),
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const body = await response.json().catch(() => null);
    if (response.ok && body?.refresh_token) return session.remember(body);
    if (response.ok) return showMessage("Please confirm the account, then log in.");
    showMessage(explain(body));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    showMessage("");
    const buttons = form.querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    try {
      await send(event.submitter?.value ?? "login");
    } catch {
      showMessage("The server can't be reached. Please try again.");
    }
    for (const button of buttons) button.disabled = false;
  });
  element("log-out").addEventListener("click", () => session.end());

  session.start();
  session.watch(show);
})();
