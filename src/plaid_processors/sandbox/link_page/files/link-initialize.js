/* A local stand-in for Plaid Link's script, served by plaid-processors' local Plaid.
   Not Plaid's code. It opens its pane in an iframe and calls back as Link does. */
(() => {
  "use strict";

  const HOME = "{{home}}";
  let count = 0;

  const whenThereIsABody = (then) =>
    document.body ? then() : document.addEventListener("DOMContentLoaded", then, { once: true });

  function makeFrame(config, mode) {
    const frame = document.createElement("iframe");
    const about = { token: config.token ?? "", origin: location.origin, mode };
    if (config.receivedRedirectUri) {
      about.state = new URL(config.receivedRedirectUri).searchParams.get("oauth_state_id") ?? "";
    }
    count += 1;
    frame.id = `plaid-link-iframe-${count}`;
    frame.title = "Plaid Link (local stand-in)";
    frame.src = `${HOME}/link/v2/stable/link.html#${new URLSearchParams(about)}`;
    Object.assign(frame.style, {
      border: "0", width: "100%", height: "100%", display: "block", colorScheme: "light",
    });
    return frame;
  }

  // A dialog over the page holds the iframe. While it is open, the browser makes the rest of the
  // page inert; when it closes, the browser restores the focus.
  function makeDialog(frame) {
    const dialog = document.createElement("dialog");
    Object.assign(dialog.style, {
      width: "100vw", height: "100dvh", maxWidth: "none", maxHeight: "none",
      margin: "0", border: "0", padding: "0", background: "transparent", overflow: "hidden",
    });
    dialog.setAttribute("aria-label", frame.title);
    dialog.append(frame);
    return dialog;
  }

  class Handler {
    constructor(config, { target } = {}) {
      if (!config || !config.token) {
        throw new Error("Missing Link parameter. Link requires a `token`.");
      }
      this.config = config;
      this.loaded = this.waiting = this.shown = this.destroyed = false;
      this.frame = makeFrame(config, target ? "embedded" : "over");
      this.dialog = target ? null : makeDialog(this.frame);
      this.hear = (message) => this.heard(message);
      window.addEventListener("message", this.hear);
      this.dialog?.addEventListener("cancel", (event) => {
        event.preventDefault();
        this.tell({ type: "exit" });
      });
      // A browser may close the dialog all the same, when Escape is pressed twice.
      this.dialog?.addEventListener("close", () => {
        if (this.shown) this.tell({ type: "exit", force: true });
      });
      if (target) {
        this.frame.style.minHeight = "26rem";
        target.append(this.frame);
        this.open();
      } else {
        whenThereIsABody(() => this.destroyed || document.body.append(this.dialog));
      }
    }

    open() {
      if (this.destroyed || this.shown) return;
      if (!this.loaded) {
        this.waiting = true;
        return;
      }
      this.waiting = false;
      this.shown = true;
      this.dialog?.showModal();
      if (this.dialog) this.frame.focus();
      this.tell({ type: "open" });
    }

    exit(options) {
      this.waiting = false;
      if (this.shown) this.tell({ type: "exit", force: Boolean(options?.force) });
    }

    destroy() {
      if (this.destroyed) return;
      this.destroyed = true;
      this.shown = false;
      window.removeEventListener("message", this.hear);
      (this.dialog ?? this.frame).remove();
    }

    submit(data) {
      if (!data || !(data.phone_number || data.date_of_birth)) {
        throw new TypeError("submit takes {phone_number} or {date_of_birth}");
      }
      console.info("Plaid Link (local stand-in): submit has no part in this flow; nothing is done.");
    }

    tell(message) {
      this.frame.contentWindow?.postMessage({ plaidLink: message }, HOME);
    }

    heard({ source, data }) {
      const message = data?.plaidLink;
      if (!message || source !== this.frame.contentWindow) return;
      this[`on_${message.type}`]?.(message);
    }

    on_ready() {
      if (this.loaded) return;
      this.loaded = true;
      this.config.onLoad?.();
      if (this.waiting) this.open();
    }

    on_event({ name, metadata }) {
      this.config.onEvent?.(name, metadata);
    }

    on_success({ publicToken, metadata }) {
      this.hide();
      this.config.onSuccess?.(publicToken, metadata);
    }

    on_exit({ error, metadata }) {
      this.hide();
      this.config.onExit?.(error, metadata);
    }

    on_visit({ page }) {
      location.assign(page);
    }

    hide() {
      this.shown = false;
      this.dialog?.close();
    }
  }

  function handlerOf(handler) {
    return {
      open: () => handler.open(),
      exit: (options) => handler.exit(options),
      destroy: () => handler.destroy(),
      submit: (data) => handler.submit(data),
    };
  }

  window.Plaid = {
    create: (config) => handlerOf(new Handler(config)),
    createEmbedded: (config, target) => {
      const handler = new Handler(config, { target });
      return { destroy: () => handler.destroy() };
    },
  };
})();
