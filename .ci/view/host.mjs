// A host with MCP Apps: the bridge of ext-apps and the official client. `start(tool, args)` calls a tool and shows its view.
import { AppBridge, PostMessageTransport, RESOURCE_MIME_TYPE, getToolUiResourceUri } from '@modelcontextprotocol/ext-apps/app-bridge';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const capabilities = { extensions: { 'io.modelcontextprotocol/ui': { mimeTypes: [RESOURCE_MIME_TYPE] } } };
const client = new Client({ name: 'host', version: '1' }, { capabilities, versionNegotiation: { mode: 'auto' } });
window.seenByModel = [];

async function openFrame() {
    const frame = document.createElement('iframe');
    frame.style.cssText = 'width: 100%; height: 300px; border: 0';
    frame.setAttribute('sandbox', 'allow-scripts allow-same-origin allow-forms');
    const isReady = new Promise((resolve) => addEventListener('message', ({ source, data }) => {
        if (source === frame.contentWindow && data?.method === 'ui/notifications/sandbox-proxy-ready') resolve();
    }));
    frame.src = window.SANDBOX;
    document.body.replaceChildren(frame);
    await isReady;
    return frame;
}

window.start = async (name, args) => {
    const tool = (await client.listTools()).tools.find((one) => one.name === name);
    const { contents: [page] } = await client.readResource({ uri: getToolUiResourceUri(tool) });
    const frame = await openFrame();
    const bridge = new AppBridge(
        client, { name: 'host', version: '1' },
        { openLinks: {}, serverTools: {}, serverResources: {}, updateModelContext: { text: {} } },
        { hostContext: { theme: window.THEME } });
    bridge.onsizechange = ({ height }) => { if (height) frame.style.height = `${height}px`; };
    bridge.onupdatemodelcontext = async (said) => { window.seenByModel.push(said); return {}; };
    const isInitialized = new Promise((resolve) => { bridge.oninitialized = resolve; });
    await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
    await bridge.sendSandboxResourceReady({ html: page.text, csp: page._meta?.ui?.csp });
    await isInitialized;
    bridge.sendToolInput({ arguments: args });
    const result = await client.callTool({ name, arguments: args });
    window.seenByModel.push({ content: result.content.filter((block) => block.type === 'text') });
    await bridge.sendToolResult(result);
};

await client.connect(new StreamableHTTPClientTransport(new URL('/mcp', location.href)));
window.tools = (await client.listTools()).tools.map(({ name, _meta }) => ({ name, visibility: _meta?.ui?.visibility ?? null }));
window.isReady = true;
