// @fly/sprites as it is published, over the rows of the clients' matrix. A line of JSON for each row says how it went.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { APIError, SpritesClient } from '@fly/sprites';

const [baseURL, token] = process.argv.slice(2);
const client = new SpritesClient(token, { baseURL, timeout: 120_000 });
const sprite = await client.createSprite('node-matrix');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const sha256 = (data) => createHash('sha256').update(data).digest('hex');
const sh = (script, options) => sprite.execFile('sh', ['-c', script], options);

const until = async (condition, what) => {
  for (const deadline = Date.now() + 120_000; Date.now() < deadline; await sleep(50)) {
    const found = await condition();
    if (found) return found;
  }
  throw new Error(`never: ${what}`);
};
const refused = async (call, check) => {
  try {
    await call();
  } catch (error) {
    check(error);
    return;
  }
  assert.fail('it was not refused');
};
// What a started command has said so far, and its exit code.
const follow = (command) => {
  const seen = { text: '', code: null };
  command.stdout.on('data', (data) => (seen.text += data));
  command.on('error', (error) => (seen.error = error));
  seen.ended = command.wait().then((code) => (seen.code = code));
  return seen;
};
const last = async (stream) => {
  let found = null;
  for await (const each of stream) found = each;
  return found;
};

const rows = {
  async sprites_are_created_got_updated_and_deleted() {
    const made = await client.createSprite('row', { labels: ['a'], urlSettings: { auth: 'public' } });
    assert.equal(made.name, 'row');
    const found = await client.getSprite('row');
    assert.deepEqual([found.id, found.labels, found.urlSettings.auth], [made.id, ['a'], 'public']);
    await client.updateSprite('row', { labels: ['b', 'c'] });
    await client.updateURLSettings('row', { auth: 'sprite' });
    const again = await client.getSprite('row');
    assert.deepEqual([again.labels, again.urlSettings.auth], [['b', 'c'], 'sprite']);
    assert.equal((await again.check()).spriteName, 'row');
    assert.equal((await again.restart()).spriteName, 'row');
    await client.upgradeSprite('row');
    await client.deleteSprite('row');
    await refused(() => client.getSprite('row'), (error) => assert.match(error.message, /not found/));
  },
  async lists_have_pages_and_prefixes() {
    const names = ['page-a', 'page-b', 'page-c'];
    for (const name of names) await client.createSprite(name);
    const first = await client.listSprites({ prefix: 'page-', maxResults: 2 });
    assert.deepEqual([first.sprites.map((each) => each.name), first.hasMore], [names.slice(0, 2), true]);
    const options = { prefix: 'page-', maxResults: 2, continuationToken: first.nextContinuationToken };
    const rest = await client.listSprites(options);
    assert.deepEqual([rest.sprites.map((each) => each.name), rest.hasMore], [names.slice(2), false]);
    assert.deepEqual((await client.listAllSprites('page-')).map((each) => each.name), names);
    for (const name of names) await client.deleteSprite(name);
  },
  async lists_are_watched() {
    const stream = await client.watchSprites({ prefix: 'watched' });
    const seen = [];
    const reading = (async () => {
      for await (const each of stream) if (each.name) seen.push(`${each.name} ${each.status}`);
    })();
    await client.createSprite('watched');
    await until(() => seen.includes('watched running'), 'it is told as running');
    await client.deleteSprite('watched');
    stream.close();
    await reading;
  },
  async refusals_are_the_clients_own_errors() {
    const status = (code) => (error) => assert.deepEqual([error instanceof APIError, error.statusCode], [true, code]);
    await refused(() => client.createSprite('node-matrix'), status(409));
    await refused(() => client.deleteSprite('nobody'), status(404));
    const stranger = new SpritesClient('acme/1/2/wrong', { baseURL });
    await refused(() => stranger.listSprites(), status(401));
    await refused(() => stranger.sprite('node-matrix').execFile('true'), (error) => assert.match(error.message, /WebSocket/));
  },
  async stdout_and_stderr_are_apart() {
    const done = await sh('echo out; echo err >&2');
    assert.deepEqual([done.exitCode, done.stdout, done.stderr], [0, 'out\n', 'err\n']);
  },
  async exit_codes_are_told() {
    for (const code of [1, 42, 255]) await refused(() => sh(`exit ${code}`), (error) => assert.equal(error.exitCode, code));
    assert.equal((await sprite.exec('echo words of a line')).stdout, 'words of a line\n');
  },
  async environment_and_directory_are_the_callers() {
    const done = await sh('echo "$A|$B"; pwd', { env: { A: '1 2', B: 'ü=&' }, cwd: '/tmp' });
    assert.equal(done.stdout, '1 2|ü=&\n/tmp\n');
  },
  async much_output_is_whole() {
    const script = `head -c ${50 << 20} /dev/zero | tr '\\0' x`;
    const done = await sh(script, { maxBuffer: 64 << 20 });
    assert.deepEqual([done.stdout.length, /^x+$/.test(done.stdout)], [50 << 20, true]);
  },
  async twenty_quick_commands_lose_nothing() {
    for (let n = 0; n < 20; n++) assert.equal((await sprite.execFile('echo', [`${n}`])).stdout, `${n}\n`);
  },
  async ten_commands_at_once() {
    const found = await Promise.all([...Array(10).keys()].map((n) => sh(`sleep 0.2; echo ${n}`)));
    assert.deepEqual(found.map((each) => each.stdout), [...Array(10).keys()].map((n) => `${n}\n`));
  },
  async seventy_silent_seconds() {
    assert.equal((await sh('sleep 70; echo after')).stdout, 'after\n');
  },
  async stdin_is_taken_to_its_end() {
    const data = Buffer.alloc(5 << 20, 'stdin ');
    const command = sprite.spawn('sha256sum');
    const seen = follow(command);
    await new Promise((resolve) => command.once('spawn', resolve));
    command.stdin.end(data);
    assert.deepEqual([await seen.ended, seen.text.split(' ')[0]], [0, sha256(data)]);
  },
  async a_terminal_has_its_size_from_the_beginning() {
    const seen = follow(sprite.spawn('stty', ['size'], { tty: true, rows: 30, cols: 100 }));
    assert.deepEqual([await seen.ended, seen.text], [0, '30 100\r\n']);
  },
  async a_terminal_is_resized() {
    const script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    const command = sprite.spawn('bash', ['-c', script], { tty: true, rows: 24, cols: 80 });
    const seen = follow(command);
    await until(() => seen.text.includes('ready'), 'the shell is ready');
    command.resize(132, 43);
    await seen.ended;
    assert.match(seen.text, /43 132/);
  },
  async a_terminal_tells_whether_it_failed() {
    assert.equal(await follow(sprite.spawn('true', [], { tty: true })).ended, 0);
    assert.notEqual(await follow(sprite.spawn('sh', ['-c', 'exit 7'], { tty: true })).ended, 0);
  },
  async ctrl_c_interrupts() {
    const command = sprite.spawn('bash', ['-c', "trap 'echo caught; exit 0' INT; echo ready; while :; do sleep 0.05; done"], { tty: true });
    const seen = follow(command);
    await until(() => seen.text.includes('ready'), 'the shell is ready');
    command.stdin.write('\x03');
    await seen.ended;
    assert.match(seen.text, /\^C[^]*caught/);
  },
  async signals_are_sent() {
    const command = sprite.spawn('sh', ['-c', "trap 'echo usr1; exit 3' USR1; echo ready; while :; do sleep 0.05; done"]);
    const seen = follow(command);
    await until(() => seen.text.includes('ready'), 'the shell is ready');
    command.signal('USR1');
    assert.deepEqual([await seen.ended, seen.text], [3, 'ready\nusr1\n']);
  },
  async a_session_is_left_listed_attached_to_and_killed() {
    const command = sprite.createSession('bash', ['-c', 'echo before; exec sleep 4711']);
    const seen = follow(command);
    await until(() => seen.text.includes('before'), 'it has begun');
    const session = (await sprite.listSessions()).find((each) => each.command.includes('4711'));
    assert.equal(session.tty, true);
    const again = follow(sprite.attachSession(session.id));
    await until(() => again.text.includes('before'), 'what was said before is told again');
    const story = [];
    for await (const each of await sprite.killSession(session.id, 'SIGTERM', '10s')) story.push(each);
    assert.deepEqual([story[0].type, story.at(-1).type, story.at(-1).exitCode], ['signal', 'complete', 143]);
    await again.ended;
    assert.ok(!(await sprite.listSessions()).some((each) => each.id === session.id));
  },
  async every_call_on_files() {
    const fs = sprite.filesystem('/home/sprite/files');
    const blob = Buffer.from([...Array(256).keys()]);
    await fs.writeFile('deep/a.bin', blob, { mode: 0o640 });
    assert.ok(blob.equals(await fs.readFile('deep/a.bin')));
    const about = await fs.stat('deep/a.bin');
    assert.deepEqual([about.size, about.mode, about.isFile(), about.mtime > new Date(0)], [256, 0o640, true, true]);
    await fs.writeFile('t.txt', 'grüße\n');
    await fs.appendFile('t.txt', 'more\n');
    assert.equal(await fs.readFile('t.txt', 'utf8'), 'grüße\nmore\n');
    await fs.writeJSON('o.json', { a: [1] });
    assert.deepEqual(await fs.readJSON('o.json'), { a: [1] });
    await fs.mkdir('sub/dir', { recursive: true });
    assert.deepEqual((await fs.readdir('.')).sort(), ['deep', 'o.json', 'sub', 't.txt']);
    const entries = await fs.readdir('.', { withFileTypes: true });
    assert.deepEqual(entries.filter((each) => each.isDirectory()).map((each) => each.name).sort(), ['deep', 'sub']);
    assert.ok((await fs.readdir('.', { recursive: true })).includes('a.bin'));
    await fs.copyFile('t.txt', 'u.txt');
    await fs.copyFile('deep', 'copied', { recursive: true });
    await fs.rename('u.txt', 'v.txt');
    await fs.chmod('v.txt', 0o755);
    await fs.chown('v.txt', { uid: 'root', gid: 0, asRoot: true });
    assert.equal((await sh('stat -c "%a %U %G" /home/sprite/files/v.txt')).stdout, '755 root root\n');
    assert.ok(blob.equals(await fs.readFile('copied/a.bin')));
    await fs.rm('v.txt', { asRoot: true });
    assert.deepEqual([await fs.exists('v.txt'), await fs.exists('t.txt')], [false, true]);
    await refused(() => fs.readFile('v.txt'), (error) => assert.equal(error.code, 'ENOENT'));
    await refused(() => fs.readFile('deep'), (error) => assert.equal(error.code, 'EISDIR'));
    await refused(() => fs.rm('deep'), (error) => assert.equal(error.code, 'ENOTEMPTY'));
    await fs.rm('/home/sprite/files', { recursive: true });
    await fs.rm('/home/sprite/files', { force: true });
  },
  async names_of_any_text() {
    const fs = sprite.filesystem('/home/sprite/names');
    const names = ['plain', 'with space', 'ünï-çødé-日本', 'percent%20and?query#hash', `quote'"and\\slash`, 'new\nline'];
    for (const name of names) await fs.writeFile(name, name);
    assert.deepEqual((await fs.readdir('.')).sort(), [...names].sort());
    for (const name of names) assert.equal(await fs.readFile(name, 'utf8'), name);
    await fs.rm('/home/sprite/names', { recursive: true });
  },
  async two_hundred_megabytes_both_ways() {
    const fs = sprite.filesystem('/home/sprite');
    const data = Buffer.alloc(200 << 20, 'large ');
    await fs.writeFile('large', data);
    assert.equal((await sh('sha256sum /home/sprite/large')).stdout.split(' ')[0], sha256(data));
    assert.equal(sha256(await fs.readFile('large')), sha256(data));
    await fs.rm('large');
  },
  async files_are_watched() {
    const fs = sprite.filesystem('/home/sprite');
    await fs.mkdir('seen', { recursive: true });
    const watcher = await fs.watch('seen', { recursive: true });
    const seen = [];
    const reading = (async () => {
      for await (const each of watcher) seen.push(each.type === 'event' ? `${each.event} ${each.path}` : each.type);
    })();
    await until(() => seen.includes('subscribed'), 'it is subscribed');
    await sh('mkdir -p seen/new && echo x >seen/new/file');
    await until(() => seen.some((each) => /^(create|write) .*seen\/new\/file$/.test(each)), 'the file is told');
    await sh('rm seen/new/file');
    await until(() => seen.some((each) => /^remove .*seen\/new\/file$/.test(each)), 'its end is told');
    watcher.close();
    await reading;
  },
  async checkpoints_are_created_listed_got_and_restored() {
    const fs = sprite.filesystem('/home/sprite');
    await fs.writeFile('keep', 'precious');
    assert.equal((await last(await sprite.createCheckpoint('of node'))).type, 'complete');
    const point = (await sprite.listCheckpoints()).find((each) => each.comment === 'of node');
    const got = await sprite.getCheckpoint(point.id);
    assert.deepEqual([got.id, got.createTime], [point.id, point.createTime]);
    await fs.writeFile('keep', 'damaged');
    assert.equal((await last(await sprite.restoreCheckpoint(point.id))).type, 'complete');
    assert.equal(await fs.readFile('keep', 'utf8'), 'precious');
    await refused(() => sprite.getCheckpoint('v4711'), (error) => assert.match(error.message, /404|not found/));
    await refused(() => sprite.restoreCheckpoint('v4711'), (error) => assert.match(error.message, /404|not found/));
  },
  async a_services_whole_life() {
    const script = "trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done";
    const status = async () => (await sprite.getService('web')).state.status;
    const events = [];
    for await (const each of await sprite.createService('web', { cmd: 'sh', args: ['-c', script], httpPort: 9000 }, '1s')) events.push(each);
    assert.equal(events.at(-1).type, 'complete');
    const logged = async (word) => {
      const said = [];
      for await (const each of await sprite.getServiceLogs('web', { lines: 100, duration: '0s' })) said.push(each.data ?? '');
      return said.join('').includes(word);
    };
    await until(() => logged('up'), 'its log has what it says');
    assert.deepEqual((await sprite.listServices()).map((each) => each.name), ['web']);
    await until(async () => (await status()) === 'running', 'it runs');
    await sprite.signalService('web', 'SIGUSR1');
    await until(() => logged('usr1'), 'its log has what it said to the signal');
    await last(await sprite.stopService('web', '5s'));
    assert.equal(await status(), 'stopped');
    await last(await sprite.startService('web', '0.5s'));
    await last(await sprite.restartService('web', '0.5s'));
    await until(async () => (await status()) === 'running', 'it runs again');
    const other = () => sprite.createService('other', { cmd: 'sleep', args: ['1'], httpPort: 9001 });
    await refused(other, (error) => assert.match(error.message, /another service already has an HTTP port/));
    await refused(() => sprite.signalService('web', 'SIGNONSENSE'), (error) => assert.match(error.message, /400|signal/i));
    await sprite.deleteService('web');
    await refused(() => sprite.getService('web'), (error) => assert.match(error.message, /404|not found/));
  },
  async the_resources_policy_is_set_told_and_taken_back() {
    await sprite.updateResourcesPolicy({ memory: { limitMB: 768 } });
    assert.equal((await sprite.getResourcesPolicy()).memory.limitMB, 768);
    await sprite.deleteResourcesPolicy();
  },
  async ports_are_watched_and_reached_by_a_proxy() {
    const watcher = await sprite.watchPorts();
    const seen = [];
    const reading = (async () => {
      for await (const each of watcher) seen.push(each);
    })();
    await until(() => seen.some((each) => each.type === 'port_list'), 'it says what is open');
    const script = 'import socket\ns = socket.create_server(("127.0.0.1", 7321))\nwhile True:\n c, _ = s.accept()\n while d := c.recv(65536): c.sendall(d)\n c.close()';
    const server = sprite.spawn('python3', ['-c', script]);
    const serving = follow(server);
    await until(() => seen.some((each) => each.type === 'port_opened' && each.port === 7321), 'the port is told');
    const proxy = await sprite.proxyPort(0, 7321);
    const port = proxy.server?.address().port ?? Number(proxy.localAddr().split(':').at(-1));
    const data = Buffer.alloc(1 << 20, 'echo ');
    for (let n = 0; n < 10; n++) {
      const back = await new Promise((resolve, reject) => {
        const parts = [];
        let size = 0;
        const socket = connect(port, 'localhost', () => socket.write(data));
        socket.on('data', (part) => {
          parts.push(part);
          if ((size += part.length) === data.length) socket.end(), resolve(Buffer.concat(parts));
        });
        socket.on('error', reject);
      });
      assert.ok(data.equals(back));
    }
    proxy.close();
    server.kill('SIGKILL');
    await serving.ended;
    await until(() => seen.some((each) => each.type === 'port_closed' && each.port === 7321), 'its end is told');
    watcher.close();
    await reading;
  },
  async commands_without_a_websocket() {
    const done = await sprite.execFileHTTP('sh', ['-c', 'cat; echo err >&2; exit 0'], { input: 'in' });
    assert.deepEqual([done.exitCode, done.stdout, done.stderr], [0, 'in', 'err\n']);
    await refused(() => sprite.execFileHTTP('sh', ['-c', 'exit 42']), (error) => assert.equal(error.exitCode, 42));
  },
  async a_cold_sprite_is_woken_within_the_upgrade() {
    const headers = { Authorization: `Bearer ${token}` };
    assert.ok((await fetch(`${baseURL}/v1/sprites/node-matrix/stop`, { method: 'POST', headers })).ok);
    assert.equal((await client.getSprite('node-matrix')).status, 'cold');
    assert.equal((await sprite.execFile('echo', ['awake'])).stdout, 'awake\n');
  },
  async control_mode_falls_back() {
    const control = new SpritesClient(token, { baseURL, controlMode: true });
    assert.equal((await control.sprite('node-matrix').execFile('echo', ['direct'])).stdout, 'direct\n');
  },
};

const wanted = process.argv.slice(4);
for (const [row, ask] of Object.entries(rows).filter(([row]) => !wanted.length || wanted.includes(row))) {
  const began = performance.now();
  const why = await ask().then(() => null, (error) => error.stack ?? String(error));
  console.log(JSON.stringify({ row, why, seconds: (performance.now() - began) / 1000 }));
}
await client.deleteSprite('node-matrix');
process.exit(0);
