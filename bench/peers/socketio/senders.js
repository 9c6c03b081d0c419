// Who says something: `node senders.js REDIS_URL URL COUNT TOGETHER PAUSE_MS SESSION …`, the clients dealt out to the
// sessions. Each says so many numbers in one go, and goes on a while after the last of them was acknowledged. The line
// `{"client": N, "after_ms": N}` waits until this one says something, and so much longer, and prints how many messages of
// all are not acknowledged; `{"within_ms": N}` ends it, and prints how many each said and had acknowledged, and what came
// of them: the numbers that the nodes stored.
import { EventEmitter, once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { connect } from "./adapter.js";
import { WAYS, say, until } from "./common.js";

const [redisUrl, url, count, together, pauseMs, ...sessions] = process.argv.slice(2);
const redis = await connect(redisUrl);
let over = false;

class Sender extends EventEmitter {
  constructor(number) {
    super();
    this.name = `client-${number}`;
    this.sent = 0;
    this.acknowledged = 0;
    const session = sessions[number % sessions.length];
    // Its documentation: at least once, and in order. The 10 s are those of its examples; it never gives a message up.
    this.socket = io(url, { auth: { session }, ...WAYS, retries: Infinity, ackTimeout: 10_000 });
  }

  get waiting() {
    return this.sent - this.acknowledged;
  }

  async run() {
    while (!over) {
      for (let i = 0; i < Number(together); i++) {
        this.socket.emit("say", this.name, this.sent, (error) => {
          if (!error) this.acknowledged += 1;
          if (!this.waiting) this.emit("silent");
        });
        this.sent += 1;
      }
      this.emit("speaks");
      await once(this, "silent");
      await sleep(Number(pauseMs));
    }
  }

  async report() {
    const effects = (await redis.lRange(this.name, 0, -1)).map(Number);
    return { sent: this.sent, acknowledged: this.acknowledged, effects };
  }
}

const senders = Array.from({ length: Number(count) }, (_, i) => new Sender(i));

createInterface({ input: process.stdin }).on("line", async (line) => {
  const asked = JSON.parse(line);
  if ("client" in asked) {
    const sender = senders[asked.client];
    if (!sender.waiting) await once(sender, "speaks");
    await sleep(asked.after_ms);
    say({ waiting: senders.reduce((sum, { waiting }) => sum + waiting, 0) });
  } else {
    over = true;
    await until(() => senders.every(({ waiting }) => !waiting), asked.within_ms);
    say({ senders: await Promise.all(senders.map((each) => each.report())) });
  }
});

for (const { name } of senders) await redis.del(name);
if (await until(() => senders.every(({ socket }) => socket.connected), 30_000)) {
  for (const sender of senders) sender.run();
  say({ ready: true });
}
