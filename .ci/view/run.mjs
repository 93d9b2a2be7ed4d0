// The view of images in Chromium: four images arrive one by one, a batch is cancelled, an image is varied and opened.
// usage: node run.mjs MODULES MCP_URL CHROMIUM SCREENSHOTS
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { createRequire } from 'node:module';

const [, , modules, server, executablePath, shots] = process.argv;
const require = createRequire(`${modules}/x.js`);
const { chromium } = require('playwright-core');
const here = new URL('.', import.meta.url).pathname;
const { outputFiles: [{ text: bundle }] } = await require('esbuild').build({
    entryPoints: [`${here}host.mjs`], bundle: true, write: false, format: 'esm', nodePaths: [modules], logLevel: 'error',
});

// What a view gets that declares no domains.
const CSP = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    + " media-src 'self' data:; connect-src 'none'; frame-src 'self'";

const listen = (handle) => new Promise((resolve) => {
    const listening = http.createServer(handle).listen(0, '127.0.0.1', () => resolve(listening));
});
const send = (reply, type, body, headers = {}) => reply.writeHead(200, { 'content-type': type, ...headers }).end(body);

const sandbox = await listen(async (request, reply) => {
    const policy = { 'content-security-policy': CSP };
    if (request.url === '/sandbox.mjs') return send(reply, 'text/javascript', await readFile(`${here}sandbox.mjs`), policy);
    send(reply, 'text/html', '<!doctype html><body style="margin:0;height:100vh"><script type="module" src="/sandbox.mjs"></script>', policy);
});
const host = await listen((request, reply) => {
    if (request.url.startsWith('/mcp')) {
        const { origin, host: _, ...headers } = request.headers;
        const passed = http.request(server, { method: request.method, headers }, (answer) => {
            reply.writeHead(answer.statusCode, answer.headers);
            answer.pipe(reply);
        });
        return request.pipe(passed);
    }
    if (request.url === '/host.mjs') return send(reply, 'text/javascript', bundle);
    const theme = new URL(request.url, 'http://localhost').searchParams.get('theme') ?? 'light';
    send(reply, 'text/html', `<!doctype html><meta charset="utf-8"><body style="margin:0"><script>
        window.SANDBOX = "http://127.0.0.1:${sandbox.address().port}/"; window.THEME = "${theme}";
        </script><script type="module" src="/host.mjs"></script>`);
});

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const complaints = [];

async function openHost(theme, viewport = { width: 760, height: 640 }) {
    const page = await browser.newPage({ viewport });
    page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });
    page.on('pageerror', (error) => complaints.push(String(error)));
    await page.goto(`http://localhost:${host.address().port}/?theme=${theme}`);
    await until(() => page.evaluate('window.isReady'));
    return page;
}

let view;

async function until(holds, milliseconds = 20000) {
    const end = Date.now() + milliseconds;
    while (!await holds()) {
        if (Date.now() > end) assert.fail(`not within ${milliseconds} ms: ${holds}\n${await view.locator('body').innerText()}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

// Starts a tool, and returns the frame of its view once that has been drawn.
async function start(page, tool, args) {
    page.evaluate(([name, given]) => window.start(name, given), [tool, args]).catch((error) => complaints.push(String(error)));
    await until(async () => {
        view = page.frames().find((frame) => frame.parentFrame()?.parentFrame());
        return view && await view.locator('section').count().catch(() => 0);
    });
}

const batch = { prompt: 'a lighthouse at dusk', model: 'gpt-image-2', quality: 'low', count: 4 };
const page = await openHost('light');
const tools = await page.evaluate('window.tools');
const forApp = tools.filter(({ visibility }) => visibility?.join() === 'app').map(({ name }) => name).sort();
assert.deepEqual(forApp, ['view_batch', 'view_image', 'view_tools']);

// Four images, one by one.
await start(page, 'start_image_batch', batch);
const arrived = [];
await until(async () => {
    const count = await view.locator('figure img').count();
    if (count !== arrived.at(-1)) arrived.push(count);
    return count === 4;
});
assert.deepEqual(arrived.filter(Boolean), [1, 2, 3, 4]);
await until(async () => (await view.locator('.state').first().textContent()).startsWith('4 of 4 images · '));
assert.equal(await view.locator('header button').first().isVisible(), false);
// Variations come in a section of their own, and the assistant hears of it.
await view.locator('figure').first().hover();
await view.getByRole('button', { name: 'Vary this image' }).first().click();
await until(async () => await view.locator('section').nth(1).locator('img').count() === 4);
await until(async () => (await page.evaluate('JSON.stringify(window.seenByModel)')).includes('create_variations'));

// What no configured model can do is not offered.
assert.equal(await view.getByRole('button', { name: 'Enhance this image' }).count(), 0);

// The whole image, closed by the keyboard.
await view.locator('button.image').first().click();
assert.ok(await view.locator('dialog img').isVisible());
await view.locator('dialog').press('Escape');
assert.equal(await view.locator('dialog img').isVisible(), false);

// An edit in words.
await view.locator('figure').nth(1).hover();
await view.getByRole('button', { name: 'Edit this image' }).nth(1).click();
await view.locator('.edit input').fill('snow on the rocks');
await view.locator('.edit input').press('Enter');
await until(async () => await view.locator('section').nth(2).locator('img').count() === 1);

// No image went to the model.
const seen = await page.evaluate('JSON.stringify(window.seenByModel)');
assert.ok(seen.length < 6000, `${seen.length} characters went to the model`);

// A batch is cancelled amid its images.
const dark = await openHost('dark', { width: 760, height: 460 });
await start(dark, 'start_image_batch', { ...batch, prompt: 'a fjord in winter', count: 10 });
await until(async () => await view.locator('figure img').count() >= 1);
await view.getByRole('button', { name: 'Cancel' }).click();
await until(async () => (await view.locator('.state').textContent()).includes('cancelled'));
assert.ok(await view.locator('figure img').count() < 10);

// What is wrong is one sentence.
const wrong = await openHost('light');
await start(wrong, 'generate_image', { prompt: 'x', model: 'dall-e-9' });
await until(async () => (await view.locator('.note').textContent().catch(() => '')).includes("'dall-e-9'"));

// A search is a gallery.
const gallery = await openHost('light');
await start(gallery, 'search_images', { query: 'lighthouse', limit: 8 });
await until(async () => await view.locator('figure img').count() >= 4);

// What a user sees, in both themes.
for (const theme of ['light', 'dark']) {
    const shown = await openHost(theme, { width: 760, height: 420 });
    await start(shown, 'start_image_batch', { prompt: 'a lighthouse at dusk', model: 'sketch', size: '1536x1536', count: 4 });
    await until(async () => await view.locator('figure img').count() === 3);
    await view.locator('figure').first().hover();
    await new Promise((resolve) => setTimeout(resolve, 200));
    await shown.screenshot({ path: `${shots}/view-${theme}.png` });
}

assert.deepEqual(complaints, []);
console.log(`view: images arrived ${arrived.join(', ')}; ${seen.length} characters went to the model`);
await browser.close();
host.close();
sandbox.close();
process.exit(0);
