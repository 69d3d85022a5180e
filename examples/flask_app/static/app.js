// The page of the example applications: it shows what GET /api/state says, opens Plaid Link, and
// tells the server what the user did. It keeps nothing, and what it sends is checked by the server.
"use strict";

const byId = (id) => document.getElementById(id);

const HEALTH = {
  healthy: "healthy",
  repair: "repair needed",
  add_accounts: "new accounts",
  check: "being checked",
  stop: "access ended",
};
const HANDOFF = {
  none: "token still to come",
  due: "not handed over yet",
  sending: "on its way",
  done: "handed over",
  refused: "refused",
  unknown: "to be looked at",
};
const STATE = {
  started: "The link is under way.",
  linked: "The bank is connected; some tokens are still to come.",
  unknown: "It is not known whether this link worked. The server's operator looks into it.",
};
const PARTNER = { layer: "Layer", finix: "Finix" };

// --- The server ---------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, body, retryAfter) {
    super(body.error || `The server answered ${status}. Please try again.`);
    Object.assign(this, { status, body, retryAfter });
  }
}

async function ask(method, path, body) {
  // The server takes changes only with this content type, which a form of another site cannot send.
  const headers = { "Content-Type": "application/json" };
  const csrf = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/); // Django's, if there is one
  if (csrf) headers["X-CSRFToken"] = csrf[1];
  const sent = method === "GET" ? undefined : JSON.stringify(body ?? {});
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: sent, credentials: "same-origin" });
  } catch {
    throw new Refused(0, { error: "The server cannot be reached. Is it running?" });
  }
  const told = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  if (answer.status === 401 && !byId("login")) location.assign("/login");
  throw new Refused(answer.status, told, Number(answer.headers.get("Retry-After")) || 2);
}

const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// For a request that may be sent twice: the server does the work once, and gives the same answer.
async function askUntilThere(method, path, body) {
  for (let left = 5; ; left -= 1) {
    try {
      return await ask(method, path, body);
    } catch (error) {
      const passes = error.status === 0 || error.status === 503;
      if (!passes || left === 0) throw error;
      await wait(error.retryAfter || 2);
    }
  }
}

// --- What the user sees -------------------------------------------------------------------------

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children); // text stays text: nothing is read as HTML
  return made;
}

