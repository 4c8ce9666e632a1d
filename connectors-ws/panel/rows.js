// Rows of inputs that the user can add to, remove from and, where their order counts, move.

import { el, hiddenIn } from "./dom.js";

export class Rows {
  #rows = el("div", {});
  #names;
  #secret;
  #ordered;
  #more;
  #given = new Map();

  /**
   * `names` are those of a row's inputs, one or two. With `secret`, what is entered into the second one is not shown. With `ordered`,
   * rows can be moved. `values` are those of the first rows.
   */
  constructor(title, names, addLabel, { secret = false, ordered = false, values = [] } = {}) {
    this.#names = names;
    this.#secret = secret;
    this.#ordered = ordered;
    this.#more = el("button", { type: "button", class: "quiet", onclick: () => this.#add().focus() }, addLabel);
    this.element = el("fieldset", {}, el("legend", {}, title), this.#rows, this.#more);
    for (const row of values) this.#add(row);
  }

  /** Adds a row, and gives its first input that is empty. */
  #add(values = []) {
    const inputs = this.#names.map((name, index) => this.#input(name, values[index] ?? "", this.#secret && index === 1));
    const row = el("div", { class: ["pair", inputs.length === 1 ? "single" : "", this.#ordered ? "ordered" : ""].join(" ").trim() }, ...inputs);
    if (this.#ordered) row.append(el("button", { type: "button", class: "quiet up", "aria-label": "Move this row up", onclick: ({ currentTarget }) => this.#up(row, currentTarget) }, "↑"));
    row.append(el("button", { type: "button", class: "quiet", "aria-label": "Remove this row", onclick: () => this.#remove(row) }, "✕"));
    row.append(hiddenIn(inputs[0]));
    this.#rows.append(row);
    return inputs.find((input) => input.value === "") ?? inputs[0];
  }

  #input(name, value, isSecret) {
    const common = { "aria-label": name, placeholder: name, autocomplete: "off", spellcheck: false, value };
    // An input would leave the line breaks out.
    const input = /[\r\n]/.test(value) ? el("textarea", common) : el("input", { ...common, type: isSecret ? "password" : "text" });
    this.#given.set(input, { value, shown: input.value });
    return input;
  }

  #up(row, button) {
    row.previousElementSibling?.before(row);
    // The first row has no way up.
    (row.previousElementSibling ? button : row.querySelector("input, textarea")).focus();
  }

  #remove(row) {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    (next?.querySelector("input, textarea") ?? this.#more).focus();
  }

  /** The values of every row: those that the user has not touched exactly as they were given. */
  values() {
    const value = (input) => {
      const given = this.#given.get(input);
      return input.value === given.shown ? given.value : input.value;
    };
    return [...this.#rows.children].map((row) => [...row.querySelectorAll("input, textarea")].map(value));
  }

  /** The rows as an object, those without a name left out. */
  pairs() {
    return Object.fromEntries(this.values().filter(([name]) => name.trim() !== ""));
  }

  /** The rows with a name, which must all have different ones. Rows with nothing in them are left out. */
  distinct(noun) {
    const rows = this.values().map(([name, value]) => [name.trim(), value]).filter((row) => row.some((part) => part !== ""));
    const seen = new Set();
    for (const [name] of rows) {
      if (name === "") throw new Error(`A ${noun} has no name.`);
      if (seen.has(name)) throw new Error(`The ${noun} “${name}” is there twice.`);
      seen.add(name);
    }
    return rows;
  }
}
