// How a process joins the others: the Redis-streams adapter, with a stream long enough that no scenario trims it.
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient, createCluster } from "redis";

/** A connected client of `redis://host:port`, or of a cluster, of which some servers stand with commas between. */
export async function connect(url) {
  const urls = url.replace("redis://", "").split(",").map((server) => `redis://${server}`);
  const client = urls.length > 1 ? createCluster({ rootNodes: urls.map((each) => ({ url: each })) }) : createClient({ url });
  client.on("error", () => {}); // it connects again by itself
  await client.connect();
  return client;
}

export async function adapter(url) {
  const client = await connect(url);
  return { client, adapter: createAdapter(client, { streamName: "peer", maxLen: 1_000_000, onlyPlaintext: true }) };
}