function say(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

const pathOf = (link, what = "") => `/api/links/${encodeURIComponent(link.item_id)}${what}`;

function button(link, name, text, action, className = "quiet") {
  const made = element("button", className, text);
  made.type = "button";
  made.id = `${name} ${link.item_id}`; // keeps the focus where it was when the list is drawn again
  made.addEventListener("click", () => act(`${text}…`, () => action(link)));
  return made;
}

function buttonsOf(link) {
  if (!link.item_id) return [];
  const made = [];
  if (["repair", "stop"].includes(link.health)) {
    made.push(button(link, "repair", "Repair", updateMode, "main"));
  }
  if (["healthy", "add_accounts"].includes(link.health)) { // "add_accounts": the bank has new ones
    const look = link.health === "add_accounts" ? "main" : "quiet";
    made.push(button(link, "add", "Add accounts", addAccounts, look));
  }
  if (link.state === "linked" && link.health === "healthy") { // such as after an outage at Plaid
    made.push(button(link, "again", "Try again", () => askUntilThere("POST", pathOf(link, "/refresh"))));
  }
  // What was begun can be finished, whatever the health: before that, the bank cannot be disconnected.
  const finix = link.accounts.filter((each) => each.processor === "finix");
  const paid = finix.length > 0 && finix.every((each) => each.handoff === "done");
  if (!paid && (finix.length > 0 || ["healthy", "add_accounts"].includes(link.health))) {
    made.push(button(link, "finix", "Pay with Finix", payWithFinix));
  }
  made.push(button(link, "disconnect", "Disconnect", disconnect, "quiet danger"));
  return made;
}

function cardOf(link) {
  const badge = element("span", "badge", HEALTH[link.health] ?? link.health);
  badge.dataset.health = link.health;
  const card = element("li", "card", element("div", "head",
    element("h2", "", link.institution_name || "A bank"), badge));
  if (STATE[link.state]) card.append(element("p", "hint", STATE[link.state]));
  const rows = new Map(); // one account has a token for each partner
  for (const each of link.accounts) {
    if (!rows.has(each.account_id)) {
      rows.set(each.account_id, element("li", "", element("span", "label", each.label)));
    }
    if (!each.processor) continue;
    const way = each.handoff ?? "none";
    const words = `${PARTNER[each.processor] ?? each.processor}: ${HANDOFF[way] ?? way}`;
    const chip = element("span", "chip", words);
    Object.assign(chip.dataset, { partner: each.processor, handoff: way });
    rows.get(each.account_id).append(chip);
  }
  card.append(element("ul", "accounts", ...rows.values()));
  if (link.item_id) card.append(element("p", "hint item", "Item ", element("code", "", link.item_id)));
  card.append(element("div", "actions", ...buttonsOf(link)));
  return card;
}

let drawn = "";
function drawLinks(links) {
  const now = JSON.stringify(links);
  if (now === drawn) return; // a screen reader's place, and the focus, stay where they are
  drawn = now;
  const focused = document.activeElement?.id;
  byId("links").replaceChildren(...links.map(cardOf));
  byId("empty").hidden = links.length > 0;
  setBusy();
  if (focused) byId(focused)?.focus();
}

let last = null; // the newest step that is shown
function drawSteps(steps) {
  const key = (step) => `${step.at} ${step.text}`;
  const place = steps.map(key).lastIndexOf(last);
  if (place < 0) byId("steps").replaceChildren();
  for (const step of steps.slice(place + 1)) { // only what is new, so that it alone is read out
    const time = element("time", "", new Date(step.at).toLocaleTimeString());
    time.dateTime = step.at;
    byId("steps").prepend(element("li", "", time, element("span", "", step.text)));
  }
  last = steps.length ? key(steps.at(-1)) : null;
}

async function draw() {
  const state = await ask("GET", "/api/state");
  drawLinks(state.links.filter((link) => link.state !== "removed"));
  drawSteps(state.steps);
}

let offline = false;
async function keepDrawing() {
  try {
    if (!document.hidden) await draw();
    if (offline) say("");
    offline = false;
  } catch (error) {
    offline = true;
    say(error.message);
  }
  setTimeout(keepDrawing, 2000);
}

// --- What the user does -------------------------------------------------------------------------

let doing = "";
function setBusy() {
  byId("busy").textContent = doing;
  for (const each of document.querySelectorAll("#connect, #links button")) {
    each.disabled = Boolean(doing); // a second click finds it disabled
  }
}

async function act(words, action) {
  if (doing) return;
  const focused = document.activeElement?.id; // a button that is disabled loses the focus
  doing = words;
  setBusy();
  say("");
  try {
    await action();
    await draw();
  } catch (error) {
    say(error.message);
  } finally {
    doing = "";
    setBusy();
    if (focused && document.activeElement === document.body) byId(focused)?.focus();
  }
}

// Opens Link; resolves to what onSuccess gets, or to null if the user left.
async function openLink(token) {
  for (let left = 50; !window.Plaid && left > 0; left -= 1) await wait(0.1); // its script may be late
  if (!window.Plaid) {
    throw new Error("Plaid Link could not be loaded. Is the local Plaid running?");
  }
  return new Promise((resolve, reject) => {
    const link = window.Plaid.create({
      token,
      cspNonce: document.body.dataset.nonce, // the content security policy lets Link's styles in by it
      onSuccess: (publicToken, metadata) => {
        resolve({ public_token: publicToken, metadata });
        link.destroy();
      },
      onExit: (error) => {
        const words = error?.display_message || error?.error_message;
        if (error) reject(new Error(words || "The bank could not be connected."));
        else resolve(null);
        link.destroy();
      },
    });
    link.open();
  });
}

// The link token is fetched on the click, because it is valid for a limited time only.
async function linkToken(wanted) {
  return (await ask("POST", "/api/link-token", wanted)).link_token;
}

async function connect() {
  const done = await openLink(await linkToken({}));
  if (done) await askUntilThere("POST", "/api/links", done);
}

// In update mode there is nothing to exchange: the server looks what has changed.
async function updateMode(link, wanted) {
  const done = await openLink(await linkToken({ item_id: link.item_id, ...wanted }));
  if (done) await askUntilThere("POST", pathOf(link, "/refresh"));
  return done !== null;
}

const addAccounts = (link) => updateMode(link, { add_accounts: true });

// Asks again with what the server found missing: the account, the consent, or the user's word.
async function payWithFinix(link, wanted = {}, consented = false) {
  // With the user's word it may make a second instrument: that is asked once only.
  const send = wanted.again ? ask : askUntilThere;
  try {
    await send("POST", pathOf(link, "/finix"), wanted);
  } catch (error) {
    const { choose, consent, again } = error.body ?? {};
    if (choose?.length) {
      const accountId = await dialog({
        title: "Which account should payments use?",
        text: "Finix takes one account.",
        ok: "Use this account",
        choices: choose,
      });
      if (accountId) await payWithFinix(link, { ...wanted, account_id: accountId }, consented);
    } else if (consent && !consented) {
      // The user agreed to what Layer reads. Link asks for what Finix reads, and we ask again.
      if (await updateMode(link, { partner: "finix" })) await payWithFinix(link, wanted, true);
    } else if (again && !wanted.again) {
      const sure = await dialog({
        title: "Make another payment instrument?",
        text: "Finix may have this account already: look there first.",
        ok: "Make another",
      });
      if (sure) await payWithFinix(link, { ...wanted, again: true }, consented);
    } else {
      throw error;
    }
  }
}

async function disconnect(link) {
  const sure = await dialog({
    title: `Disconnect ${link.institution_name || "this bank"}?`,
    text: "The partners can read its accounts no longer.",
    ok: "Disconnect",
  });
  if (sure) await ask("DELETE", pathOf(link));
}

// A question; resolves to the id of the account that was chosen, to true without choices, or null.
function dialog({ title, text, ok, choices = [] }) {
  byId("dialog-title").textContent = title;
  byId("dialog-text").textContent = text;
  byId("dialog-ok").textContent = ok;
  const field = byId("dialog-choices");
  field.hidden = choices.length === 0;
  field.replaceChildren(field.querySelector("legend"), ...choices.map((each, place) => {
    const input = element("input");
    Object.assign(input, {
      type: "radio", name: "account", value: each.account_id, required: true, checked: place === 0,
    });
    return element("label", "choice", input, element("span", "", each.label));
  }));
  const box = byId("dialog");
  box.returnValue = "";
  box.showModal();
  return new Promise((resolve) => {
    box.addEventListener("close", () => {
      if (box.returnValue !== "ok") resolve(null);
      else resolve(choices.length ? box.querySelector("input:checked").value : true);
    }, { once: true });
  });
}

function signIn(event) {
  event.preventDefault();
  const given = Object.fromEntries(new FormData(event.target));
  ask("POST", "/api/login", given).then(
    () => location.assign("/"),
    (error) => say(error.status === 401 ? "The user or the password is wrong." : error.message),
  );
}

// What needs this script is disabled until it runs: an earlier click would do nothing.
if (byId("login")) {
  byId("sign-in").disabled = false;
  byId("login").addEventListener("submit", signIn);
} else {
  byId("connect").addEventListener("click", () => act("Connecting a bank…", connect));
  byId("logout").addEventListener("click", () => ask("POST", "/api/logout").then(
    () => location.assign("/login"), (error) => say(error.message),
  ));
  byId("logout").disabled = false;
  byId("dialog-cancel").addEventListener("click", () => byId("dialog").close());
  setBusy();
  keepDrawing();
}
