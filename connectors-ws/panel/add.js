// The form that adds a connector.

import { busy, el, field, freshId, showDialog } from "./dom.js";
import { explain } from "./rpc.js";
import { Rows } from "./rows.js";

/** Opens the form; `added(status)` is called when it has succeeded. */
export function openAddForm(rpc, added) {
  const name = el("input", { required: true, autocomplete: "off", maxLength: 200 });
  const url = el("input", { type: "url", placeholder: "https://example.com/mcp", autocomplete: "off", spellcheck: false });
  const command = el("input", { placeholder: "npx", autocomplete: "off", spellcheck: false });
  const headers = new Rows("Headers (values are kept as secrets)", ["Header", "Value"], "Add a header", { secret: true });
  const args = new Rows("Arguments", ["Argument"], "Add an argument", { ordered: true });
  const env = new Rows("Environment variables (values that look like secrets are kept as such)", ["Variable", "Value"], "Add a variable");
  const secretEnv = new Rows("Secret environment variables", ["Secret variable", "Value"], "Add a secret variable", { secret: true });

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
