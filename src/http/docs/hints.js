// What Swagger UI doesn't show by itself: the scopes of an operation, and the pages of its problems.
"use strict";

const hints = (system) => {
  const make = system.React.createElement;
  const ASKS = { basicAuth: "password", bearerAuth: "any token", clientAuth: "service" };

  // From the document: Swagger UI itself reads an operation only when it is opened.
  function asks(path, method) {
    const operation = system.specSelectors.specJson().getIn(["paths", path, method]).toJS();
    const schemes = (operation.security || []).flatMap((scheme) => Object.keys(scheme));
    return operation["x-required-scopes"] || schemes.map((name) => ASKS[name] || name);
  }

  // The type of a problem is a path of this server; nothing else becomes a link.
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
        asks(props.operationProps.get("path"), props.operationProps.get("method")).map((text) =>
          make("span", { className: "scope", key: text, title: "What a caller needs" }, text))),

      response: (Original) => (props) => {
        if (!/^[45]\d\d$/.test(props.code)) return make(Original, props);
        const told = `${props.response.get("description")} ([problems](problems#${props.code}))`;
        return make(Original, { ...props, response: props.response.set("description", told) });
      },

      liveResponse: (Original) => (props) => {
        const page = problemPage(props.response);
        return make("div", null,
          page && make("p", { className: "meaning" }, "This is a problem: ",
            make("a", { href: page, target: "_blank", rel: "noopener" }, "what it means and what to do")),
          make(Original, props));
      },
    },
  };
};
