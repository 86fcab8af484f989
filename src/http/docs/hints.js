// A Swagger UI plugin that shows the scopes of each operation, shortens its error responses, and links to the
// problem pages.
"use strict";

const hints = (system) => {
  const make = system.React.createElement;
  const COMMON_HEADERS = ["X-Request-Id", "Cache-Control"];
  const SCHEME_LABELS = { basicAuth: "password", bearerAuth: "any token", clientAuth: "service" };

  // Reads the document directly, because Swagger UI resolves an operation only when the user opens the
  // operation.
  function requirements(path, method) {
    const operation = system.specSelectors.specJson().getIn(["paths", path, method]).toJS();
    const schemes = (operation.security || []).flatMap((scheme) => Object.keys(scheme));
    return operation["x-required-scopes"] || schemes.map((name) => SCHEME_LABELS[name] || name);
  }

  // Returns the problem page of a response. Only a path of this server becomes a link.
  function problemPage(response) {
    try {
      const [, page] = /^\/(problems\/[a-z-]+)$/.exec(JSON.parse(response.get("text")).type);
      return page;
    } catch {
      return null;
    }
  }

  return {
    wrapComponents: {
      OperationSummaryPath: (Original) => (props) => make("span", { className: "path-and-scopes" },
        make(Original, props),
        requirements(props.operationProps.get("path"), props.operationProps.get("method")).map((text) =>
          make("span", { className: "scope", key: text, title: "Required authentication" }, text))),

      // All errors have the same schema and headers. Repeating them would make an operation several pages
      // long. The link leads to examples.
      response: (Original) => (props) => {
        if (!/^[45]\d\d$/.test(props.code)) return make(Original, props);
        const description = `${props.response.get("description")} ([problems](problems#${props.code}))`;
        const short = props.response.delete("content").update("headers", (headers) => {
          const special = headers?.filterNot((_, name) => COMMON_HEADERS.includes(name));
          return special?.size ? special : undefined;
        });
        return make(Original, { ...props, response: short.set("description", description) });
      },

      liveResponse: (Original) => (props) => {
        const page = problemPage(props.response);
        return make("div", null,
          page && make("p", { className: "problem-link" }, "This response is an error: ",
            make("a", { href: page, target: "_blank", rel: "noopener" }, "explanation and advice")),
          make(Original, props));
      },
    },
  };
};
