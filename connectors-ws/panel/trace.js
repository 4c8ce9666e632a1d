// How a connector came to its state, step by step.

import { clock, el, showDialog, visible } from "./dom.js";

const MARKS = { passed: "✓", failed: "✗", skipped: "–" };

/** Shows the steps of a connector. */
export async function openTrace(rpc, slug) {
  const { status, steps } = await rpc.call("connectors.explain", { slug });
  const text = JSON.stringify({ status, steps }, null, 2);
  const copy = el("button", { type: "button" }, "Copy for a bug report");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
  });
  const dialog = showDialog(
    `How “${status.name}” came to its state`,
    steps.length > 0
      ? el("ol", { class: "trace", tabIndex: 0 }, ...steps.map(item))
      : el("p", { class: "muted" }, "Nothing has happened yet."),
    el("div", { class: "row" }, copy, el("button", { type: "button", onclick: () => dialog.close() }, "Close")),
  );
}

function item(step) {
  return el(
    "li",
    { class: step.outcome },
    el("span", { class: "row" }, el("strong", {}, `${MARKS[step.outcome] ?? ""} ${step.step.replaceAll("_", " ")}`), el("code", {}, step.code), el("span", { class: "muted" }, clock(step.at))),
    step.expected ? el("span", {}, `Expected: ${visible(step.expected)}`) : null,
    step.seen ? el("span", {}, `Seen: ${visible(step.seen)}`) : null,
    step.remedy ? el("span", { class: "remedy" }, step.remedy) : null,
  );
}
