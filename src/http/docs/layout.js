// A Swagger UI plugin with the layout of the page: a folded guide, a filter with links to the groups, the operations,
// and the folded schemas.
"use strict";

const layout = (system) => {
  const make = system.React.createElement;
  const typedFilter = (selectors) => {
    const filter = selectors.currentFilter();
    return typeof filter === "string" ? filter : "";
  };

  // Removes the filter, opens a group of operations, and scrolls to the group after the whole list is
  // rendered.
  function jump(event, tag, { layoutActions }) {
    event.preventDefault();
    layoutActions.updateFilter("");
    layoutActions.show(tag ? ["operations-tag", tag] : ["components", "schemas"], true);
    const target = () => document.getElementById(`operations-tag-${tag}`) ?? document.querySelector("section.models");
    requestAnimationFrame(() => requestAnimationFrame(() => target()?.scrollIntoView({ block: "start" })));
  }

  // The chapters of the document's description.
  function Guide({ specSelectors, getComponent }) {
    const text = specSelectors.info().get("description") ?? "";
    const chapters = (text.match(/^## .+$/gm) ?? []).map((line) => line.slice(3));
    return make("details", { className: "guide", id: "guide" },
      make("summary", null, make("b", null, "Guide"), make("span", null, chapters.join(" · "))),
      make(getComponent("Markdown", true), { source: text.slice(text.indexOf("## ")) }));
  }

  function Toolbar(props) {
    const { layoutSelectors, layoutActions, specSelectors, getComponent } = props;
    const tags = specSelectors.specJson().get("tags")?.map((tag) => tag.get("name")).toArray() ?? [];
    const link = (name, href, tag) =>
      make("a", { key: name, href, onClick: (event) => jump(event, tag, props) }, name);
    return make("div", { className: "toolbar wrapper" },
      make("input", {
        type: "search",
        className: "filter-input",
        placeholder: "Filter operations",
        "aria-label": "Filter operations",
        value: typedFilter(layoutSelectors),
        onChange: (event) => layoutActions.updateFilter(event.target.value),
      }),
      make(getComponent("AuthorizeBtnContainer", true)),
      make("nav", { "aria-label": "Groups of operations" },
        tags.map((tag) => link(tag, `#/${encodeURIComponent(tag)}`, tag)), link("Schemas", "#/schemas", null)));
  }

  function License({ specSelectors }) {
    const license = specSelectors.license?.() ?? specSelectors.info().get("license");
    return make("p", { className: "wrapper license" }, `Licence: ${license.get("name")}`);
  }

  function TripgateLayout({ specSelectors, getComponent }) {
    const component = (name) => getComponent(name, true);
    const isReady = specSelectors.specStr() && !["loading", "failed"].includes(specSelectors.loadingStatus());
    if (!isReady) {
      const hasFailed = specSelectors.loadingStatus() === "failed";
      return make("p", { className: "wrapper empty" },
        hasFailed ? "The OpenAPI document can't be loaded. Please reload the page." : "Loading …");
    }
    const wrapped = (name) => make("div", { className: "wrapper" }, make(component(name)));
    return make("div", { className: "swagger-ui" },
      make(component("SvgAssets")),
      make(component("errors")),
      wrapped("TripgateGuide"),
      make(component("TripgateToolbar")),
      wrapped("operations"),
      wrapped("Models"),
      make(component("TripgateLicense")));
  }

  // Keeps the operations that contain every word in their method, path, summary, id or group.
  function opsFilter(taggedOperations, phrase) {
    const words = phrase.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (tag, operation) => {
      const details = ["summary", "operationId"].map((name) => operation.getIn(["operation", name], ""));
      const text = [tag, operation.get("method"), operation.get("path"), ...details].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    };
    const only = (group, tag) => group.update("operations", (all) => all.filter((one) => matches(tag, one)));
    return taggedOperations.map(only).filter((group) => group.get("operations").size > 0);
  }

  return {
    fn: { opsFilter },
    components: { TripgateLayout, TripgateGuide: Guide, TripgateToolbar: Toolbar, TripgateLicense: License },
    wrapComponents: {
      operations: (Original) => (props) => {
        if (props.specSelectors.taggedOperations().size > 0) return make(Original, props);
        return make("p", { className: "empty", role: "status" },
          `No operation matches “${typedFilter(props.layoutSelectors)}”.`);
      },

      // Shows the first paragraph of a group's description in its heading, and folds the rest.
      OperationTag: (Original) => (props) => {
        const path = ["tagDetails", "description"];
        const [first, ...rest] = props.tagObj.getIn(path, "").split("\n\n");
        if (rest.length === 0) return make(Original, props);
        const more = make("details", { className: "more", key: "more" },
          make("summary", null, `More about ${props.tag}`),
          make(props.getComponent("Markdown", true), { source: rest.join("\n\n") }));
        return make(Original, { ...props, tagObj: props.tagObj.setIn(path, first) }, more, props.children);
      },

      // The form of every operation is always open (`tryItOutEnabled`), so this button only resets a changed
      // body.
      TryItOutButton: () => ({ enabled, hasUserEditedBody, onResetClick }) =>
        enabled && hasUserEditedBody
          ? make("div", { className: "try-out" },
            make("button", { type: "button", className: "btn reset", onClick: onResetClick }, "Reset"))
          : null,
    },
  };
};
