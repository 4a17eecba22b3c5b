// @fly/sprites as it is published: its network policy and URL cases. One line of JSON says what was seen.
import { SpritesClient } from '@fly/sprites';

const [baseURL, token, name, allowed, denied, port] = process.argv.slice(2);
const client = new SpritesClient(token, { baseURL });
const sprite = await client.createSprite(name);
const reaches = async (host) => {
  try {
    const { stdout } = await sprite.execFile('bash', ['-c', `exec 3<>/dev/tcp/${host}/${port} && head -n1 <&3`]);
    return String(stdout).trim();
  } catch (error) {
    return null;
  }
};
const why = async (call) => {
  try {
    await call();
    return null;
  } catch (error) {
    return error.message;
  }
};
const seen = {};
seen.before = await sprite.getNetworkPolicy();
const rules = [{ domain: allowed, action: 'allow' }, { domain: `*.${allowed}`, action: 'deny' }, { include: 'defaults' }];
await sprite.updateNetworkPolicy({ rules });
seen.set = await sprite.getNetworkPolicy();
seen.allowed = await reaches(allowed);
seen.denied = await reaches(denied);
seen.nonsense = await why(() => sprite.updateNetworkPolicy({ rules: [{ domain: 'a b', action: 'allow' }] }));
seen.kept = await sprite.getNetworkPolicy();
await sprite.updateNetworkPolicy({ rules: [{ domain: '*', action: 'deny' }] });
seen.closed = await reaches(allowed);
await sprite.updateNetworkPolicy({ rules: [] });
seen.open = await reaches(denied);
const url = (info) => ({ url: info.url, auth: (info.urlSettings ?? info.url_settings)?.auth });
seen.url = url(await client.getSprite(name));
await client.updateURLSettings(name, { auth: 'public' });
seen.published = url(await client.getSprite(name));
await client.updateURLSettings(name, { auth: 'sprite' });
seen.withdrawn = url(await client.getSprite(name));
await client.deleteSprite(name);
console.log(JSON.stringify(seen));
