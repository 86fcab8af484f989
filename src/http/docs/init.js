// Starts Swagger UI with the OpenAPI document of this server. After signing up, logging in or refreshing, the
// page is authorized, and stays authorized after a reload and in other tabs. Logging out at the top or in the
// "Authorize" window ends the session. Credentials that the user enters in that window are valid in this tab
// until it is reloaded: neither passwords nor secrets of services are stored.
"use strict";

(() => {
  const SCHEME = "bearerAuth";
  const RETURNS_GRANT = /\/auth\/(signup|login|login\/mfa|login\/code\/confirm|passkeys\/login|refresh)$/;
  const IS_LOGOUT = /\/auth\/logout$/;
  let authorized = null; // The access token that Swagger UI sends.

  const pathOf = (message) => new URL(message.url, location.href).pathname;

  // Adds the path prefix of the proxy. The paths in the document begin at the root of the host.
  const PREFIX = new URL(".", location.href).pathname;
  function underPrefix(text) {
    const url = new URL(text, location.href);
    if (url.origin === location.origin && !url.pathname.startsWith(PREFIX)) {
      url.pathname = PREFIX + url.pathname.slice(1);
    }
    return url.href;
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const applyTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", applyTheme);
  applyTheme();

  // Authorizes Swagger UI with the token of the session. Without a session, removes the authorization.
  function useSession(current) {
    const token = current ? current.access_token : null;
    if (token === authorized) return;
    const { authActions, specSelectors } = ui.getSystem();
    authorized = token;
    if (!token) return authActions.logout([SCHEME]);
    const schema = specSelectors.specJson().getIn(["components", "securitySchemes", SCHEME]);
    authActions.authorize({ [SCHEME]: { name: SCHEME, schema, value: token } });
  }

  // If the token is rejected before it expires, repeats the request once with a new token of the same session.
  async function fetchWithRetry(sessionId, url, request) {
    const response = await fetch(url, request);
    const isRejected = response.status === 401 && /invalid_token/.test(response.headers.get("WWW-Authenticate"));
    const rejected = request.headers.Authorization.replace("Bearer ", "");
    const token = isRejected && (await session.token(rejected));
    if (!token || token === rejected || session.id() !== sessionId) return response;
    return fetch(url, { ...request, headers: { ...request.headers, Authorization: `Bearer ${token}` } });
  }

  // Updates the session of the page after its user has authenticated again, has been renamed, or has deleted the
  // account.
  const fetchForSession = (sessionId) => async (url, request) => {
    const response = await fetchWithRetry(sessionId, url, request);
    if (!response.ok) return response;
    const operation = `${request.method} ${pathOf({ url })}`;
    if (/^DELETE .*\/me$/.test(operation)) await session.forget(sessionId);
    const update = [[/^POST .*\/me\/reauthenticate$/, session.renew], [/^(GET|PATCH) .*\/me$/, session.rename]]
      .find(([pattern]) => pattern.test(operation))?.[1];
    if (update && response.status === 200) await update(sessionId, await response.clone().json());
    return response;
  };

  async function fetchLogout(url, request) {
    const response = await fetch(url, request);
    if (response.ok) await session.ended(request.body);
    return response;
  }

  const logout = () => ({
    statePlugins: {
      auth: {
        wrapActions: {
          logout: (original) => (names) => {
            if (names.includes(SCHEME) && authorized) {
              authorized = null;
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
    layout: "TripgateLayout",
    url: "openapi.json",
    queryConfigEnabled: false,
    deepLinking: true,
    persistAuthorization: false,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    validatorUrl: null,
    filter: true,
    syntaxHighlight: { theme: "obsidian" },
    defaultModelsExpandDepth: 0,
    plugins: [hints, layout, authorize(document.getElementById("ui").dataset.basicOnApi === "true"), logout],
    async requestInterceptor(request) {
      request.url = underPrefix(request.url);
      if (IS_LOGOUT.test(pathOf(request))) request.userFetch = fetchLogout;
      if (authorized && request.headers.Authorization === `Bearer ${authorized}`) {
        const sessionId = session.id();
        const token = await session.token();
        if (token && session.id() !== sessionId) throw new Error("Another user has signed in.");
        if (token) {
          request.headers.Authorization = `Bearer ${token}`;
          request.userFetch = fetchForSession(sessionId);
        }
      }
      return request;
    },
    // Stores the session before the response is shown, so that the next operation sends its token.
    async responseInterceptor(response) {
      const isGrant = response.ok && RETURNS_GRANT.test(pathOf(response)) && response.body?.refresh_token;
      if (isGrant) await session.remember(response.body);
      return response;
    },
    onComplete() {
      session.watch(useSession);
    },
  });
})();
