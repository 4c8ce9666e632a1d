// The variables of a local server, as they are to be: names are known here, values never are.

import { el, freshId, visible } from "./dom.js";
import { Rows } from "./rows.js";

const KEEP = ["keep", "Keep as it is"];
const REMOVE = ["remove", "Remove"];

/** What can become of a variable whose value stands in the settings, and of one whose value is a secret. */
const PLAIN = [KEEP, ["protect", "Keep as a secret"], ["set", "New value"], ["set_secret", "New secret value"], REMOVE];
const SECRET = [KEEP, ["set_secret", "New value"], REMOVE];

/** A variable that there is. */
class Known {
  #choice;
  #value;
  #conceals;

  /** `looksSecret`: its value stands in the settings, and had better not. */
  constructor(name, isSecret, looksSecret) {
    this.name = name;
    this.isSecret = isSecret;
    this.#conceals = looksSecret;
    const id = freshId("variable");
    const options = (isSecret ? SECRET : PLAIN).map(([value, label]) => el("option", { value }, label));
    this.#choice = el("select", { id, onchange: () => this.#show() }, ...options);
    this.#value = el("input", { "aria-label": `New value of ${visible(name)}`, placeholder: "New value", autocomplete: "off", spellcheck: false });
    const kind = isSecret ? el("span", { class: "badge" }, "secret") : null;
    this.element = el("div", { class: "variable" }, el("label", { for: id }, el("code", {}, visible(name)), " ", kind), this.#choice, this.#value);
    this.#show();
  }

  /** `keep`, `protect`, `set`, `set_secret` or `remove`. */
  get choice() {
    return this.#choice.value;
  }

  get value() {
    return this.#value.value;
  }

  #show() {
    const input = this.#value;
    const isSecret = this.choice === "set_secret";
    const type = isSecret || this.#conceals ? "password" : "text";
    // What was entered as a secret is not shown because it is to be none.
    if (input.type === "password" && type === "text") input.value = "";
    input.type = type;
    input.hidden = !this.choice.startsWith("set");
    // What is hidden must not keep the form from being sent. Nothing is no secret.
    input.disabled = input.hidden;
    input.required = isSecret;
  }
}

export class Variables {
  #known;
  #plain = new Rows("New variables (values that look like secrets are kept as such)", ["Variable", "Value"], "Add a variable");
  #secret = new Rows("New secret variables", ["Secret variable", "Value"], "Add a secret variable", { secret: true });

  constructor({ command: { env, secret_env: secretEnv = [] }, plaintext_secrets: plaintext = [] }) {
    // A file that was written by hand may name one twice: the secret counts.
    const plain = env.filter((name) => !secretEnv.includes(name));
    this.#known = [
      ...plain.map((name) => new Known(name, false, plaintext.includes(name))),
      ...secretEnv.map((name) => new Known(name, true, false)),
    ];
    const list = this.#known.length > 0 ? el("fieldset", {}, el("legend", {}, "Variables (their values are not shown)"), ...this.#known.map(({ element }) => element)) : null;
    this.element = el("div", { class: "stack" }, list, this.#plain.element, this.#secret.element);
  }

  /** What the user wants: values by name, `null` where there is one to be kept, and what is to go. Throws what cannot be meant. */
  #wanted() {
    const values = new Map();
    const gone = new Set();
    const names = new Map(this.#known.map((known) => [known.name, known]));
    for (const { name, choice, value } of this.#known) {
      if (choice === "remove") gone.add(name);
      else if (choice === "protect") values.set(name, { value: null, isSecret: true });
      else if (choice !== "keep") values.set(name, { value, isSecret: choice === "set_secret" });
    }
    for (const [rows, isSecret] of [[this.#plain, false], [this.#secret, true]]) {
      for (const [name, value] of rows.distinct("variable")) {
        if (names.has(name) && !gone.delete(name)) throw new Error(`The variable “${name}” is there already: it can be given a new value.`);
        if (values.has(name)) throw new Error(`The variable “${name}” is there twice.`);
        if (isSecret && value === "") throw new Error(`The secret variable “${name}” has no value.`);
        values.set(name, { value, isSecret });
      }
    }
    // Whoever makes a variable plain that was a secret knows that; whoever has only seen a plain one does not.
    const wasSecret = (name) => names.get(name)?.isSecret ?? false;
    return { values, gone, wasSecret };
  }

  /** True if there is something to be done. Throws what cannot be meant. */
  get isChanged() {
    const { values, gone } = this.#wanted();
    return values.size + gone.size > 0;
  }

  /**
   * What of the parameters of `connectors.update` makes the change to what there is now, which others may have changed meanwhile:
   * what the user has not touched stays.
   */
  params({ env = [], secret_env: secretEnv = [] }) {
    const { values, gone, wasSecret } = this.#wanted();
    const there = new Set([...env, ...secretEnv]);
    const toSecret = (name, isSecret) => isSecret || (secretEnv.includes(name) && !wasSecret(name));
    const entries = [...values].map(([name, { value, isSecret }]) => ({ name, value, isSecret: toSecret(name, isSecret) }));
    const given = (isSecret) => entries.filter((entry) => entry.isSecret === isSecret).map(({ name, value }) => [name, value]);
    const [plain, secret] = [given(false), given(true)];
    // Together with the secrets that are given, `env` names all that there are to be.
    const isWhole = plain.length > 0 || [...gone].some((name) => there.has(name));
    const kept = [...there].filter((name) => !gone.has(name) && !values.has(name)).map((name) => [name, null]);
    return {
      ...(isWhole ? { env: Object.fromEntries([...kept, ...plain]) } : {}),
      ...(secret.length > 0 ? { secret_env: Object.fromEntries(secret) } : {}),
    };
  }
}
