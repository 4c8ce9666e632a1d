// An MCP server on the TypeScript SDK behind `oidc-provider`, both on loopback.
//
// `node oidc_server.mjs legacy|modern [--ttl SECONDS] [--jwt] [--dpop] [--nonces]` prints one line of JSON when both
// listen: `{"issuer": ..., "mcp": ...}`. It has to lie beside the `node_modules` that it uses. See README.md.

import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { NodeStreamableHTTPServerTransport, toNodeHandler } from "@modelcontextprotocol/node";
import {
  McpServer,
  OAuthError,
  bearerAuthChallengeResponse,
  createMcpHandler,
  getOAuthProtectedResourceMetadataUrl,
  requireScopes,
  verifyBearerToken,
} from "@modelcontextprotocol/server";
import { EmbeddedJWK, calculateJwkThumbprint, createLocalJWKSet, jwtVerify } from "jose";
import { z } from "zod";

// Standard output is for the one line.
console.info = console.error;
console.warn = console.error;
const { default: Provider } = await import("oidc-provider");

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ttl: { type: "string", default: "3600" },
    jwt: { type: "boolean", default: false },
    dpop: { type: "boolean", default: false },
    nonces: { type: "boolean", default: false },
  },
});
const [era] = positionals;
if (era !== "legacy" && era !== "modern") throw new Error("the era is legacy or modern");

const BASIC = "mcp:basic";
const ADMIN = "mcp:admin";
const nonce = randomUUID();

// Listens on a free port; the handler comes when the URLs are known.
async function listen() {
  const server = createServer((request, response) => server.handler(request, response));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return [server, `http://127.0.0.1:${server.address().port}`];
}

const [authorizationServer, issuer] = await listen();
const [resourceServer, origin] = await listen();
const endpoint = new URL("/mcp", origin);
const metadataUrl = getOAuthProtectedResourceMetadataUrl(endpoint);

// ---------------------------------------------------------------- the authorization server

// Through PEM: Node 20 can deadlock when it exports a key as JWK while it collects the job that generated that same key.
const privateKeyEncoding = { type: "pkcs8", format: "pem" };
const publicKeyEncoding = { type: "spki", format: "pem" };
function privateJwk(alg, type, options) {
  const { privateKey } = generateKeyPairSync(type, { ...options, privateKeyEncoding, publicKeyEncoding });
  return { ...createPrivateKey(privateKey).export({ format: "jwk" }), alg, use: "sig", kid: alg };
}
const keys = [privateJwk("RS256", "rsa", { modulusLength: 2048 }), privateJwk("ES256", "ec", { namedCurve: "P-256" })];

const provider = new Provider(issuer, {
  jwks: { keys },
  cookies: { keys: [randomBytes(32).toString("hex")] },
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  expiresWithSession: () => false,
  issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
  ttl: {
    AccessToken: (_, token) => token.resourceServer?.accessTokenTTL ?? Number(options.ttl),
    ClientCredentials: Number(options.ttl),
    DeviceCode: 600,
    Grant: 86_400,
    Interaction: 600,
    RefreshToken: 86_400,
    Session: 86_400,
  },
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: true, initialAccessToken: false },
    revocation: { enabled: true },
    introspection: { enabled: true },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => options.nonces },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, indicator) => {
        if (indicator !== endpoint.href) throw new Provider.errors.InvalidTarget("this resource is not known");
        return {
          scope: `${BASIC} ${ADMIN}`,
          audience: indicator,
          accessTokenTTL: Number(options.ttl),
          accessTokenFormat: options.jwt ? "jwt" : "opaque",
          ...(options.jwt && { jwt: { sign: { alg: "ES256" } } }),
        };
      },
    },
  },
});
authorizationServer.handler = provider.callback();

// What happened so far, and what is alive.
const events = {};
const alive = { tokens: new Set(), clients: new Set(), grants: new Set() };
const dead = new Set();
const count = (name) => {
  events[name] = (events[name] ?? 0) + 1;
};
for (const name of [
  "access_token.issued",
  "access_token.saved",
  "authorization.success",
  "authorization.error",
  "grant.error",
  "grant.revoked",
  "grant.success",
  "refresh_token.consumed",
  "refresh_token.saved",
  "registration_create.success",
  "server_error",
]) {
  provider.on(name, () => count(name));
}
for (const name of ["access_token.saved", "access_token.issued"]) provider.on(name, ({ jti }) => alive.tokens.add(jti));
provider.on("grant.saved", ({ jti }) => alive.grants.add(jti));
provider.on("registration_create.success", (_, { clientId }) => alive.clients.add(clientId));
provider.on("grant.error", (_, error) => console.error("grant.error", error.message, error.error_detail ?? ""));
provider.on("server_error", (_, error) => console.error("server_error", error));

const controls = {
  // Every access token so far is no good from now on.
  "/expire": async () => alive.tokens.forEach((jti) => dead.add(jti)),
  // The user takes back every consent so far; refreshes are refused then.
  "/revoke": async () => {
    for (const id of alive.grants) await (await provider.Grant.find(id))?.destroy();
    alive.tokens.forEach((jti) => dead.add(jti));
  },
  // Every client that has registered is forgotten.
  "/forget": async () => {
    for (const id of alive.clients) await provider.Client.adapter.destroy(id);
  },
};

// ---------------------------------------------------------------- the tokens, as the MCP server sees them

const localKeys = createLocalJWKSet({ keys: keys.map(({ d, p, q, dp, dq, qi, ...publicJwk }) => publicJwk) });

