// The list of live events.

import { counted, el } from "./dom.js";
import { stateName } from "./list.js";

const KEPT = 200;

/** One sentence for an event. */
function describe(event) {
  const at = event.slug ? `${event.slug}: ` : "";
  switch (event.kind) {
    case "state":
      if (event.removed) return `${at}removed`;
      return `${at}${stateName(event.state)}${event.error ? ` (${event.error})` : ""}`;
    case "catalogue":
      return `${at}${counted(event.tool_count, "tool")}, ${event.enabled_count} enabled`;
    case "sign_in":
      return `${at}sign-in ${event.wanted ? "wanted" : "done"}${event.scopes?.length > 0 ? `: ${event.scopes.join(", ")}` : ""}`;
    case "call_started":
      return `${at}call of ${event.tool} started`;
    case "call_refused":
      return `${at}call of ${event.tool} refused: ${event.reason}`;
    case "call_progress":
      return `${at}progress ${event.progress}${event.total ? ` of ${event.total}` : ""}${event.message ? `: ${event.message}` : ""}`;
    case "call_finished":
      return `${at}call of ${event.tool} finished: ${event.outcome}, ${event.duration_ms} ms`;
    case "log":
      return `${at}${event.level}: ${event.message}`;
    case "selection":
      return `${at}${["enabled", "disabled", "accepted"]
        .filter((what) => event[what]?.length > 0)
        .map((what) => `${what} ${event[what].join(", ")}`)
        .join("; ")}`;
    case "definition_changed":
      return `${at}changed definitions: ${event.tools.join(", ")}`;
    case "storage":
      return event.problem ? `settings: ${event.problem}` : "the settings can be used again";
    case "proposals_changed":
      return "the project’s team file proposes something else";
    case "approval_wanted":
      return `${at}waits for your decision`;
    case "protection_wanted":
      return `${at}has secrets in plain text: ${event.variables.join(", ")}; “Move to the secret store” protects them`;
    case "input_wanted":
      return `${at}asks: ${event.message}`;
    case "overflow":
      return `${event.lost} events were lost`;
    default:
      return `${at}${event.kind}`;
  }
}

export class EventList {
  #list;

  constructor(list, clear) {
    this.#list = list;
    clear.addEventListener("click", () => list.replaceChildren());
  }

  /** Shows an event, the newest on top. */
  add(event) {
    const time = new Date();
    this.#list.prepend(
      el("li", {}, el("time", { dateTime: time.toISOString() }, time.toLocaleTimeString()), describe(event)),
    );
    while (this.#list.childElementCount > KEPT) this.#list.lastElementChild.remove();
  }
}
