// What a project's team file proposes: shown whole, and nothing is done about it before the user says so.

import { Failure, busy, el, field, replaceContent, showDialog, visible } from "./dom.js";
import { explain } from "./rpc.js";

export class Proposals {
  #rpc;
  #root;
  #after;
  #changed;
  #shown = "";
  #isEmpty = true;
  #title = el("h2", { tabIndex: -1 }, "From this project’s team file");
  #failure = new Failure(() => this.#show());

  /** `after` gets the focus when nothing is left to decide; `changed()` is called when something was decided. */
  constructor(rpc, root, after, changed) {
    this.#rpc = rpc;
    this.#root = root;
    this.#after = after;
    this.#changed = changed;
  }

  /** Shows what waits for a decision among the connectors, and what is wrong with the file. */
  show(connectors, problems) {
    const proposed = connectors.filter((status) => status.state === "proposed");
    const changed = connectors.filter((status) => status.proposal_changed);
    // What is being read or clicked must not be replaced by the same.
    const shown = JSON.stringify([problems, proposed, changed.map((status) => [status.slug, status.name, status.proposal_changed])]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#isEmpty = proposed.length + changed.length + problems.length === 0;
    this.#show(
      this.#title,
      this.#failure.element,
      ...problems.map((problem) => el("p", { class: "notice bad", role: "alert" }, visible(`${place(problem)}: ${problem.problem}`))),
      ...proposed.map((status) => this.#proposal(status)),
      ...changed.map((status) => this.#change(status)),
    );
  }

  /** Shows this, or what is there: as long as there is something to decide, or to be told. */
  #show(...content) {
    this.#root.hidden = this.#isEmpty && !this.#failure.isShown;
    if (content.length > 0) replaceContent(this.#root, () => this.#next(), ...content);
    else if (this.#root.contains(document.activeElement)) this.#next().focus();
  }

  /** What gets the focus from something that is gone. */
  #next() {
    return this.#root.hidden ? this.#after : this.#title;
  }

  #proposal(status) {
    const { file, hash, env = {} } = status.proposal;
    const command = status.command;
    return this.#card(
      status,
      hash,
      el("p", {}, "Whoever can write to this project proposes this connector. Nothing is started or sent before you accept it."),
      facts([
        ["Address", status.url],
        ["Command", command && [command.command, ...command.args].map((part) => JSON.stringify(part))],
        ["Started in", command?.cwd],
        ["Sets", Object.entries(env).map(([name, value]) => `${name}=${value}`)],
        ["Asks you for", wanted(status)],
        ["File", file],
      ]),
      ["Accept", "Reject"],
    );
  }

  #change(status) {
    const { file, hash, changes } = status.proposal_changed;
    return this.#card(
      status,
      hash,
      el("p", {}, "What you accepted has changed in the file. The connector goes on as you accepted it until you decide."),
      facts([
        ...changes.map(({ field: name, before, after }) => [FIELDS[name] ?? name.replace(/^env\./, "Sets "), difference(parts(name, before), parts(name, after))]),
        ["File", file],
      ]),
      ["Accept the change", "Keep it as it is"],
    );
  }

  #card(status, hash, text, content, [accept, reject]) {
    // The card may be another by then: that of what the file says now.
    const fail = (error) => {
      this.#failure.say(`“${visible(status.name)}”: ${explain(error)}`);
      this.#show();
    };
    const button = (label, look, act) => {
      const element = el("button", { type: "button", class: look }, label);
      element.addEventListener("click", async () => {
        this.#failure.clear();
        await busy(element, fail, act);
        this.#changed();
      });
      return element;
    };
    return el(
      "article",
      { class: "card stack" },
      el("h3", {}, visible(status.name)),
      text,
      content,
      el(
        "div",
        { class: "row" },
        button(accept, "primary", async () => {
          const accepted = await this.#rpc.call("connectors.accept", { slug: status.slug, hash });
          if (wanted(accepted).length === 0 || accepted.state === "ready") return;
          // What had the focus before is gone when the dialog is.
          askValues(this.#rpc, accepted).addEventListener("close", () => {
            if (document.activeElement === document.body) this.#next().focus();
          });
        }),
        button(reject, "", () => this.#rpc.call("connectors.reject", { slug: status.slug })),
      ),
    );
  }
}

/** The headers and variables of a connector whose values only its user has. */
export function wanted(status) {
  return [...status.secret_headers, ...(status.command?.secret_env ?? [])];
}

/** Asks for the values of a connector's secret headers or variables, in the dialog that it returns. */
export function askValues(rpc, status) {
  const ofHeaders = status.transport === "http";
  const inputs = wanted(status).map((name) => [name, el("input", { type: "password", required: true, autocomplete: "off" })]);
  const failure = el("p", { class: "notice bad", role: "alert", hidden: true });
  const submit = el("button", { type: "submit", class: "primary" }, "Save");
  const form = el(
    "form",
    { class: "stack", onsubmit: send },
    el("p", {}, `“${visible(status.name)}” needs values that only you have. They are kept as secrets, and sent to nobody else.`),
    ...inputs.map(([name, input]) => field(visible(name), input)),
    failure,
    el("div", { class: "row" }, submit, el("button", { type: "button", onclick: () => dialog.close() }, "Later")),
  );
  async function send(event) {
    event.preventDefault();
    const fail = (error) => {
      failure.textContent = explain(error);
      failure.hidden = false;
    };
    await busy(submit, fail, async () => {
      const values = Object.fromEntries(inputs.map(([name, input]) => [name, input.value]));
      await rpc.call("connectors.update", { slug: status.slug, [ofHeaders ? "headers" : "secret_env"]: values });
      dialog.close();
    });
  }
  const dialog = showDialog(ofHeaders ? "Enter the headers" : "Enter the variables", form);
  return dialog;
}

function place({ file, line, column }) {
  return [file, line, column].filter((part) => part !== undefined).join(":");
}

/** What a changed field is called in what was proposed first. */
const FIELDS = { name: "Name", url: "Address", command: "Command", cwd: "Started in", secret_headers: "Asks you for", secret_env: "Asks you for" };

/** The parts of a field, one for each line: a command has several. */
function parts(name, value) {
  if (value === undefined || value === null) return [];
  return name === "command" ? JSON.parse(value).map((part) => JSON.stringify(part)) : [value];
}

/** The lines that are gone and that are new, between those that stay. */
function difference(before, after) {
  let head = 0;
  while (head < before.length && before[head] === after[head]) head += 1;
  let tail = 0;
  const most = Math.min(before.length, after.length) - head;
  while (tail < most && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  const marked = (lines, mark, look) => lines.map((line) => el("span", { class: look }, visible(`${mark} ${line}`)));
  return [
    ...marked(after.slice(0, head), " ", ""),
    ...marked(before.slice(head, before.length - tail), "−", "gone"),
    ...marked(after.slice(head, after.length - tail), "+", "new"),
    ...marked(after.slice(after.length - tail), " ", ""),
  ];
}

/** Names and values: a text, or several, each of them on a line of its own. */
function facts(rows) {
  const lines = (value) => (Array.isArray(value) ? value : [value]).map((line) => (line instanceof Node ? line : el("span", {}, visible(line))));
  const cells = rows.filter(([, value]) => value?.length > 0).flatMap(([name, value]) => [el("dt", {}, visible(name)), el("dd", { class: "whole" }, ...lines(value))]);
  return el("dl", { class: "facts" }, ...cells);
}
