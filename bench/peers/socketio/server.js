// One node: `node server.js REDIS_URL PORT PING_MS`. Clients name their session and get what is emitted to its room.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { adapter } from "./adapter.js";

const [redisUrl, port, pingMs] = process.argv.slice(2);
const joined = await adapter(redisUrl);
const http = createServer();
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
});

process.on("SIGTERM", () => {
  // Disconnects the clients, which leaves their states in Redis, where the next node finds them.
  io.close(async () => {
    await joined.client.close();
    process.exit(0);
  });
});

http.listen(Number(port), "127.0.0.1", () => console.log(JSON.stringify({ ready: true })));
