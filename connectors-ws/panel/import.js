// What other clients have configured on this machine: shown, chosen and taken over.

import { busy, el, field, freshId, showDialog, visible } from "./dom.js";
import { commandLine } from "./list.js";
import { explain } from "./rpc.js";

const CLIENTS = {
  claude_code: "Claude Code",
  claude_desktop: "Claude Desktop",
  codex: "Codex",
  cursor: "Cursor",
  goose: "goose",
  mcp_json: "Project file",
  vscode: "Visual Studio Code",
  windsurf: "Windsurf",
};

/** Most entries that one call asks for: their servers are connected to at once. */
const MOST_AT_ONCE = 20;

/** Where an entry leads, in one line. */
function target(entry) {
  if (entry.transport === "http") return visible(entry.url);
  if (entry.transport === "stdio") return commandLine(entry);
  return "";
}

/** One entry: a checkbox, what it is, and inputs for what it wants. */
class Entry {
  #box;
  #values = [];
  #plain = null;

  /** `trusted`: whether the user's own file says it. A project's says what whoever can write to the project likes. */
  constructor(entry, trusted) {
    this.name = entry.name;
    this.hash = entry.hash;
    const id = freshId("import");
    const usable = !entry.problem;
    this.#box = el("input", {
      id,
      type: "checkbox",
      disabled: !usable,
      checked: trusted && usable && !entry.existing && !entry.disabled && entry.wanted.length === 0 && !entry.plain_secrets,
      onchange: () => this.#show(),
    });
    const details = el("div", { class: "stack" });
    const say = (text) => details.append(el("p", { class: "muted" }, visible(text)));
    if (entry.problem) details.append(el("p", { class: "notice" }, `Cannot be taken over: ${visible(entry.problem)}`));
    if (entry.existing) say(`Leads to the same place as the connector “${entry.existing}”: tick it to add it once more.`);
    if (entry.disabled) say("Switched off there: it stays so.");
    if (entry.cwd) details.append(el("p", { class: "muted" }, "Started in ", el("code", { class: "text" }, visible(entry.cwd))));
    for (const [name, value] of Object.entries(entry.env_values ?? {})) {
      details.append(el("p", { class: "muted" }, "Sets ", el("code", { class: "text" }, visible(`${name}=${value}`))));
    }
    if (entry.secrets.length > 0) say(`Kept as secrets: ${entry.secrets.join(", ")}.`);
    if (entry.uses) say(`Takes from this machine: ${entry.uses.join(", ")}.`);
    if (entry.note) say(`Note: ${entry.note}.`);
    this.inputs = el("div", { class: "stack" });
    for (const { name, description, optional } of entry.wanted) {
      const input = el("input", { type: "password", autocomplete: "off", required: !optional });
      this.#values.push({ name, input });
      const label = description ? `${visible(description)} (${visible(name)})` : visible(name);
      this.inputs.append(field(optional ? `${label}, may be left empty` : label, input));
    }
    if (entry.plain_secrets) {
      this.#plain = el("input", { type: "checkbox", required: true });
      const text = `Keep what looks like a secret in its ${entry.plain_secrets.join(", ")} in the settings, in the clear`;
      this.inputs.append(el("label", { class: "choice" }, this.#plain, text));
    }
    details.append(this.inputs);
    this.existing = Boolean(entry.existing);
    this.element = el(
      "li",
      { class: "card stack" },
      el("label", { class: "choice", for: id }, this.#box, el("strong", {}, visible(entry.name))),
      el("code", { class: "text" }, target(entry)),
      details,
    );
    this.#show();
  }

  get chosen() {
    return this.#box.checked;
  }

  /** What is not chosen must not keep the form from being sent. */
  #show() {
    this.inputs.hidden = !this.chosen || this.inputs.childElementCount === 0;
    for (const input of this.inputs.querySelectorAll("input")) input.disabled = !this.chosen;
  }

  /** What has been entered for it, by name. */
  get values() {
    const given = this.#values.filter(({ input }) => input.value !== "");
    return Object.fromEntries(given.map(({ name, input }) => [name, input.value]));
  }

  get allowsPlain() {
    return this.#plain?.checked ?? false;
  }

  /** Whether one call can ask for both. Values go with the entry that they are for. */
  goesWith(other) {
    return (
      this.name !== other.name &&
      this.existing === other.existing &&
      this.allowsPlain === other.allowsPlain &&
      [this, other].every(({ values }) => Object.keys(values).length === 0)
    );
  }

  done() {
    this.#box.checked = false;
    this.#box.disabled = true;
    for (const { input } of this.#values) input.value = "";
    this.#show();
  }
}

/** Entries of one source, by the calls that ask for them: as few as there can be, since each reads the file anew. */
function calls(entries) {
  const calls = [];
  for (const entry of entries) {
    const call = calls.find((call) => call.length < MOST_AT_ONCE && call.every((other) => other.goesWith(entry)));
    if (call) call.push(entry);
    else calls.push([entry]);
  }
  return calls;
}

/** The parameters of `connectors.import` for entries that go with one another. */
function params(source, entries) {
  const [{ values, existing, allowsPlain }] = entries;
  return {
    source,
    names: entries.map(({ name }) => name),
    hashes: Object.fromEntries(entries.map(({ name, hash }) => [name, hash])),
    values,
    again: existing,
    allow_plain_secrets: allowsPlain,
  };
}

function section(source) {
  const entries = source.connectors.map((entry) => new Entry(entry, !source.project));
  const place = source.line ? ` (line ${source.line}, column ${source.column})` : "";
  const element = el(
    "section",
    { class: "stack" },
    el("h3", {}, CLIENTS[source.client] ?? source.client),
    el("p", { class: "muted" }, visible(source.project ? `${source.path}, for ${source.project}` : source.path)),
    source.problem ? el("p", { class: "notice bad" }, `${visible(source.problem)}${place}`) : null,
    el("ul", { class: "stack" }, ...entries.map((entry) => entry.element)),
  );
  return { source: source.source, entries, element };
}

/** Opens the dialog; `imported()` is called whenever there are new connectors. */
export async function openImport(rpc, imported) {
  const body = el("div", { class: "stack" }, el("p", { class: "muted" }, "Looking at what is on this machine…"));
  const results = el("div", { class: "stack", role: "status" });
  const submit = el("button", { type: "submit", class: "primary", disabled: true }, "Import");
  let sections = [];
  const say = (kind, text) => results.append(el("p", { class: `notice ${kind}` }, visible(text)));

  async function send(event) {
    event.preventDefault();
    results.replaceChildren();
    await busy(submit, (error) => say("bad", explain(error)), async () => {
      submit.textContent = "Importing…";
      try {
        for (const { source, entries } of sections) {
          for (const asked of calls(entries.filter((entry) => entry.chosen))) {
            const outcome = await rpc.call("connectors.import", params(source, asked));
            for (const status of outcome.imported) say("good", `“${status.name}” is now the connector “${status.slug}”.`);
            for (const { name, reason } of outcome.skipped) say("bad", `“${name}” was left out: ${reason}.`);
            const skipped = new Set(outcome.skipped.map(({ name }) => name));
            for (const entry of asked.filter(({ name }) => !skipped.has(name))) entry.done();
            imported();
          }
        }
      } finally {
        submit.textContent = "Import";
      }
    });
    if (results.childElementCount === 0) say("", "Nothing is ticked.");
    results.scrollIntoView({ block: "nearest" });
  }

  const dialog = showDialog(
    "Import from other clients",
    el("p", { class: "muted" }, "Their files are read and left as they are. Secrets go to the secret store. No tool is enabled."),
    el(
      "form",
      { class: "stack", onsubmit: send },
      body,
      results,
      el("div", { class: "row" }, submit, el("button", { type: "button", onclick: () => dialog.close() }, "Close")),
    ),
  );
  try {
    const { sources } = await rpc.call("connectors.importable");
    sections = sources.map(section);
    const none = el("p", { class: "muted" }, "No other client has configured servers here.");
    body.replaceChildren(...(sections.length > 0 ? sections.map(({ element }) => element) : [none]));
    submit.disabled = sections.length === 0;
  } catch (error) {
    body.replaceChildren(el("p", { class: "notice bad", role: "alert" }, explain(error)));
  }
}
