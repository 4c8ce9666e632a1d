// A server on the TypeScript SDK, with what every server of the interop tests offers (see README.md).
//
// `node typescript_server.mjs legacy|modern [PORT]`: over stdio, or with a port over Streamable HTTP at `/mcp`. It has to
// lie beside the `node_modules` that it uses.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { NodeStreamableHTTPServerTransport, toNodeHandler } from "@modelcontextprotocol/node";
import {
  McpServer,
  ResourceTemplate,
  completable,
  createMcpHandler,
  inputRequired,
  inputResponse,
} from "@modelcontextprotocol/server";
import { StdioServerTransport, serveStdio } from "@modelcontextprotocol/server/stdio";
import { z } from "zod";

const NOTE = "note://today";
const DAYS = ["monday", "saturday", "sunday"];
const NAMES = ["Ada", "Alan", "Grace"];

// What all instances share: the modern era has one for each request.
const state = { grown: false, touched: 0, cancelled: 0 };
// The legacy instances that are connected.
const connected = new Set();
// The publisher of the modern era.
let notify;

const text = (text) => ({ content: [{ type: "text", text: String(text) }] });
const contents = (uri, text) => ({ contents: [{ uri: String(uri), mimeType: "text/plain", text }] });
const report = async ({ mcpReq }, progress) => {
  const progressToken = mcpReq._meta?.progressToken;
  if (progressToken === undefined) return;
  await mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress } });
};
const startingWith = (value, all) => all.filter((item) => item.startsWith(value));

function create() {
  const server = new McpServer(
    { name: "typescript-interop", version: "1.0.0" },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        completions: {},
      },
    },
  );
  tools(server);
  resources(server);
  prompts(server);
  if (state.grown) grow(server);
  // Its one client may hear of everything.
  server.server.setRequestHandler("resources/subscribe", () => ({}));
  server.server.setRequestHandler("resources/unsubscribe", () => ({}));
  return server;
}

function tools(server) {
  const number = z.number().int();
  server.registerTool("echo", { inputSchema: z.object({ message: z.string() }) }, ({ message }) => text(message));
  server.registerTool("add", { inputSchema: z.object({ a: number, b: number }) }, ({ a, b }) => text(a + b));
  server.registerTool("fail", {}, () => ({ ...text("it did not work"), isError: true }));
  server.registerTool("count", { inputSchema: z.object({ steps: number }) }, async ({ steps }, context) => {
    for (let step = 1; step <= steps; step++) await report(context, step);
    return text(`counted to ${steps}`);
  });
  server.registerTool("wait", {}, async (context) => {
    await report(context, 1);
    await new Promise((done) => context.mcpReq.signal.addEventListener("abort", done));
    state.cancelled += 1;
    return text("cancelled");
  });
  server.registerTool("cancellations", {}, () => text(state.cancelled));
  // Written once: the SDK turns it into a request of the server's own in the legacy era.
  server.registerTool("ask", {}, (context) => {
    const answer = inputResponse(context.mcpReq.inputResponses, "who");
    if (answer.kind === "elicit") {
      return text(answer.action === "accept" ? `${answer.content.name} is ${answer.content.age}` : answer.action);
    }
    const requestedSchema = {
      type: "object",
      properties: { name: { type: "string" }, age: { type: "integer", default: 42 } },
      required: ["name"],
    };
    const who = inputRequired.elicit({ message: "Who are you?", requestedSchema });
    return inputRequired({ inputRequests: { who }, requestState: "asked" });
  });
  server.registerTool("grow", {}, () => {
    state.grown = true;
    connected.forEach(grow);
    notify?.toolsChanged();
    notify?.promptsChanged();
    notify?.resourcesChanged();
    return text("grown");
  });
  server.registerTool("touch", {}, async () => {
    state.touched += 1;
    notify?.resourceUpdated(NOTE);
    for (const { server } of connected) await server.sendResourceUpdated({ uri: NOTE });
    return text("touched");
  });
}

function resources(server) {
  const mimeType = "text/plain";
  server.registerResource("today", NOTE, { mimeType }, (uri) => contents(uri, `touched ${state.touched} times`));
  const day = new ResourceTemplate("note://days/{day}", {
    list: undefined,
    complete: { day: (value) => startingWith(value, DAYS) },
  });
  server.registerResource("day", day, { mimeType }, (uri, { day }) => contents(uri, `nothing on ${day}`));
}

function prompts(server) {
  const name = completable(z.string(), (value) => startingWith(value, NAMES));
  server.registerPrompt("greet", { argsSchema: z.object({ name }) }, ({ name }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Say hello to ${name}.` } }],
  }));
}

// Adds one of each; a connected instance announces it by itself.
function grow(server) {
  server.registerTool("grown", {}, () => text("I am new"));
  server.registerResource("grown", "note://grown", {}, (uri) => contents(uri, "I am new"));
  server.registerPrompt("grown", {}, () => ({ messages: [] }));
}

// One instance for each session.
function legacyOverHttp() {
  const sessions = new Map();
  return async (request, response) => {
    const known = sessions.get(request.headers["mcp-session-id"]);
    if (known) return known.handleRequest(request, response);
    const server = create();
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => {
        sessions.set(id, transport);
        connected.add(server);
      },
    });
    transport.onclose = () => {
      sessions.delete(transport.sessionId);
      connected.delete(server);
    };
    await server.connect(transport);
    await transport.handleRequest(request, response);
  };
}

function modernOverHttp() {
  const handler = createMcpHandler(create, { legacy: "reject" });
  notify = handler.notify;
  return toNodeHandler(handler);
}

async function overStdio(modern) {
  if (modern) {
    const pinned = () => {
      const server = create();
      connected.add(server);
      return server;
    };
    serveStdio(pinned, { legacy: "reject" });
  } else {
    const server = create();
    connected.add(server);
    await server.connect(new StdioServerTransport());
  }
}

const [era, port] = process.argv.slice(2);
if (era !== "legacy" && era !== "modern") throw new Error("the era is legacy or modern");
if (port === undefined) {
  await overStdio(era === "modern");
} else {
  const serve = era === "modern" ? modernOverHttp() : legacyOverHttp();
  createServer((request, response) => void serve(request, response)).listen(Number(port), "127.0.0.1");
}
