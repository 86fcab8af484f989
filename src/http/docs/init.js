// Swagger UI on this server's own document. Signing up, logging in or refreshing on the page
// authorises it; so does a reload or another tab. Logging out in the header or in the "Authorize"
// window ends the session. What is typed into that window is for this tab until it is reloaded:
// neither passwords nor services' secrets are kept.
"use strict";

(() => {
  const SCHEME = "bearerAuth";
  const MINTS = /\/auth\/(signup|login|refresh)$/;
  const LOGS_OUT = /\/auth\/logout$/;
  let shown = null;

  const pathOf = (message) => new URL(message.url, location.href).pathname;

  // The document's paths begin at the host; a proxy may serve them under a path of its own, as this page.
  const PREFIX = new URL(".", location.href).pathname;
  function underPrefix(text) {
    const url = new URL(text, location.href);
    if (url.origin === location.origin && !url.pathname.startsWith(PREFIX)) {
      url.pathname = PREFIX + url.pathname.slice(1);
    }
    return url.href;
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", dress);
  dress();

  function show(found) {
    document.getElementById("session").hidden = !found;
    document.getElementById("who").textContent = found ? found.name : "";
    const token = found ? found.access_token : null;
    if (token === shown) return;
    const { authActions, specSelectors } = ui.getSystem();
    shown = token;
    if (!token) return authActions.logout([SCHEME]);
    const schema = specSelectors.specJson().getIn(["components", "securitySchemes", SCHEME]);
    authActions.authorize({ [SCHEME]: { name: SCHEME, schema, value: token } });
  }

  // A refused token was perhaps revoked before its time: then once more with another one, of the same session.
  const fetchAgain = (whose) => async (url, request) => {
    const reply = await fetch(url, request);
    const isRefused = reply.status === 401 && /invalid_token/.test(reply.headers.get("WWW-Authenticate"));
    const refused = request.headers.Authorization.replace("Bearer ", "");
    const token = isRefused && (await session.token(refused));
    if (!token || token === refused || session.id() !== whose) return reply;
    return fetch(url, { ...request, headers: { ...request.headers, Authorization: `Bearer ${token}` } });
  };

  async function fetchLogout(url, request) {
    const reply = await fetch(url, request);
    if (reply.ok) await session.ended(request.body);
    return reply;
  }

  const logout = () => ({
    statePlugins: {
      auth: {
        wrapActions: {
          logout: (original) => (names) => {
            if (names.includes(SCHEME) && shown) {
              shown = null;
              session.end();
            }
            return original(names);
          },
        },
      },
    },
  });

  const ui = SwaggerUIBundle({
    dom_id: "#ui",
    url: "openapi.json",
    queryConfigEnabled: false,
    deepLinking: true,
    persistAuthorization: false,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    validatorUrl: null,
    plugins: [hints, logout],
    async requestInterceptor(request) {
      request.url = underPrefix(request.url);
      if (LOGS_OUT.test(pathOf(request))) request.userFetch = fetchLogout;
      if (shown && request.headers.Authorization === `Bearer ${shown}`) {
        const whose = session.id();
        const token = await session.token();
        if (token && session.id() !== whose) throw new Error("Somebody else has signed in meanwhile.");
        if (token) {
          request.headers.Authorization = `Bearer ${token}`;
          request.userFetch = fetchAgain(whose);
        }
      }
      return request;
    },
    responseInterceptor(response) {
      const isGrant = response.ok && MINTS.test(pathOf(response)) && response.body?.refresh_token;
      if (isGrant) session.remember(response.body);
      return response;
    },
    onComplete() {
      session.start();
      session.watch(show);
      document.getElementById("log-out").addEventListener("click", () => session.end());
    },
  });
})();
