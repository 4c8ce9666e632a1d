// The page: what is selected, and what is read again when something happens.

import { openAddForm } from "./add.js";
import { Details } from "./details.js";
import { el, replaceContent } from "./dom.js";
import { EventList } from "./events.js";
import { openImport } from "./import.js";
import { showList, tick } from "./list.js";
import { Questions } from "./question.js";
import { Rpc, explain } from "./rpc.js";
import { Secrets } from "./secrets.js";
import { Proposals } from "./team.js";

/** Events come in bursts; what they change is read once for each. */
const BURST = 60;

const byId = (id) => document.getElementById(id);
const events = new EventList(byId("events"), byId("clear-events"));
let connectors = [];
let details = null;
let timer = null;
let toolsToo = false;

const rpc = new Rpc(
  (state, text) => {
    const link = byId("link");
    link.className = `link ${state}`;
    link.textContent = text;
    if (state === "up") {
      reload(true);
      secrets.load();
    }
  },
  (event) => {
    events.add(event);
    details?.event(event);
    questions.event(event);
    secrets.event(event);
    if (["state", "catalogue", "sign_in", "definition_changed", "approval_wanted", "protection_wanted", "proposals_changed", "storage", "overflow"].includes(event.kind)) {
      reload(!event.slug || event.slug === details?.slug);
    }
  },
);

const questions = new Questions(rpc);
const proposals = new Proposals(rpc, byId("proposals"), byId("list-title"), () => reload(true));
const secrets = new Secrets(rpc, byId("secrets"));

/** Reads the list again soon, and the tools of the selected connector if they may have changed. */
function reload(tools) {
  toolsToo ||= tools;
  timer ??= setTimeout(async () => {
    timer = null;
    const withTools = toolsToo;
    toolsToo = false;
    try {
      const answer = await rpc.call("connectors.list");
      show(answer.connectors, answer.storage_problem);
      proposals.show(answer.connectors, answer.problems ?? []);
      if (withTools) await details?.load();
    } catch (error) {
      problem(explain(error));
    }
  }, BURST);
}

function show(all, storageProblem) {
  const list = all.filter((status) => status.state !== "proposed");
  connectors = list;
  problem(storageProblem);
  byId("list-empty").hidden = list.length > 0;
  showList(byId("list"), list, details?.slug, select);
  if (!details) return;
  const status = list.find((other) => other.slug === details.slug);
  if (status) details.update(status);
  else leave();
}

function select(slug) {
  const status = connectors.find((other) => other.slug === slug);
  if (!status) return;
  details = new Details(rpc, byId("details"), slug, byId("list-title"));
  details.update(status);
  details.load();
  showList(byId("list"), connectors, slug, select);
  details.focus();
}

function leave() {
  details = null;
  replaceContent(byId("details"), () => byId("list-title"), el("p", { class: "muted" }, "Select a connector to see its tools."));
}

function problem(text) {
  byId("problem").textContent = text ?? "";
  byId("problem").hidden = !text;
}

byId("open-add").addEventListener("click", () =>
  openAddForm(rpc, (status) => {
    connectors = [...connectors.filter((other) => other.slug !== status.slug), status];
    select(status.slug);
    reload(true);
  }),
);
byId("open-import").addEventListener("click", () => openImport(rpc, () => reload(true)));
setInterval(tick, 1000);