async function claimsOf(token) {
  if (!options.jwt) {
    const found = await provider.AccessToken.find(token);
    return found && { ...found, client_id: found.clientId, sub: found.accountId, cnf: { jkt: found.jkt } };
  }
  const verified = await jwtVerify(token, localKeys, { issuer, typ: "at+jwt" }).catch(() => undefined);
  return verified?.payload;
}

async function verifyAccessToken(token) {
  const claims = await claimsOf(token);
  if (!claims || dead.has(claims.jti)) throw new OAuthError("invalid_token", "The token is not good any more");
  return {
    token,
    clientId: claims.client_id,
    scopes: (claims.scope ?? "").split(" ").filter(Boolean),
    expiresAt: claims.exp,
    resource: URL.parse([claims.aud].flat()[0]) ?? undefined,
    extra: { subject: claims.sub, thumbprint: claims.cnf?.jkt },
  };
}

class DpopError extends Error {}

const usedProofs = new Set();

// RFC 9449, section 4.3.
async function checkProof(request, token, thumbprint) {
  const proof = request.headers.dpop ?? "";
  const verified = await jwtVerify(proof, EmbeddedJWK, { typ: "dpop+jwt", maxTokenAge: 300, clockTolerance: 300 }).catch(() => undefined);
  if (!verified) throw new DpopError("invalid_dpop_proof");
  const { payload, protectedHeader } = verified;
  const ath = createHash("sha256").update(token).digest("base64url");
  const right =
    payload.htm === request.method &&
    payload.htu === endpoint.href &&
    payload.ath === ath &&
    !usedProofs.has(payload.jti) &&
    (await calculateJwkThumbprint(protectedHeader.jwk)) === thumbprint;
  if (!right) throw new DpopError("invalid_dpop_proof");
  if (options.nonces && payload.nonce !== nonce) throw new DpopError("use_dpop_nonce");
  usedProofs.add(payload.jti);
}

async function authenticate(request) {
  const authorization = request.headers.authorization ?? "";
  const scheme = authorization.split(" ")[0].toLowerCase();
  const auth = await verifyBearerToken(authorization.replace(/^dpop /i, "Bearer ") || undefined, {
    verifier: { verifyAccessToken },
    requiredScopes: [BASIC],
    resourceMetadataUrl: metadataUrl,
    expectedResource: endpoint,
  });
  const { thumbprint } = auth.extra;
  if ((thumbprint !== undefined || options.dpop) !== (scheme === "dpop")) {
    throw new OAuthError("invalid_token", "This is not the scheme of the token");
  }
  if (scheme === "dpop") await checkProof(request, auth.token, thumbprint);
  return auth;
}

async function refuse(error, response) {
  let answer;
  if (error instanceof DpopError) {
    const challenge = `DPoP algs="ES256", resource_metadata="${metadataUrl}", error="${error.message}"`;
    answer = Response.json({ error: error.message }, { status: 401, headers: { "www-authenticate": challenge } });
  } else {
    answer = bearerAuthChallengeResponse(error, { requiredScopes: [BASIC], resourceMetadataUrl: metadataUrl });
  }
  const headers = Object.fromEntries(answer.headers);
  if (options.dpop && headers["www-authenticate"]) {
    headers["www-authenticate"] = headers["www-authenticate"].replace(/^Bearer/, "DPoP");
  }
  if (options.nonces) headers["dpop-nonce"] = nonce;
  response.writeHead(answer.status, headers).end(await answer.text());
}

// ---------------------------------------------------------------- the MCP server

const text = (text) => ({ content: [{ type: "text", text: String(text) }] });

function create() {
  const server = new McpServer({ name: "oidc-interop", version: "1.0.0" }, { capabilities: { tools: {} } });
  server.registerTool("echo", { inputSchema: z.object({ message: z.string() }) }, ({ message }) => text(message));
  server.registerTool("whoami", {}, ({ http }) => {
    const { extra, scopes } = http.authInfo;
    return text(`${extra.subject} with ${scopes.join(" ")}`);
  });
  server.registerTool("administer", { scopeChallenge: requireScopes(ADMIN) }, () => text("administered"));
  return server;
}

// One instance for each session.
function legacyOverHttp() {
  const sessions = new Map();
  return async (request, response) => {
    const known = sessions.get(request.headers["mcp-session-id"]);
    if (known) return known.handleRequest(request, response);
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => sessions.set(id, transport),
    });
    transport.onclose = () => sessions.delete(transport.sessionId);
    await create().connect(transport);
    await transport.handleRequest(request, response);
  };
}

const serve = era === "modern" ? toNodeHandler(createMcpHandler(create, { legacy: "reject" })) : legacyOverHttp();
const sendJson = (response, status, body) =>
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));

resourceServer.handler = async (request, response) => {
  const { pathname, href } = new URL(request.url, origin);
  if (href === metadataUrl) {
    return sendJson(response, 200, {
      resource: endpoint.href,
      authorization_servers: [issuer],
      scopes_supported: [BASIC],
      bearer_methods_supported: ["header"],
      ...(options.dpop && { dpop_bound_access_tokens_required: true, dpop_signing_alg_values_supported: ["ES256"] }),
    });
  }
  if (pathname === "/events") return sendJson(response, 200, events);
  if (request.method === "POST" && controls[pathname]) {
    await controls[pathname]();
    return sendJson(response, 200, {});
  }
  if (pathname !== endpoint.pathname) return sendJson(response, 404, { error: "not_found" });
  try {
    request.auth = await authenticate(request);
  } catch (error) {
    count(`refused.${error.code ?? error.message}`);
    return refuse(error, response);
  }
  count("admitted");
  await serve(request, response);
};

console.log(JSON.stringify({ issuer, mcp: endpoint.href }));
