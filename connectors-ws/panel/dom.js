// Building the page. Text from servers reaches it as text nodes only, never as markup.

/** An element with properties, listeners (`onclick`, ...) and children (nodes, or strings that become text). */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-") || name === "for" || name === "role") element.setAttribute(name, value);
    else if (name === "class") element.className = value;
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Characters that cannot be seen, or that change the order in which others are shown. */
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Text as it came, with what hides in it made visible. */
export function visible(text) {
  return text.replace(HIDDEN, (hidden) => `\\u{${hidden.codePointAt(0).toString(16)}}`);
}

let lastId = 0;

/** An id that nothing else on the page has. */
export function freshId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

/** An input or textarea under its label. */
export function field(label, control) {
  control.id ||= freshId("field");
  return el("div", {}, el("label", { for: control.id }, label), control);
}

/** What hides in the text of an input, shown as long as something does. */
export function hiddenIn(input) {
  const note = el("p", { class: "muted text" });
  const show = () => {
    const text = visible(input.value);
    note.hidden = text === input.value;
    note.textContent = `With what hides in it: ${text}`;
  };
  input.addEventListener("input", show);
  show();
  return note;
}

/** A modal dialog that removes itself when it is closed. */
export function showDialog(title, ...children) {
  const id = freshId("dialog");
  const dialog = el(
    "dialog",
    { "aria-labelledby": id, onclose: () => dialog.remove() },
    el("div", { class: "stack" }, el("h2", { id }, title), ...children),
  );
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Asks before something that cannot be undone. */
export function confirm(title, text, action) {
  return new Promise((resolve) => {
    let agreed = false;
    const dialog = showDialog(
      title,
      el("p", {}, text),
      el(
        "div",
        { class: "row" },
        el("button", { type: "button", class: "danger", onclick: () => { agreed = true; dialog.close(); } }, action),
        el("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Keep it"),
      ),
    );
    dialog.addEventListener("close", () => resolve(agreed));
  });
}

/** Lets clicks on a control come to nothing while what it started is under way; failures go to `fail`. */
export async function busy(control, fail, work) {
  // Also those that a key makes, and those that would send its form. Disabled, it would lose the focus.
  const ignore = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  control.addEventListener("click", ignore, { capture: true });
  control.setAttribute("aria-disabled", "true");
  try {
    return await work();
  } catch (error) {
    fail(error);
    return undefined;
  } finally {
    control.removeEventListener("click", ignore, { capture: true });
    control.removeAttribute("aria-disabled");
  }
}

/** Puts other children into an element. What has the focus there keeps it if it stays; else `next()` gets it. */
export function replaceContent(root, next, ...children) {
  const focused = document.activeElement;
  const hadFocus = root.contains(focused);
  root.replaceChildren(...children);
  if (hadFocus) (focused.isConnected ? focused : next()).focus();
}

/** Says why something has failed, until it is cleared or the user dismisses it. */
export class Failure {
  #text = el("span", {});

  /** `dismissed()` is called when the user has read it. */
  constructor(dismissed) {
    const dismiss = () => {
      this.clear();
      dismissed();
    };
    const button = el("button", { type: "button", class: "quiet", onclick: dismiss }, "Dismiss");
    this.element = el("div", { class: "notice bad row spread failure", role: "alert", hidden: true }, this.#text, button);
  }

  get isShown() {
    return !this.element.hidden;
  }

  say(text) {
    this.#text.textContent = text;
    this.element.hidden = false;
  }

  clear() {
    this.element.hidden = true;
  }
}

/** "1 tool", "2 tools". */
export function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** "in 12 s", for a time in Unix seconds. */
export function until(seconds) {
  const left = Math.round(seconds - Date.now() / 1000);
  if (left <= 0) return "now";
  return left < 120 ? `in ${left} s` : `in ${Math.round(left / 60)} min`;
}

/** A clock time, for a time in Unix seconds. */
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString();
}
