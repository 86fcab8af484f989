// A Swagger UI plugin with the "Authorize" window: it can be used with the keyboard, and offers only the credentials
// that the server accepts.
"use strict";

const authorize = (basicOnApi) => (system) => {
  const make = system.React.createElement;
  const [BASIC, BEARER] = ["basicAuth", "bearerAuth"];
  const FOCUSABLE = "a[href], button, input, select, textarea";

  class Window extends system.React.Component {
    constructor(props) {
      super(props);
      this.window = system.React.createRef();
      this.opener = document.activeElement;
      this.close = () => props.authActions.showDefinitions(false);
      this.onKeyDown = this.onKeyDown.bind(this);
    }

    focusable() {
      return [...this.window.current.querySelectorAll(FOCUSABLE)].filter((one) => !one.disabled);
    }

    // Moves the focus to the first field. Swagger UI itself focuses the last field, which scrolls the window
    // to its end.
    componentDidMount() {
      document.addEventListener("keydown", this.onKeyDown);
      const first = this.window.current.querySelector("input") ?? this.focusable()[0];
      first.focus({ preventScroll: true });
      this.window.current.querySelector(".modal-ux-content").scrollTop = 0;
    }

    componentWillUnmount() {
      document.removeEventListener("keydown", this.onKeyDown);
      this.opener?.focus({ preventScroll: true });
    }

    // Escape closes the window. Tab moves the focus only within the window.
    onKeyDown(event) {
      if (event.key === "Escape") this.close();
      if (event.key !== "Tab") return;
      const all = this.focusable();
      const [leaving, entering] = event.shiftKey ? [all[0], all.at(-1)] : [all.at(-1), all[0]];
      if (document.activeElement === leaving || !this.window.current.contains(document.activeElement)) {
        event.preventDefault();
        entering.focus();
      }
    }

    render() {
      const { authSelectors, authActions, getComponent, errSelectors, specSelectors } = this.props;
      const [Auths, CloseIcon] = [getComponent("auths"), getComponent("CloseIcon")];
      const rest = { getComponent, errSelectors, authSelectors, authActions, specSelectors, AST: {} };
      const attributes = { role: "dialog", "aria-modal": true, "aria-labelledby": "authorize-title", ref: this.window };
      return make("div", { className: "dialog-ux", ...attributes },
        make("div", { className: "backdrop-ux", onClick: this.close }),
        make("div", { className: "modal-ux" },
          make("div", { className: "modal-ux-header" },
            make("h3", { id: "authorize-title" }, "Authorize"),
            make("button", { type: "button", className: "close-modal", "aria-label": "Close", onClick: this.close },
              make(CloseIcon))),
          make("div", { className: "modal-ux-content" },
            authSelectors.shownDefinitions().valueSeq()
              .map((definitions, key) => make(Auths, { key, definitions, ...rest })))));
    }
  }

  // Offers Basic only if the operator has enabled Basic for the API (`basicOnApi`). Otherwise, Basic works
  // only for the operations that require Basic, and each of these operations has its own lock button.
  function AuthorizeButton({ authActions, authSelectors, getComponent }) {
    const all = authSelectors.definitionsToAuthorize();
    const offered = basicOnApi ? all : all.filterNot((definition) => definition.has(BASIC));
    return make(getComponent("authorizeBtn"), {
      onClick: () => authActions.showDefinitions(offered),
      isAuthorized: authSelectors.authorized().size > 0,
      showPopup: Boolean(authSelectors.shownDefinitions()),
      getComponent,
    });
  }

  // Adds Basic to every operation that accepts an access token. The document does not contain Basic for these
  // operations, because a setting of the server enables it.
  function withBasic(document) {
    for (const operation of Object.values(document.paths ?? {}).flatMap(Object.values)) {
      if (operation.security?.some((scheme) => BEARER in scheme)) operation.security.push({ [BASIC]: [] });
    }
    return document;
  }

  return {
    components: { authorizationPopup: Window, AuthorizeBtnContainer: AuthorizeButton },
    wrapComponents: {
      Button: (Original) => (props) =>
        make(Original, props.children === "Logout" ? { ...props, children: "Log out", "aria-label": "Log out" } : props),
    },
    statePlugins: {
      spec: {
        wrapActions: {
          updateJsonSpec: (original) => (document) => original(basicOnApi ? withBasic(document) : document),
        },
      },
    },
  };
};
