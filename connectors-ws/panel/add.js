// The form that adds a connector.

import { busy, el, field, freshId, showDialog } from "./dom.js";
import { explain } from "./rpc.js";

/** Rows of one or two inputs that the user can add to and remove from. */
class Rows {
  #rows = el("div", {});
  #names;
  #secret;

  constructor(title, names, addLabel, secret = false) {
    this.#names = names;
    this.#secret = secret;
    const add = el("button", { type: "button", class: "quiet", onclick: () => this.#add() }, addLabel);
    this.element = el("fieldset", {}, el("legend", {}, title), this.#rows, add);
  }

  #add() {
    const inputs = this.#names.map((name, index) =>
      el("input", {
        "aria-label": name,
        placeholder: name,
        autocomplete: "off",
        spellcheck: false,
        type: this.#secret && index === 1 ? "password" : "text",
      }),
    );
    const row = el("div", { class: inputs.length === 1 ? "pair single" : "pair" }, ...inputs);
    row.append(el("button", { type: "button", class: "quiet", "aria-label": "Remove this row", onclick: () => row.remove() }, "✕"));
    this.#rows.append(row);
    inputs[0].focus();
  }

  /** The values of every row. */
  values() {
    return [...this.#rows.children].map((row) => [...row.querySelectorAll("input")].map((input) => input.value));
  }

  /** The rows as an object, those without a name left out. */
  pairs() {
    return Object.fromEntries(this.values().filter(([name]) => name.trim() !== ""));
  }
}

/** Opens the form; `added(status)` is called when it has succeeded. */
export function openAddForm(rpc, added) {
  const name = el("input", { required: true, autocomplete: "off", maxLength: 200 });
  const url = el("input", { type: "url", placeholder: "https://example.com/mcp", autocomplete: "off", spellcheck: false });
  const command = el("input", { placeholder: "npx", autocomplete: "off", spellcheck: false });
  const headers = new Rows("Headers (values are kept as secrets)", ["Header", "Value"], "Add a header", true);
  const args = new Rows("Arguments", ["Argument"], "Add an argument");
  const env = new Rows("Environment variables (values that look like secrets are kept as such)", ["Variable", "Value"], "Add a variable");
  const secretEnv = new Rows("Secret environment variables", ["Secret variable", "Value"], "Add a secret variable", true);

  const remote = el("div", { class: "stack" }, field("URL of the MCP endpoint", url), headers.element);
  const local = el("div", { class: "stack", hidden: true }, field("Command", command), args.element, env.element, secretEnv.element);
  const kind = freshId("kind");
  const choice = (value, label, checked) =>
    el("label", { class: "choice" }, el("input", { type: "radio", name: kind, value, checked, onchange: choose }), label);
  const chosen = () => form.elements[kind].value;
  function choose() {
    remote.hidden = chosen() !== "http";
    local.hidden = chosen() !== "stdio";
    // What is hidden must not keep the form from being sent.
    url.disabled = remote.hidden;
    url.required = !remote.hidden;
    command.required = !local.hidden;
  }

  const failure = el("p", { class: "notice bad", role: "alert", hidden: true });
  const submit = el("button", { type: "submit", class: "primary" }, "Add");
  const form = el(
    "form",
    { class: "stack", onsubmit: send },
    el("fieldset", {}, el("legend", {}, "Where it is"), choice("http", "Remote, at a URL", true), choice("stdio", "Local, a command", false)),
    field("Name", name),
    remote,
    local,
    failure,
    el("div", { class: "row" }, submit, el("button", { type: "button", onclick: () => dialog.close() }, "Cancel")),
  );

  async function send(event) {
    event.preventDefault();
    failure.hidden = true;
    const fail = (error) => {
      failure.textContent = explain(error);
      failure.hidden = false;
    };
    await busy(submit, fail, async () => {
      submit.textContent = "Connecting…";
      try {
        const status =
          chosen() === "http"
            ? await rpc.call("connectors.add", { name: name.value, url: url.value.trim(), headers: headers.pairs() })
            : await rpc.call("connectors.add_stdio", {
                name: name.value,
                command: command.value.trim(),
                args: args.values().map(([value]) => value),
                env: env.pairs(),
                secret_env: secretEnv.pairs(),
              });
        dialog.close();
        added(status);
      } finally {
        submit.textContent = "Add";
      }
    });
  }

  const dialog = showDialog("Add a connector", form);
  choose();
  name.focus();
}
