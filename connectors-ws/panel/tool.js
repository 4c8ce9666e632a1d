// One tool of a connector: its switch, its description, and a form to try it.

import { busy, el, field, replaceContent, visible } from "./dom.js";
import { explain } from "./rpc.js";
import { sample } from "./sample.js";

/** Longest result that is shown whole, in characters. */
const SHOWN = 200_000;

/** What the hints amount to; a missing hint counts as the riskier value. */
function hints({ readOnlyHint, destructiveHint, idempotentHint, openWorldHint }) {
  if (readOnlyHint === true) {
    return [["says: only reads", ""], ...(openWorldHint === false ? [] : [["open world", ""]])];
  }
  return [
    destructiveHint === false ? ["writes", "warn"] : ["may destroy", "bad"],
    ...(idempotentHint === true ? [["repeatable", ""]] : []),
    ...(openWorldHint === false ? [] : [["open world", ""]]),
  ];
}

export class Tool {
  #rpc;
  #slug;
  #changed;
  #view;
  #switch = el("input", { type: "checkbox", role: "switch", onchange: () => this.#toggle() });
  #title = el("h3", {});
  #canonical = el("p", { class: "canonical" });
  #badges = el("span", { class: "row" });
  #description = el("p", { class: "text" });
  #notes = el("div", { class: "stack" });
  #failure = el("p", { class: "notice bad", role: "alert", hidden: true });
  #definition = el("pre", { tabIndex: 0 });
  #arguments = el("textarea", { spellcheck: false });
  #progress = el("p", { class: "muted", role: "status" });
  #result = el("div", { class: "stack" });
  #run = el("button", { type: "button", class: "primary", onclick: () => this.#call() }, "Call");
  #cancel = el("button", { type: "button", hidden: true }, "Cancel");
  #callId = null;
  #trial;

  /** `changed()` is called after the user has changed something about the tool. */
  constructor(rpc, slug, view, changed) {
    this.#rpc = rpc;
    this.#slug = slug;
    this.#changed = changed;
    this.#trial = el(
      "details",
      {},
      el("summary", {}, "Try a call"),
      el(
        "div",
        { class: "stack" },
        field("Arguments (JSON)", this.#arguments),
        el("div", { class: "row" }, this.#run, this.#cancel, this.#progress),
        this.#result,
      ),
    );
    this.element = el(
      "li",
      { class: "card tool" },
      el("div", { class: "row spread" }, el("label", { class: "switch" }, this.#switch, this.#title), this.#badges),
      this.#canonical,
      this.#description,
      this.#notes,
      this.#failure,
      this.#trial,
      el("details", {}, el("summary", {}, "Definition, as the server sent it"), this.#definition),
    );
    this.#arguments.value = JSON.stringify(sample(view.definition?.inputSchema ?? {}) ?? {}, null, 2);
    this.update(view);
  }

  /** Shows a newer state of the tool; what the user has typed stays. */
  update(view) {
    this.#view = view;
    this.#switch.checked = view.enabled;
    this.#title.textContent = view.title ? `${view.title} (${view.name})` : view.name;
    this.#canonical.textContent = `The model sees it as ${view.canonical}`;
    this.#badges.replaceChildren(
      ...hints(view.annotations ?? {}).map(([text, look]) => el("span", { class: `badge ${look}` }, text)),
    );
    this.#description.textContent = view.description || "The server gives no description.";
    this.#definition.textContent = visible(JSON.stringify(view.definition, null, 2) ?? "");
    replaceContent(this.#notes, () => this.#notes.querySelector("button") ?? this.#switch, ...this.#noteList());
    this.#trial.hidden = !view.routed;
  }

  /** Shows what happened to a call of this tool's. */
  event(event) {
    if (event.call_id !== this.#callId || event.kind !== "call_progress") return;
    const total = event.total ? ` of ${event.total}` : "";
    this.#progress.textContent = `${event.progress}${total} ${event.message ?? ""}`;
  }

  #noteList() {
    const notes = [];
    if (this.#view.changed) {
      const accept = el("button", { type: "button" }, "Accept the change");
      accept.addEventListener("click", () => this.#ask(accept, "connectors.accept_changes"));
      notes.push(
        el(
          "div",
          { class: "notice row spread" },
          el("span", {}, "The definition is not the one that you enabled. The tool is withheld until you accept it."),
          accept,
        ),
      );
    }
    if (this.#view.withheld && !this.#view.changed) notes.push(el("p", { class: "notice" }, `Withheld: ${this.#view.withheld}`));
    return notes;
  }

  #fail(error) {
    this.#failure.textContent = explain(error);
    this.#failure.hidden = false;
  }

  #ask(control, method) {
    this.#failure.hidden = true;
    return busy(control, (error) => this.#fail(error), async () => {
      const answer = await this.#rpc.call(method, { slug: this.#slug, tools: [this.#view.name] });
      this.#changed();
      return answer;
    });
  }

  async #toggle() {
    const wanted = this.#switch.checked;
    const answer = await this.#ask(this.#switch, wanted ? "connectors.enable_tools" : "connectors.disable_tools");
    if (answer === undefined) this.#switch.checked = !wanted;
  }

  async #call() {
    this.#result.replaceChildren();
    let given;
    try {
      given = JSON.parse(this.#arguments.value || "{}");
    } catch (error) {
      this.#result.append(el("p", { class: "notice bad", role: "alert" }, `The arguments are not JSON: ${error.message}`));
      this.#arguments.focus();
      return;
    }
    const callId = crypto.randomUUID();
    this.#callId = callId;
    this.#progress.textContent = "calling…";
    this.#cancel.hidden = false;
    this.#cancel.onclick = () => this.#rpc.call("connectors.cancel", { call_id: callId }).catch((error) => this.#fail(error));
    const fail = (error) => this.#result.append(el("p", { class: "notice bad", role: "alert" }, explain(error)));
    await busy(this.#run, fail, async () => {
      const result = await this.#rpc.call("connectors.call_tool", {
        slug: this.#slug,
        tool: this.#view.name,
        arguments: given,
        call_id: callId,
      });
      this.#show(result);
    });
    this.#progress.textContent = "";
    this.#cancel.hidden = true;
    this.#callId = null;
  }

  #show({ call_id: _, duration_ms: duration, ...result }) {
    const look = result.isError ? "bad" : "good";
    const outcome = result.isError ? "The tool reports a failure" : "Done";
    const texts = (Array.isArray(result.content) ? result.content : [])
      .filter((block) => block?.type === "text" && typeof block.text === "string")
      .map((block) => block.text);
    this.#result.append(el("p", { class: `notice ${look}`, role: "status" }, `${outcome}, ${duration} ms`));
    if (texts.length > 0) this.#result.append(el("pre", { tabIndex: 0 }, cut(texts.join("\n"))));
    const whole = el("pre", { tabIndex: 0 }, cut(JSON.stringify(result, null, 2)));
    this.#result.append(el("details", { open: texts.length === 0 }, el("summary", {}, "Whole result"), whole));
  }
}

function cut(text) {
  if (text.length <= SHOWN) return visible(text);
  return `${visible(text.slice(0, SHOWN))}\n… ${text.length - SHOWN} more characters`;
}
