// The form that changes a connector. Only what the user has changed is sent.

import { busy, el, field, hiddenIn, showDialog, visible } from "./dom.js";
import { explain } from "./rpc.js";
import { Rows } from "./rows.js";
import { Variables } from "./variables.js";

/** An input with what is there now, and whether the user has changed it. */
class Edited {
  #shown;

  constructor(label, value, properties = {}) {
    this.input = el("input", { autocomplete: "off", spellcheck: false, required: true, ...properties, value });
    this.#shown = this.input.value;
    this.element = el("div", {}, field(label, this.input), hiddenIn(this.input));
  }

  get isChanged() {
    return this.input.value !== this.#shown;
  }

  get value() {
    return this.input.value.trim();
  }
}

/** The headers of a remote server. A change names all of them, with their values: those that are stored are kept together, or not. */
class Headers {
  #stored;
  #replace = el("input", { type: "checkbox" });
  #rows;

  constructor(stored) {
    this.#stored = stored;
    const title = "Headers (values are kept as secrets)";
    this.#rows = new Rows(title, ["Header", "Value"], "Add a header", { secret: true, values: stored.map((name) => [name]) });
    this.element = el("div", { class: "stack" }, ...(stored.length > 0 ? this.#choice() : []), this.#rows.element);
  }

  #choice() {
    const names = visible(this.#stored.join(", "));
    const now = `Stored headers: ${names}. Their values are not shown, and one cannot be kept while others are changed.`;
    const hint = el("p", { class: "muted" }, "Enter all headers that there are to be, with their values. Stored ones that are not among them are deleted.");
    const show = () => {
      hint.hidden = this.areKept;
      this.#rows.element.hidden = this.areKept;
    };
    this.#replace.addEventListener("change", show);
    show();
    return [el("p", { class: "muted" }, now), el("label", { class: "choice" }, this.#replace, "Replace all headers"), hint];
  }

  /** True if there are stored headers that stay as they are. */
  get areKept() {
    return this.#stored.length > 0 && !this.#replace.checked;
  }

  /** What of the parameters of `connectors.update` makes the change. Throws what cannot be meant. */
  params() {
    const rows = this.areKept ? [] : this.#rows.distinct("header");
    const empty = rows.find(([, value]) => value === "");
    if (empty) throw new Error(`The header “${empty[0]}” has no value.`);
    const isChanged = rows.length > 0 || (this.#stored.length > 0 && !this.areKept);
    return isChanged ? { headers: Object.fromEntries(rows) } : {};
  }
}

/** What of a remote server can be changed. */
function remote(status) {
  const url = new Edited("URL of the MCP endpoint", status.url, { type: "url" });
  const headers = new Headers(status.secret_headers);
  const warning = el("p", { class: "notice" }, "The stored headers go to this other server, too. Replace them all if it is not to have them.");
  const show = () => (warning.hidden = !headers.areKept || !leadsElsewhere(status.url, url.value));
  const signedIn = status.oauth ? el("p", { class: "muted" }, "With another URL, you have to sign in again.") : null;
  const element = el("div", { class: "stack", oninput: show }, url.element, signedIn, el("div", { role: "status" }, warning), headers.element);
  show();
  return { element, params: () => ({ ...(url.isChanged ? { url: url.value } : {}), ...headers.params() }) };
}

/** True if a URL is that of another server. */
function leadsElsewhere(before, after) {
  return URL.canParse(after) && URL.canParse(before) && new URL(before).origin !== new URL(after).origin;
}

/** What of a local server can be changed. */
function local(status, now) {
  const command = new Edited("Command", status.command.command);
  const args = new Rows("Arguments", ["Argument"], "Add an argument", { ordered: true, values: status.command.args.map((arg) => [arg]) });
  const variables = new Variables(status);
  const engine = el("input", { type: "checkbox", checked: true });
  const limits = (status.limitations ?? []).map((limit) => el("li", {}, visible(limit)));
  const choice = status.engine
    ? el(
        "div",
        {},
        el("label", { class: "choice" }, engine, "Run by the engine"),
        el("p", { class: "muted" }, "Whether this daemon has the engine at all is not known here: once off, it is not offered again."),
        limits.length > 0 ? el("details", {}, el("summary", {}, "What cannot be done with it"), el("ul", { class: "muted" }, ...limits)) : null,
      )
    : null;
  const hint = el("p", { class: "muted" }, "The server is started again if anything but its name changes.");
  const params = async () => {
    const values = args.values().map(([value]) => value);
    return {
      ...(command.isChanged ? { command: command.value } : {}),
      ...(JSON.stringify(values) === JSON.stringify(status.command.args) ? {} : { args: values }),
      ...(engine.checked ? {} : { engine: false }),
      // They are named whole, so that others' are asked for as late as can be.
      ...(variables.isChanged ? variables.params((await now()).command ?? {}) : {}),
    };
  };
  return { element: el("div", { class: "stack" }, command.element, args.element, variables.element, choice, hint), params };
}

/** What has to be known about a connector that a project's file has proposed. */
function origin({ proposal }) {
  if (!proposal) return null;
  const text = `It comes from ${visible(proposal.file)}. That file stays as it is: what you change is for you alone, until you accept a change of the file. What the file says then takes the place of all that is entered here.`;
  return el("p", { class: "notice" }, text);
}

/**
 * Opens the form, in the dialog that it returns. `changed(status)` is called when it has succeeded, and `failed(error)` if the user
 * has closed it before it failed.
 */
export function openEdit(rpc, status, changed, failed) {
  const { slug } = status;
  const now = async () => {
    const { connectors } = await rpc.call("connectors.list");
    const found = connectors.find((other) => other.slug === slug);
    if (!found) throw new Error("The connector is gone.");
    return found;
  };
  const name = new Edited("Name", status.name, { maxLength: 200 });
  const server = status.command ? local(status, now) : remote(status);
  const failure = el("p", { class: "notice bad", role: "alert", hidden: true });
  const submit = el("button", { type: "submit", class: "primary" }, "Save");
  const form = el(
    "form",
    { class: "stack", onsubmit: send },
    origin(status),
    name.element,
    server.element,
    failure,
    el("div", { class: "row" }, submit, el("button", { type: "button", onclick: () => dialog.close() }, "Cancel")),
  );

  async function send(event) {
    event.preventDefault();
    failure.hidden = true;
    const fail = (error) => {
      if (!dialog.open) {
        failed(error);
        return;
      }
      failure.textContent = explain(error);
      failure.hidden = false;
      failure.scrollIntoView({ block: "nearest" });
    };
    await busy(submit, fail, async () => {
      submit.textContent = "Saving…";
      try {
        const params = { ...(name.isChanged ? { name: name.value } : {}), ...(await server.params()) };
        if (Object.keys(params).length > 0) changed(await rpc.call("connectors.update", { slug, ...params }));
        dialog.close();
      } finally {
        submit.textContent = "Save";
      }
    });
  }

  const dialog = showDialog(`Edit “${visible(status.name)}”`, form);
  name.input.focus();
  return dialog;
}
