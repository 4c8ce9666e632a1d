// Where secrets are kept: what is said about it, unlocking a vault, moving them, and the vault's passphrase.

import { Failure, busy, confirm, el, field, replaceContent, showDialog } from "./dom.js";
import { explain } from "./rpc.js";

const NAMES = { keychain: "the keychain", vault: "an encrypted vault" };

export class Secrets {
  #rpc;
  #place;
  #locked = false;
  #hasPassphrase = false;
  #shown = "";
  #notice = el("p", { tabIndex: -1 });
  // These stay, with what they are about, whatever else is shown.
  #movers = new Map();
  #passphrase = el("button", { type: "button", class: "quiet", onclick: () => this.#passphraseDialog(this.#hasPassphrase) });
  #row = el("div", { class: "row" }, this.#notice);
  #failure = new Failure(() => this.#notice.focus());

  constructor(rpc, place) {
    this.#rpc = rpc;
    this.#place = place;
  }

  /** Reads how secrets are kept, and shows it. */
  async load() {
    try {
      this.#show(await this.#rpc.call("connectors.secrets"));
    } catch (error) {
      this.#shown = "";
      this.#fill("notice bad", explain(error), [], null);
    }
  }

  /** A connector that goes down may do so for want of its secrets, and one that comes up may have got them. */
  event(event) {
    if (event.kind === "state" && (event.state === "backoff" || this.#locked)) this.load();
  }

  #show(status) {
    this.#locked = status.locked;
    const shown = JSON.stringify(status);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const buttons = status.can_move_to.map((to) => this.#mover(to));
    this.#hasPassphrase = status.vault_key === "passphrase";
    this.#passphrase.textContent = this.#hasPassphrase ? "Change the passphrase" : "Set a passphrase";
    if (status.kind === "vault" && status.vault_key && !status.locked) buttons.push(this.#passphrase);
    // What the user is typing stays.
    const kept = this.#place.querySelector("form");
    const form = status.kind === "vault" && status.locked ? (kept ?? this.#unlock()) : null;
    // What is chosen, or waits for the user, is no error; where it is one, the connectors show it as that.
    this.#fill(status.warning || status.locked ? "notice" : "muted", status.notice, buttons, form);
  }

  #fill(look, text, buttons, form) {
    this.#notice.className = look;
    this.#notice.textContent = text;
    this.#place.hidden = false;
    const next = () => this.#notice;
    replaceContent(this.#row, next, this.#notice, ...buttons);
    replaceContent(this.#place, next, this.#row, ...(form ? [form] : []), this.#failure.element);
  }

  #unlock() {
    const passphrase = el("input", { type: "password", autocomplete: "off", required: true });
    const send = el("button", { type: "submit", class: "primary" }, "Unlock");
    const failure = el("p", { class: "notice bad", role: "alert", hidden: true });
    const unlock = (event) => {
      event.preventDefault();
      failure.hidden = true;
      const fail = (error) => {
        failure.textContent = explain(error);
        failure.hidden = false;
      };
      busy(send, fail, async () => {
        await this.#rpc.call("connectors.unlock_secrets", { passphrase: passphrase.value });
        passphrase.value = "";
        await this.load();
      });
    };
    const form = el("form", { class: "stack", onsubmit: unlock }, field("Passphrase of the vault", passphrase), el("div", { class: "row" }, send), failure);
    return form;
  }

  #mover(to) {
    const known = this.#movers.get(to);
    if (known) return known;
    const button = el("button", { type: "button", class: "quiet" }, `Move to ${NAMES[to]}`);
    button.addEventListener("click", async () => {
      const agreed = await confirm(
        "Move all secrets?",
        `Every secret is copied to ${NAMES[to]}, read back, and then deleted where it is now.`,
        "Move",
      );
      if (!agreed) return;
      this.#failure.clear();
      await busy(button, (error) => this.#failure.say(explain(error)), async () => {
        await this.#rpc.call("connectors.move_secrets", { to });
        await this.load();
      });
    });
    this.#movers.set(to, button);
    return button;
  }

  #passphraseDialog(has) {
    const first = el("input", { type: "password", autocomplete: "new-password", required: true });
    const again = el("input", { type: "password", autocomplete: "new-password", required: true });
    const failure = el("p", { class: "notice bad", role: "alert", hidden: true });
    const fail = (error) => {
      failure.textContent = explain(error);
      failure.hidden = false;
    };
    const set = (button, params) =>
      busy(button, fail, async () => {
        await this.#rpc.call("connectors.set_vault_passphrase", params);
        dialog.close();
        await this.load();
      });
    const send = el("button", { type: "submit", class: "primary" }, "Set");
    const remove = el("button", { type: "button", class: "danger" }, "Use the key file again");
    remove.addEventListener("click", () => set(remove, {}));
    const check = (event) => {
      event.preventDefault();
      failure.hidden = true;
      if (first.value === again.value) set(send, { passphrase: first.value });
      else fail(new Error("The two are not the same."));
    };
    const dialog = showDialog(
      has ? "Change the passphrase" : "Set a passphrase",
      el("p", {}, "The vault is encrypted anew. Whoever starts the daemon enters the passphrase here, or sets CONNECTORS_VAULT_PASSPHRASE. Nobody can restore a vault whose passphrase is lost."),
      el(
        "form",
        { class: "stack", onsubmit: check },
        field("New passphrase", first),
        field("The same again", again),
        failure,
        el("div", { class: "row" }, send, ...(has ? [remove] : []), el("button", { type: "button", onclick: () => dialog.close() }, "Cancel")),
      ),
    );
  }
}
