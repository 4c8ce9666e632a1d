// A small MCP server: `node mcp_server.mjs ...` over stdio, and `listen` over HTTP. It says which variables it was given, and of
// their values no more than the length. Its arguments mean nothing to it, but go with its start to the file TEST_STARTS.

import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const VARIABLES = {
  name: "variables",
  description: "Which variables there are, and how long their values are.",
  inputSchema: { type: "object" },
  annotations: { readOnlyHint: true, openWorldHint: false },
};

/** The reply to a message, or undefined where there is none. */
function reply({ id, method, params }) {
  if (id === undefined) return undefined;
  const result = (result) => ({ jsonrpc: "2.0", id, result });
  switch (method) {
    case "initialize":
      return result({
        protocolVersion: params.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: "browser-test", version: "1.0.0" },
      });
    case "ping":
      return result({});
    case "tools/list":
      return result({ tools: [VARIABLES] });
    case "tools/call": {
      const names = Object.keys(process.env).filter((name) => name.startsWith("TEST_")).sort();
      const lines = names.map((name) => `${name} has ${process.env[name].length} characters`);
      return result({ content: [{ type: "text", text: lines.join("\n") || "none" }] });
    }
    default:
      return { jsonrpc: "2.0", id, error: { code: -32601, message: "Method not found" } };
  }
}

/** Listens on a port of its own; `requests` are the requests that have come. */
export async function listen() {
  const requests = [];
  const server = createServer(async (request, response) => {
    requests.push({ method: request.method, headers: request.headers });
    if (request.method !== "POST") return response.writeHead(405).end();
    const parts = [];
    for await (const part of request) parts.push(part);
    const answer = reply(JSON.parse(Buffer.concat(parts)));
    if (answer === undefined) return response.writeHead(202).end();
    return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/mcp`, requests, close: () => server.close().closeAllConnections() };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // For whoever wants to know that nobody has started it, or with what.
  if (process.env.TEST_STARTS) appendFileSync(process.env.TEST_STARTS, `${JSON.stringify(process.argv.slice(2))}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = reply(JSON.parse(line));
    if (answer !== undefined) process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}
