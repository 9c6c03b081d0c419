// One node: `node server.js REDIS_URL PORT PING_MS`. Clients name their session and get what is emitted to its room; what
// they say is stored in Redis, in a list for each client, and then acknowledged. `GET /memory` tells its bytes.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { adapter } from "./adapter.js";

const [redisUrl, port, pingMs] = process.argv.slice(2);
const joined = await adapter(redisUrl);
const http = createServer((_, response) => response.end(JSON.stringify(memory())));
const io = new Server(http, {
  adapter: joined.adapter,
  transports: ["websocket"], // so that no request needs to find its node again
  pingInterval: Number(pingMs),
  pingTimeout: Number(pingMs),
  connectionStateRecovery: { maxDisconnectionDuration: 120_000, skipMiddlewares: true },
});

io.on("connection", (socket) => {
  if (!socket.recovered) socket.join(socket.handshake.auth.session);
  socket.on("ask", (answer) => answer()); // that this node answers says that the room is joined
  socket.on("say", async (name, number, acknowledge) => {
    try {
      await joined.client.rPush(name, String(number));
      acknowledge();
    } catch {} // the client says it again
  });
});

/** What the process has in RAM, and what waits in it for clients. With `--expose-gc` what nothing needs is freed first. */
function memory() {
  globalThis.gc?.();
  const held = Object.values(io.engine.clients).map(({ transport, writeBuffer }) =>
    writeBuffer.reduce((sum, { data }) => sum + (data?.length ?? 0), transport.socket.bufferedAmount),
  );
  return { resident: process.memoryUsage.rss(), held: held.reduce((sum, bytes) => sum + bytes, 0) };
}

process.on("SIGTERM", () => {
  // Disconnects the clients, which leaves their states in Redis, where the next node finds them.
  io.close(async () => {
    await joined.client.close();
    process.exit(0);
  });
});

http.listen(Number(port), "127.0.0.1", () => console.log(JSON.stringify({ ready: true })));
