// The list of connectors.

import { counted, el, until, visible } from "./dom.js";

const STATES = {
  proposed: ["Proposed", ""],
  disconnected: ["Not connected", ""],
  connecting: ["Connecting…", "warn"],
  ready: ["Ready", "good"],
  needs_sign_in: ["Sign-in needed", "warn"],
  backoff: ["Failed", "bad"],
  disabled: ["Switched off", ""],
};

/** What a state is called. */
export function stateName(state) {
  return STATES[state]?.[0] ?? state;
}

/** The badge of a connector's state. */
export function badge(status) {
  const [text, look] = isSecretMissing(status) ? ["Secret needed", "warn"] : (STATES[status.state] ?? [status.state, ""]);
  return el("span", { class: `badge ${look}` }, text);
}

/** True if a connector waits for a value that only its user has. */
export function isSecretMissing(status) {
  return status.state === "needs_sign_in" && status.detail === "secret_missing";
}

/** Where a connector leads, in one line. */
export function where(status) {
  return status.command ? commandLine(status.command) : visible(status.url);
}

/** A command with its arguments; what could be taken for several of them is quoted. */
export function commandLine({ command, args = [] }) {
  return [command, ...args].map((part) => visible(/^[^\s"']+$/.test(part) ? part : JSON.stringify(part))).join(" ");
}

/** "tried again in 12 s", kept current by `tick`. */
export function retry(status) {
  if (!status.retry_at) return null;
  const element = el("span", { class: "muted" }, `next try ${until(status.retry_at)}`);
  element.dataset.retryAt = status.retry_at;
  return element;
}

/** Brings every time on the page up to date. */
export function tick() {
  for (const element of document.querySelectorAll("[data-retry-at]")) {
    element.textContent = `next try ${until(Number(element.dataset.retryAt))}`;
  }
}

/** Shows the connectors; `select(slug)` is called when one is chosen. */
export function showList(list, connectors, selected, select) {
  const focused = document.activeElement?.dataset?.slug;
  list.replaceChildren(...connectors.map((status) => el("li", {}, item(status, selected, select))));
  if (focused) list.querySelector(`[data-slug="${CSS.escape(focused)}"]`)?.focus();
}

function item(status, selected, select) {
  const button = el(
    "button",
    {
      type: "button",
      class: "item",
      "aria-current": String(status.slug === selected),
      onclick: () => select(status.slug),
    },
    el("span", { class: "row spread" }, el("span", { class: "name" }, status.name), badge(status)),
    el("span", { class: "where" }, where(status)),
    status.last_error ? el("span", { class: status.state === "needs_sign_in" ? "wish" : "error" }, status.last_error) : null,
    el(
      "span",
      { class: "row" },
      el("span", { class: "muted" }, `${status.enabled_count} of ${counted(status.tool_count, "tool")} enabled`),
      retry(status),
    ),
  );
  button.dataset.slug = status.slug;
  return button;
}
