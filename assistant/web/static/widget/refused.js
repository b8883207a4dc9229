// Instead of the widget on a site that may not embed it: tells the site's page why. That is no secret.

window.parent.postMessage({ from: "assistant-widget", type: "refused", detail: document.body.dataset.detail }, "*");
