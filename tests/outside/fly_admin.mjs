// npm's fly-admin, unmodified: an app's life. Its createClient() drops where the API is; its Client takes it.
// node fly_admin.mjs URL TOKEN IMAGE
import { createRequire } from "node:module";

const { default: Client } = createRequire(import.meta.url)("fly-admin/dist/client");
const [url, token, image] = process.argv.slice(2);
const fly = new Client(token, { apiUrl: url, graphqlUrl: url });
const app_name = "administered";
const seen = {};

await fly.App.createApp({ app_name, org_slug: "personal" });
const volume = await fly.Volume.createVolume({ app_name, name: "data", region: "local", size_gb: 1 });
const config = {
  image,
  guest: { cpu_kind: "shared", cpus: 1, memory_mb: 256 },
  mounts: [{ volume: volume.id, path: "/data" }],
  services: [{ protocol: "tcp", internal_port: 8000, ports: [{ port: 80, handlers: ["http"] }] }],
};
const made = await fly.Machine.createMachine({ app_name, name: "one", config });
const machine = { app_name, machine_id: made.id };
seen.waited = await fly.Machine.waitMachine({ ...machine, instance_id: made.instance_id, state: "started", timeout: "60" });
seen.listed = (await fly.Machine.listMachines(app_name)).map((each) => [each.id === made.id, each.state]);
seen.processes = (await fly.Machine.listProcesses(machine)).length > 0;
const lease = await fly.Machine.acquireLease({ ...machine, ttl: 300 });
seen.lease = lease.status;
seen.held = await fly.Machine.stopMachine(machine).catch((error) => String(error.message));
// It has no call that gives a lease back.
const headers = { Authorization: `Bearer ${token}`, "fly-machine-lease-nonce": lease.data.nonce };
await fetch(`${url}/v1/apps/${app_name}/machines/${made.id}/lease`, { method: "DELETE", headers });
seen.stopped = await fly.Machine.stopMachine(machine);
await fly.Machine.waitMachine({ ...machine, instance_id: made.instance_id, state: "stopped", timeout: "60" });
seen.started = await fly.Machine.startMachine(machine);
await fly.Machine.waitMachine({ ...machine, state: "started", timeout: "60" });
seen.events = (await fly.Machine.listEvents(machine)).map((each) => each.type);
seen.volumes = (await fly.Volume.listVolumes(app_name)).map((each) => [each.id === volume.id, each.attached_machine_id === made.id]);
seen.deleted = await fly.Machine.deleteMachine({ ...machine, force: true });
await fly.Volume.deleteVolume({ app_name, volume_id: volume.id });
await fly.App.deleteApp(app_name);
console.log(JSON.stringify(seen));
