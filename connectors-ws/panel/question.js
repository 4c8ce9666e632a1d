// What servers ask of the user: shown in a dialog that says who asks.

import { busy, el, field, showDialog, visible } from "./dom.js";
import { explain } from "./rpc.js";
import { sample } from "./sample.js";

export class Questions {
  #rpc;
  #open = new Map();

  constructor(rpc) {
    this.#rpc = rpc;
  }

  /** Opens and closes dialogs as questions come and go. */
  event(event) {
    if (event.kind === "input_wanted") this.#ask(event);
    else if (event.kind === "input_over") this.#close(event.request_id);
  }

  #close(id) {
    const dialog = this.#open.get(id);
    this.#open.delete(id);
    dialog?.close();
  }

  #ask({ request_id: id, slug, mode, message, schema, url, host }) {
    const failure = el("p", { class: "notice bad", role: "alert", hidden: true });
    const fail = (text) => {
      failure.textContent = text;
      failure.hidden = false;
    };
    const values = el("textarea", { spellcheck: false, value: JSON.stringify(sample(schema ?? {}) ?? {}, null, 2) });
    const send = (button, action, content) =>
      busy(button, (error) => fail(explain(error)), async () => {
        await this.#rpc.call("connectors.answer", { request_id: id, action, content });
        this.#close(id);
      });
    const accept = el("button", { type: "button", class: "primary" }, mode === "url" ? "I have been there" : "Send");
    accept.addEventListener("click", () => {
      let content;
      try {
        content = mode === "url" ? undefined : JSON.parse(values.value);
      } catch (error) {
        fail(`This is not JSON: ${error.message}`);
        return;
      }
      send(accept, "accept", content);
    });
    const decline = el("button", { type: "button", class: "danger" }, "Decline");
    decline.addEventListener("click", () => send(decline, "decline"));
    const body = mode === "url" ? page(url, host) : form(values, schema);
    const dialog = showDialog(
      `The connector “${slug}” asks you`,
      el("p", { class: "text" }, message),
      ...body,
      failure,
      el("div", { class: "row" }, accept, decline),
    );
    // Escape closes the dialog without a choice.
    dialog.addEventListener("close", () => {
      if (this.#open.delete(id)) this.#rpc.call("connectors.answer", { request_id: id, action: "cancel" }).catch(() => {});
    });
    this.#open.set(id, dialog);
  }
}

/** A page that the user may visit: its host first, the whole address, and nothing that opens by itself. */
function page(url, host) {
  const address = new URL(url);
  const link = address.protocol === "https:" || address.protocol === "http:"
    ? el("a", { href: address.href, target: "_blank", rel: "noopener noreferrer" }, "Open this page in a new tab")
    : null;
  return [el("p", {}, "It wants you to visit ", el("strong", {}, host ?? address.host), ":"), el("pre", { tabIndex: 0 }, url), link];
}

function form(values, schema) {
  return [
    field("Your answer (JSON)", values),
    el("details", {}, el("summary", {}, "What it asks for"), el("pre", { tabIndex: 0 }, visible(JSON.stringify(schema, null, 2)))),
  ];
}
