// One workflow through an official TypeScript client: tools, a batch pulled to its end, and an image read.
// usage: node workflow.mjs MODULES v1|v2 URL, or ... v1|v2 COMMAND [IMAGEN_HOME]
import assert from 'node:assert/strict';
import { pathToFileURL } from 'node:url';

const [, , modules, major, target, home] = process.argv;
const load = (path) => import(pathToFileURL(`${modules}/@modelcontextprotocol/${path}`));

async function openTransport() {
    if (target.startsWith('http')) {
        const { StreamableHTTPClientTransport } = await load(
            major === 'v2' ? 'client/dist/index.mjs' : 'sdk/dist/esm/client/streamableHttp.js');
        return new StreamableHTTPClientTransport(new URL(target));
    }
    const { StdioClientTransport } = await load(
        major === 'v2' ? 'client/dist/stdio.mjs' : 'sdk/dist/esm/client/stdio.js');
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, IMAGEN_HOME: home };
    return new StdioClientTransport({ command: target, args: [], env, stderr: 'inherit' });
}

async function pullAll(client, count) {
    const indexes = [];
    let reply = await client.callTool({
        name: 'start_image_batch',
        arguments: { prompt: 'a boat', model: 'sketch', size: '64x64', count },
    });
    while (true) {
        assert.ok(!reply.isError, reply.content[0].text);
        const { image, session_id } = reply.structuredContent;
        if (!image) return indexes;
        indexes.push(image.index);
        if (indexes.length === count) return indexes;
        reply = await client.callTool({
            name: 'get_next_image', arguments: { session_id, after: image.index },
        });
    }
}

const { Client } = await load(major === 'v2' ? 'client/dist/index.mjs' : 'sdk/dist/esm/client/index.js');
const options = major === 'v2' ? { versionNegotiation: { mode: 'auto' } } : {};
const client = new Client({ name: 'workflow', version: '1' }, options);
await client.connect(await openTransport());
const { tools } = await client.listTools();
assert.ok(tools.some((tool) => tool.name === 'generate_image'));
assert.deepEqual(await pullAll(client, 4), [0, 1, 2, 3]);
const made = await client.callTool({
    name: 'generate_image', arguments: { prompt: 'a lighthouse', model: 'sketch', size: '64x64' },
});
const { contents: [whole] } = await client.readResource({ uri: made.structuredContent.image.uri });
assert.equal(whole.mimeType, 'image/png');
assert.equal(Buffer.from(whole.blob, 'base64').subarray(1, 4).toString(), 'PNG');
const refused = await client.callTool({ name: 'generate_image', arguments: { prompt: 'x', n: 2 } });
assert.ok(refused.isError);
await client.close();
console.log(`${major} ${target.startsWith('http') ? 'http' : 'stdio'}: ${tools.length} tools, 5 images, 1 read`);
process.exit(0);
