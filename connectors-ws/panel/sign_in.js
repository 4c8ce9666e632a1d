// Signing in: in this browser, on another device, or with a browser that cannot reach the daemon.

import { busy, el, field, showDialog } from "./dom.js";
import { explain } from "./rpc.js";

const isPage = (url) => ["https:", "http:"].includes(new URL(url).protocol);

/** The dialog of one sign-in. It closes itself once the connector is signed in. */
export class SignIn {
  #rpc;
  #slug;
  #stage = el("div", { class: "stack" });
  #failure = el("p", { class: "notice bad", role: "alert", hidden: true });
  #dialog;

  constructor(rpc, status, closed) {
    this.#rpc = rpc;
    this.#slug = status.slug;
    this.#dialog = showDialog(
      `Sign in to “${status.name}”`,
      this.#stage,
      this.#failure,
      this.#byHand(),
      el("div", { class: "row" }, el("button", { type: "button", onclick: () => this.close() }, "Close")),
    );
    this.#dialog.addEventListener("close", closed);
    this.#begin({});
  }

  get slug() {
    return this.#slug;
  }

  close() {
    this.#dialog.close();
  }

  async #begin(options, button) {
    this.#failure.hidden = true;
    this.#stage.replaceChildren(el("p", { class: "muted" }, "Asking the server how to sign in…"));
    const work = async () => this.#show(await this.#rpc.call("connectors.sign_in", { slug: this.#slug, ...options }));
    const fail = (error) => {
      this.#stage.replaceChildren(this.#again());
      this.#fail(error);
    };
    if (button) await busy(button, fail, work);
    else await work().catch(fail);
  }

  #again() {
    const button = el("button", { type: "button" }, "Try again");
    button.addEventListener("click", () => this.#begin({}, button));
    return el("div", { class: "row" }, button, this.#elsewhere());
  }

  #elsewhere() {
    const button = el("button", { type: "button", class: "quiet" }, "Use a code on another device");
    button.addEventListener("click", () => this.#begin({ device: true }, button));
    return button;
  }

  #show(view) {
    if (!view.authorize_url) {
      this.close();
      return;
    }
    const scopes = (view.scopes ?? []).length > 0 ? el("p", {}, "It will ask you to allow: ", el("strong", {}, view.scopes.join(", "))) : null;
    const link = isPage(view.authorize_url)
      ? el("a", { class: "button primary", href: view.authorize_url, target: "_blank", rel: "noopener noreferrer" }, "Open the sign-in page")
      : null;
    const to = el("p", {}, "You will sign in at ", el("strong", {}, new URL(view.authorize_url).host), ".");
    if (view.user_code) {
      this.#stage.replaceChildren(
        to,
        ...(scopes ? [scopes] : []),
        el("p", {}, "On any device, open ", el("code", {}, view.authorize_url), " and enter this code:"),
        el("p", { class: "code" }, view.user_code),
        ...(link ? [el("div", { class: "row" }, link)] : []),
      );
      return;
    }
    this.#stage.replaceChildren(
      to,
      ...(scopes ? [scopes] : []),
      el("div", { class: "row" }, ...(link ? [link] : []), this.#elsewhere()),
      this.#pasted(view),
    );
  }

  /** For a browser on another machine: it ends at an address that it cannot open, which is pasted here. */
  #pasted(view) {
    const address = el("input", { type: "url", autocomplete: "off", spellcheck: false, placeholder: view.redirect_uri ?? "" });
    const send = el("button", { type: "submit" }, "Complete");
    const complete = (event) => {
      event.preventDefault();
      this.#failure.hidden = true;
      busy(send, (error) => this.#fail(error), async () => {
        await this.#rpc.call("connectors.complete_authentication", { callback_url: address.value.trim() });
        this.close();
      });
    };
    return el(
      "details",
      {},
      el("summary", {}, "The browser is on another machine?"),
      el("p", { class: "muted" }, "Open the page there. At the end its browser shows an address that it cannot reach: copy it here."),
      el("form", { class: "stack", onsubmit: complete }, field("Address that the sign-in ended at", address), el("div", { class: "row" }, send)),
    );
  }

  /** For a server that lets no client register itself. */
  #byHand() {
    const id = el("input", { autocomplete: "off", spellcheck: false, required: true });
    const secret = el("input", { type: "password", autocomplete: "off" });
    const send = el("button", { type: "submit" }, "Sign in with this client");
    const begin = (event) => {
      event.preventDefault();
      this.#begin({ client_id: id.value.trim(), ...(secret.value ? { client_secret: secret.value } : {}) }, send);
    };
    return el(
      "details",
      {},
      el("summary", {}, "Use a client that you have registered"),
      el("p", { class: "muted" }, "Register this redirect URI with the server:"),
      el("pre", { tabIndex: 0 }, `http://127.0.0.1:${location.port || "80"}/oauth/callback/${this.#slug}`),
      el(
        "form",
        { class: "stack", onsubmit: begin },
        field("Client ID", id),
        field("Client secret (if there is one)", secret),
        el("div", { class: "row" }, send),
      ),
    );
  }

  #fail(error) {
    this.#failure.textContent = explain(error);
    this.#failure.hidden = false;
  }
}
