// The connector that is selected: its state, what can be done with it, and its tools.

import { busy, clock, confirm, el, visible } from "./dom.js";
import { openEdit } from "./edit.js";
import { badge, isSecretMissing, retry, where } from "./list.js";
import { explain } from "./rpc.js";
import { SignIn } from "./sign_in.js";
import { askValues, wanted as askedFor } from "./team.js";
import { Tool } from "./tool.js";
import { openTrace } from "./trace.js";

export class Details {
  #rpc;
  #slug;
  #after;
  #status;
  #tools = new Map();
  #loading = 0;
  #card = el("div", { class: "card stack" });
  #title = el("h2", { tabIndex: -1 });
  #head = el("div", { class: "stack" });
  #failure = el("p", { class: "notice bad", role: "alert", hidden: true });
  #power = el("button", { type: "button" });
  #signIn = el("button", { type: "button", hidden: true });
  #signOut;
  #values;
  #plain = el("p", {});
  #protect = el("div", { class: "notice stack", hidden: true }, this.#plain);
  #dialog = null;
  #filter = el("input", { type: "search", placeholder: "Find a tool", "aria-label": "Find a tool", oninput: () => this.#applyFilter() });
  #list = el("ul", { class: "tools" });
  #empty = el("p", { class: "muted" });
  #left = el("div", { class: "stack" });

