// Swagger UI on this server's own document. Signing up or logging in on the page authorises it, and
// a reload keeps that; logging out in the "Authorize" window forgets it.
"use strict";

const SCHEME = "bearerAuth";
const MINTS = /\/auth\/(signup|login|refresh)$/;

function authorise(ui, token) {
  const system = ui.getSystem();
  const schema = system.specSelectors.specJson().getIn(["components", "securitySchemes", SCHEME]);
  system.authActions.authorizeWithPersistOption({ [SCHEME]: { name: SCHEME, schema, value: token } });
}

window.ui = SwaggerUIBundle({
  dom_id: "#ui",
  url: "openapi.json",
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  filter: false,
  validatorUrl: null,
  responseInterceptor(response) {
    const path = new URL(response.url, location.href).pathname;
    if (response.ok && MINTS.test(path) && response.body && response.body.access_token) {
      authorise(window.ui, response.body.access_token);
    }
    return response;
  },
});
