// Sends the token of a mailed link to the API. The token is in the fragment of the URL, which browsers send
// to no server. Opening the page changes nothing: only the button sends the token, so a program that opens
// the links in mails does not consume the token.
"use strict";

const byId = (id) => document.getElementById(id);
const form = byId("form");
const password = byId("password");
const token = location.hash.slice(1);

function say(text) {
  byId("message").textContent = text;
}

// Returns the name of the field for the password.
function field() {
  const choice = form.querySelector("input[name=choice]:checked");
  return choice ? choice.value : "new_password";
}

function choose() {
  const isNew = field() === "new_password";
  byId("hint").hidden = !isNew;
  byId("password-label").textContent = isNew ? "New password" : "Password";
  password.autocomplete = isNew ? "new-password" : "current-password";
  say("");
}

// Returns the text that tells the user about a problem: the details of its errors, or else its own detail.
async function sentences(response) {
  const problem = await response.json().catch(() => ({}));
  const details = (problem.errors ?? []).map((error) => error.detail);
  return details.length > 0 ? details.join(" ") : problem.detail ?? "Something went wrong. Please try again later.";
}

async function send() {
  const body = { token };
  if (password) body[field()] = password.value;
  try {
    const response = await fetch(form.dataset.operation, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify(body),
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
    return response.ok ? null : await sentences(response);
  } catch {
    return "The server can't be reached. Please check your connection and try again.";
  }
}

async function submit(event) {
  event.preventDefault();
  if (password && password.value === "") {
    password.setAttribute("aria-invalid", "true");
    say("Please enter the password.");
    password.focus();
    return;
  }
  byId("submit").disabled = true;
  say("");
  const fault = await send();
  byId("submit").disabled = false;
  if (fault !== null) {
    password?.setAttribute("aria-invalid", "true");
    say(fault);
    (password ?? byId("submit")).focus();
    return;
  }
  // The token was used, so remove it from the address.
  history.replaceState(null, "", location.pathname);
  if (password) password.value = "";
  form.hidden = true;
  // The title asks the user to act, so the result replaces it.
  byId("title").hidden = true;
  document.title = `${byId("done-title").textContent} · Tripgate`;
  byId("done").hidden = false;
  byId("done").focus();
}

if (token === "") {
  say("This link is not complete. Please open it from the email again.");
} else {
  form.hidden = false;
  form.addEventListener("submit", submit);
  form.querySelectorAll("input[name=choice]").forEach((input) => input.addEventListener("change", choose));
  password?.addEventListener("input", () => password.removeAttribute("aria-invalid"));
  byId("show")?.addEventListener("change", (event) => {
    password.type = event.target.checked ? "text" : "password";
  });
}