  /** `after` gets the focus when the connector is gone. */
  constructor(rpc, root, slug, after) {
    this.#rpc = rpc;
    this.#slug = slug;
    this.#after = after;
    const button = (label, look, act) => {
      const element = el("button", { type: "button", class: look }, label);
      element.addEventListener("click", () => this.#do(element, act));
      return element;
    };
    this.#power.addEventListener("click", () =>
      this.#do(this.#power, () => rpc.call("connectors.update", { slug, disabled: this.#status.state !== "disabled" })),
    );
    this.#signIn.addEventListener("click", () => {
      this.#dialog ??= new SignIn(rpc, this.#status, () => (this.#dialog = null));
    });
    this.#signOut = button("Sign out", "", () => rpc.call("connectors.sign_out", { slug }));
    this.#values = button("Enter secrets", "", () => askValues(rpc, this.#status));
    this.#protect.append(el("div", { class: "row" }, button("Move to the secret store", "primary", () => this.#moveSecrets())));
    const actions = el(
      "div",
      { class: "row" },
      this.#signIn,
      button("Refresh", "", async () => this.#showTools(await rpc.call("connectors.refresh", { slug }))),
      button("Reconnect", "", () => rpc.call("connectors.reconnect", { slug })),
      this.#signOut,
      this.#values,
      button("Edit", "", () => this.#edit()),
      this.#power,
      button("Explain", "", () => openTrace(rpc, slug)),
      button("Remove", "danger", () => this.#remove()),
    );
    this.#card.append(this.#title, this.#head, this.#protect, actions, this.#failure);
    root.replaceChildren(
      this.#card,
      el(
        "div",
        { class: "row spread" },
        el("h2", {}, "Tools"),
        el(
          "span",
          { class: "row" },
          button("Enable all", "quiet", () => this.#all("enable_tools")),
          button("Disable all", "quiet", () => this.#all("disable_tools")),
        ),
      ),
      this.#filter,
      this.#empty,
      this.#list,
      this.#left,
    );
  }

  get slug() {
    return this.#slug;
  }

  /** Moves the keyboard to this connector. */
  focus() {
    this.#title.focus();
  }

  /** Shows a newer state of the connector. */
  update(status) {
    const focused = document.activeElement;
    this.#status = status;
    this.#title.textContent = status.name;
    this.#power.textContent = status.state === "disabled" ? "Switch on" : "Switch off";
    const more = status.sign_in_scopes ?? [];
    const missing = more.filter((scope) => !status.oauth?.scopes.includes(scope));
    const wanted = status.state === "needs_sign_in" || more.length > 0;
    const isSignedIn = Boolean(status.oauth?.client_id) && status.state !== "needs_sign_in";
    this.#signIn.hidden = status.transport !== "http" || !(wanted || isSignedIn);
    this.#signIn.textContent = more.length > 0 ? "Allow more" : isSignedIn ? "Sign in again" : "Sign in";
    this.#signIn.className = wanted ? "primary" : "";
    this.#signOut.hidden = !isSignedIn;
    this.#values.hidden = askedFor(status).length === 0;
    this.#values.className = isSecretMissing(status) ? "primary" : "";
    const plain = status.plaintext_secrets ?? [];
    this.#protect.hidden = plain.length === 0;
    this.#plain.textContent = `These variables look like secrets and stand in connectors.json in plain text: ${visible(plain.join(", "))}.`;
    const facts = [
      ["Where", where(status)],
      ["Slug", status.slug],
      ["Server", status.server_info ? visible(`${status.server_info.title ?? status.server_info.name} ${status.server_info.version}`) : null],
      ["Protocol", status.protocol_version ? `${status.protocol_version} (${status.era})` : null],
      ["Signed in at", isSignedIn ? visible(status.oauth.issuer ?? status.oauth.token_endpoint) : null],
      ["Allowed", isSignedIn && status.oauth.scopes.length > 0 ? visible(status.oauth.scopes.join(", ")) : null],
      ["Exceptions", status.oauth?.exceptions?.length > 0 ? status.oauth.exceptions.join(", ") : null],
      ["Headers", status.secret_headers.length > 0 ? status.secret_headers.join(", ") : null],
      ["Started in", status.command?.cwd],
      ["From", status.proposal ? visible(status.proposal.file) : null],
      ["Variables", status.command?.env.length > 0 ? visible(status.command.env.join(", ")) : null],
      ["Secret variables", status.command?.secret_env?.length > 0 ? visible(status.command.secret_env.join(", ")) : null],
      ["Tools read", status.tools_fetched_at ? `${clock(status.tools_fetched_at)}${status.stale ? ", by an earlier connection" : ""}` : null],
    ];
    this.#head.replaceChildren(
      el("div", { class: "row" }, badge(status), retry(status)),
      ...(more.length > 0 ? [el("p", { class: "notice" }, `A call waits for you to allow more: ${visible((missing.length > 0 ? missing : more).join(", "))}`)] : []),
      ...(status.last_error ? [el("p", { class: status.state === "needs_sign_in" ? "notice" : "notice bad" }, status.last_error)] : []),
      el("dl", { class: "facts" }, ...facts.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    );
    const left = status.quarantined ?? [];
    this.#left.replaceChildren(
      ...(left.length > 0 ? [el("h2", {}, "Left out")] : []),
      ...left.map(({ name, reason }) => el("p", { class: "notice" }, `${name || "(without a name)"}: ${reason}`)),
    );
    // What can no longer be done is hidden.
    if (this.#card.contains(focused) && focused.closest("[hidden]")) this.#title.focus();
  }

  /** Reads the tools and shows them. */
  async load() {
    this.#loading += 1;
    const turn = this.#loading;
    try {
      const tools = await this.#rpc.call("connectors.tools", { slug: this.#slug });
      if (turn === this.#loading) this.#showTools(tools);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Shows what happened to the calls that were made here. */
  event(event) {
    for (const tool of this.#tools.values()) tool.event(event);
    // Signed in, wherever the browser was.
    if (event.kind === "sign_in" && !event.wanted && event.slug === this.#slug) this.#dialog?.close();
  }

  #showTools(views) {
    const shown = new Map();
    for (const view of views) {
      const tool = this.#tools.get(view.name) ?? new Tool(this.#rpc, this.#slug, view, () => this.load());
      tool.update(view);
      shown.set(view.name, tool);
    }
    const elements = [...shown.values()].map((tool) => tool.element);
    const isSame = elements.length === this.#list.childElementCount && elements.every((element, i) => element === this.#list.children[i]);
    // Moving an element would take the focus from it.
    if (!isSame) this.#list.replaceChildren(...elements);
    this.#tools = shown;
    this.#empty.textContent = "No tools are known. They are read as soon as the connector is ready.";
    this.#empty.hidden = views.length > 0;
    this.#filter.hidden = views.length < 8;
    this.#applyFilter();
  }

  #applyFilter() {
    const wanted = this.#filter.hidden ? "" : this.#filter.value.toLowerCase();
    for (const [name, tool] of this.#tools) tool.element.hidden = !name.toLowerCase().includes(wanted);
  }

  #all(method) {
    return this.#rpc.call(`connectors.${method}`, { slug: this.#slug, tools: [...this.#tools.keys()] });
  }

  #edit() {
    const dialog = openEdit(this.#rpc, this.#status, (status) => this.update(status), (error) => this.#fail(error));
    dialog.addEventListener("close", () => {
      if (document.activeElement === document.body) (this.#title.isConnected ? this.#title : this.#after).focus();
    });
  }

  /** Moves what the user was shown, not what may have come since. */
  async #moveSecrets() {
    this.update(await this.#rpc.call("connectors.protect_env", { slug: this.#slug, names: this.#status.plaintext_secrets }));
  }

  async #remove() {
    const name = this.#status.name;
    const text = `“${name}” is disconnected, and its settings and secrets are deleted.`;
    if (await confirm("Remove this connector?", text, "Remove")) {
      await this.#rpc.call("connectors.remove", { slug: this.#slug });
    }
  }

  #do(button, act) {
    this.#failure.hidden = true;
    return busy(button, (error) => this.#fail(error), act);
  }

  #fail(error) {
    this.#failure.textContent = explain(error);
    this.#failure.hidden = false;
  }
}
