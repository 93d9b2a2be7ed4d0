// The proxy between the host and a view, on an origin of its own.
const inner = document.createElement('iframe');
inner.style.cssText = 'width: 100%; height: 100%; border: 0';
inner.setAttribute('sandbox', 'allow-scripts allow-same-origin');
document.body.append(inner);
const host = new URL(document.referrer).origin;
addEventListener('message', ({ source, origin, data }) => {
    if (source === inner.contentWindow) {
        parent.postMessage(data, host);
    } else if (source === parent && origin === host) {
        if (data?.method !== 'ui/notifications/sandbox-resource-ready') return inner.contentWindow.postMessage(data, '*');
        inner.contentDocument.open();
        inner.contentDocument.write(data.params.html);
        inner.contentDocument.close();
    }
});
parent.postMessage({ jsonrpc: '2.0', method: 'ui/notifications/sandbox-proxy-ready', params: {} }, host);
