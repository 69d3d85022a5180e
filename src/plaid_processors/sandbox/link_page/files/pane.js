// The pane of the local stand-in for Link: one view at a time, each a function of the state.
// In an iframe it exchanges messages with link-initialize.js; Hosted Link's page has no iframe.
import { acts, alertOf, button, field, formOf, make, quiet, valueOf } from "./draw.js";
import { INTERNAL, post } from "./server.js";

const about = new URLSearchParams(location.hash.slice(1));
const mode = about.get("mode") ?? "hosted";
const parentOrigin = !about.get("origin") || about.get("origin") === "null" ? "*" : about.get("origin");
const pane = document.getElementById("pane");
const view = document.getElementById("view");
const said = document.getElementById("said");
const leaveButton = document.getElementById("leave");

let known = {}; // of this session: its id, the bank, the accounts, the last error, how it ended
let showing = null; // the view's name, as in Link's events
let before = null; // the view to show again if the user decides to stay
let events = Promise.resolve();
let opened = Promise.resolve(); // who leaves while Link opens leaves the session that begins

// ---- to the server and to the page

const ask = (action, body = {}) => post(action, { session: known.session, ...body });

function tell(message) {
  if (mode !== "hosted") parent.postMessage({ plaidLink: message }, parentOrigin);
}

function emit(name, more = {}) {
  if (known.over) return; // an answer that came after the user had left
  const metadata = {
    account_number_mask: null,
    error_code: null,
    error_message: null,
    error_type: null,
    exit_status: null,
    institution_id: known.bank?.institution_id ?? null,
    institution_name: known.bank?.name ?? null,
    institution_search_query: null,
    is_update_mode: String(Boolean(known.update_mode)),
    link_session_id: known.session ?? "",
    match_reason: null,
    mfa_type: null,
    request_id: crypto.getRandomValues(new Uint32Array(2)).join("").slice(0, 15).padEnd(15, "0"),
    routing_number: null,
    selection: null,
    timestamp: new Date().toISOString(),
    view_name: null,
    ...more,
  };
  tell({ type: "event", name, metadata });
  const session = known.session;
  if (session) {
    // One after the other, so that they stay in order.
    events = events.then(() => ask("event", { session, name, metadata })).catch(() => {});
  }
}

function failed(error) {
  known.error = error;
  const { error_type, error_code, error_message } = error;
  emit("ERROR", { error_type, error_code, error_message, view_name: showing });
}

// ---- drawing

function show(name, title, ...parts) {
  if (known.over && name !== "END") return; // as in `emit`
  showing = name;
  const heading = make("h1", { id: "title", tabIndex: -1 }, title);
  view.replaceChildren(heading, ...parts.filter((part) => part != null));
  view.scrollTop = 0;
  document.title = `${title} – Plaid Link (local stand-in)`;
  leaveButton.hidden = ["EXIT", "CONNECTED", "END"].includes(name);
  heading.focus();
  if (name !== "END") emit("TRANSITION_VIEW", { view_name: name });
}

function say(text) {
  said.textContent = text;
}

// ---- the views

function showBanks() {
  known.bank = null;
  const found = make("ul", { "aria-label": "Banks" });
  const search = field("Search for your bank", { id: "search", type: "search" });
  show(
    "SELECT_INSTITUTION",
    "Choose your bank",
    make("p", {}, `${known.client_name} asks for access to accounts of yours at a bank.`),
    search,
    found,
  );
  let waiting;
  let told = "";
  const tellSearch = () => { // each query once, however long the user takes to choose
    clearTimeout(waiting);
    const query = valueOf("search").trim();
    if (!query || query === told) return;
    told = query;
    emit("SEARCH_INSTITUTION", { institution_search_query: query });
  };
  const choice = (bank) => {
    const press = quiet(bank.name, () => {
      tellSearch();
      chooseBank(bank);
    });
    press.dataset.institution = bank.institution_id; // there are two Chases
    return press;
  };
  const list = () => {
    const query = valueOf("search").trim().toLowerCase();
    const fitting = known.banks.filter((bank) => bank.name.toLowerCase().includes(query));
    found.replaceChildren(...fitting.map((bank) => make("li", {}, choice(bank))));
    known.noneFound = fitting.length === 0;
    if (known.noneFound) found.append(make("li", {}, "No bank has that in its name."));
    clearTimeout(waiting);
    if (query) {
      waiting = setTimeout(() => {
        if (showing !== "SELECT_INSTITUTION") return;
        say(`${fitting.length} ${fitting.length === 1 ? "bank" : "banks"} found`);
        tellSearch();
      }, 300);
    }
  };
  search.oninput = list;
  list();
}

async function chooseBank(bank) {
  known.bank = bank;
  known.error = null;
  emit("SELECT_INSTITUTION");
  try {
    known.bank = (await ask("choose_bank", { institution_id: bank.institution_id })).bank;
    showSignIn();
  } catch (refused) {
    showError(refused.error);
  }
}

const showSignIn = () => (known.bank.oauth ? showVisit() : showCredentials());

function showCredentials(error = null, username = "user_good") {
  show(
    "CREDENTIAL",
    `Sign in to ${known.bank.name}`,
    alertOf(error),
    formOf(
      signIn,
      field("Username", { id: "username", value: username }),
      field("Password", { id: "password", type: "password" }),
      make("p", { className: "hint" },
        "Test users: ", make("code", {}, "user_good"), " with ", make("code", {}, "pass_good"),
        ". A password such as ", make("code", {}, "error_ITEM_LOCKED"), " ends in that error; ",
        make("code", {}, "mfa_device"), " asks for a code."),
      make("button", {}, "Sign in"),
    ),
    known.update_mode ? null : acts(quiet("Choose another bank", showBanks)),
  );
  if (error) document.getElementById("password").focus();
}

async function signIn() {
  const username = valueOf("username");
  const password = valueOf("password");
  emit("SUBMIT_CREDENTIALS");
  showLoading();
  try {
    const answer = await ask("log_in", { username, password });
    known.error = null;
    if (answer.code_wanted) showCode();
    else signedIn(answer);
  } catch ({ error }) {
    if (error.error_code !== "INVALID_CREDENTIALS") return showError(error);
    failed(error);
    showCredentials(error, username);
  }
}

function showLoading() {
  show("LOADING", "One moment …", make("p", {}, `Asking ${known.bank.name}.`));
}

function showCode(error = null) {
  show(
    "MFA",
    "Enter the code",
    alertOf(error),
    formOf(
      giveCode,
      make("p", {}, "Your bank has sent you a code. For test users it is ",
        make("code", {}, "1234"), "."),
      field("Code", { id: "code", inputMode: "numeric" }),
      make("button", {}, "Go on"),
    ),
  );
}

async function giveCode() {
  const code = valueOf("code").trim();
  emit("SUBMIT_MFA", { mfa_type: "code" });
  showLoading();
  try {
    signedIn(await ask("give_code", { code }));
  } catch ({ error }) {
    if (error.error_code !== "INVALID_MFA") return showError(error);
    failed(error);
    showCode(error);
  }
}

function showVisit() {
  show(
    "OAUTH",
    `${known.bank.name} has its own page`,
    make("p", {}, "You sign in there, and come back here."),
    acts(
      button("Go to the bank", visitBank),
      known.update_mode ? null : quiet("Choose another bank", showBanks),
    ),
  );
}

async function visitBank() {
  const visit = await ask("visit_bank").catch((refused) => showError(refused.error));
  if (!visit) return;
  emit("OPEN_OAUTH");
  if (visit.redirect_uri && mode !== "hosted") {
    tell({ type: "visit", page: new URL(visit.page, location.origin).href });
    return;
  }
  const page = window.open(`${visit.page}?popup`, "_blank", "popup,width=420,height=640");
  if (!page) return showError({ ...INTERNAL, error_message: "the browser opened no window" });
  const state = await backFrom(page, visit.state);
  emit("CLOSE_OAUTH");
  if (!state) return showVisit();
  showLoading();
  await afterVisit();
}

function backFrom(page, state) {
  return new Promise((done) => {
    const end = (value) => {
      clearInterval(looking);
      removeEventListener("message", hear);
      done(value);
    };
    const hear = ({ origin, data }) => {
      if (origin === location.origin && data?.plaidLinkBank === state) end(state);
    };
    addEventListener("message", hear);
    const looking = setInterval(() => page.closed && setTimeout(end, 300, null), 300);
  });
}

async function afterVisit() {
  try {
    signedIn(await ask("after_visit"));
  } catch ({ error }) {
    emit("FAIL_OAUTH");
    showError(error);
  }
}

function signedIn({ accounts, select }) {
  known.error = null;
  if (accounts) showAccounts(accounts, select);
  else finish([]);
}

function showAccounts(accounts, select) {
  const one = select === "one";
  const boxes = accounts.map((account) =>
    make("input", {
      type: one ? "radio" : "checkbox",
      name: "account",
      value: String(account.place),
      checked: account.shared,
    }),
  );
  const rows = accounts.map((account, at) =>
    make("label", { className: "account" }, boxes[at],
      make("span", {}, account.name,
        make("span", { className: "hint" }, `${account.subtype} …${account.mask ?? ""}`))),
  );
  const everyOne = () => boxes.forEach((box) => (box.checked = true));
  const complaint = make("p", { className: "bad", role: "alert" });
  const submit = () => {
    const chosen = boxes.filter((box) => box.checked).map((box) => Number(box.value));
    if (chosen.length) return finish(chosen);
    complaint.textContent = one ? "Choose an account." : "Choose at least one account.";
    boxes[0].focus();
  };
  show(
    "SELECT_ACCOUNT",
    one ? "Choose one account" : "Choose accounts",
    formOf(
      submit,
      make("fieldset", {},
        make("legend", {}, `What ${known.client_name} may see at ${known.bank.name}:`),
        one || boxes.length < 2 ? null : quiet("All of them", everyOne),
        ...rows),
      make("div", { className: "acts below" }, complaint, make("button", {}, "Go on")),
    ),
  );
}

async function finish(accounts) {
  showLoading();
  try {
    known.done = await ask("finish", { accounts });
    showConnected();
  } catch (refused) {
    showError(refused.error);
  }
}

function showConnected() {
  const count = known.done.metadata.accounts.length;
  show(
    "CONNECTED",
    known.update_mode ? "The connection is good again" : "Connected",
    make("p", {}, `${known.bank.name}: ${count} ${count === 1 ? "account" : "accounts"} for ` +
      `${known.client_name}.`),
    acts(button("Finish", handOff)),
  );
}

function handOff() {
  emit("HANDOFF");
  tell({ type: "success", publicToken: known.done.public_token, metadata: known.done.metadata });
  ended("You are done. You can close this page.");
}

function showError(error) {
  failed(error);
  const lost = error.error_code === "INVALID_LINK_TOKEN";
  show(
    "ERROR",
    "That did not work",
    alertOf(error),
    make("p", { className: "hint" }, make("code", {}, `${error.error_type} / ${error.error_code}`)),
    acts(
      lost || !known.bank ? null : button("Try again", showSignIn),
      lost || known.update_mode ? null : quiet("Choose another bank", showBanks),
      lost ? quiet("Leave", leave) : null,
    ),
  );
}

// ---- leaving

const STATUSES = {
  CREDENTIAL: "requires_credentials",
  ERROR: "requires_credentials",
  LOADING: "requires_credentials",
  MFA: "requires_code",
  OAUTH: "requires_oauth",
  SELECT_ACCOUNT: "requires_account_selection",
};

function statusOf(name) {
  if (name === "SELECT_INSTITUTION") return known.noneFound ? "institution_not_found" : null;
  return known.bank ? (STATUSES[name] ?? null) : null;
}

async function askToLeave() {
  await opened;
  if (known.over) return;
  if (known.done) return handOff();
  if (showing === "EXIT") return goOn();
  if (showing === "LOADING" || !known.session) return leave();
  known.status = statusOf(showing);
  before = { title: document.title, name: showing, parts: [...view.childNodes],
    focus: document.activeElement };
  show(
    "EXIT",
    "Leave without connecting a bank?",
    make("p", {}, `${known.client_name} gets no access to your accounts then.`),
    acts(button("Leave", leave), quiet("Go on", goOn)),
  );
}

function goOn() {
  const { title, name, parts, focus } = before;
  showing = name;
  view.replaceChildren(...parts);
  document.title = title;
  leaveButton.hidden = false;
  (focus && view.contains(focus) ? focus : view.querySelector("h1")).focus();
  emit("TRANSITION_VIEW", { view_name: name });
}

async function leave() {
  await opened;
  if (known.over) return;
  if (known.done) return handOff();
  const status = showing === "EXIT" ? known.status : statusOf(showing);
  const { error_code, error_message } = known.error ?? {};
  let left;
  try {
    left = await ask("leave", { status, error_code, error_message });
  } catch {
    // No session began, or it is gone: its end is reported all the same.
    const metadata = { institution: null, status, link_session_id: known.session ?? "", request_id: "" };
    left = { error: known.error ?? null, metadata };
  }
  const { error_type = null } = left.error ?? {};
  emit("EXIT", {
    exit_status: status, error_type,
    error_code: left.error?.error_code ?? null, error_message: left.error?.error_message ?? null,
  });
  tell({ type: "exit", error: left.error, metadata: left.metadata });
  ended("You have left without connecting a bank. You can close this page.");
}

async function ended(words) {
  known.over = true;
  if (mode === "over") {
    pane.hidden = true;
    view.replaceChildren();
    return;
  }
  await events;
  if (known.completion_redirect_uri) return location.assign(known.completion_redirect_uri);
  show("END", known.done ? "Done" : "Left", make("p", {}, words));
}

// ---- beginning

async function open() {
  known = {};
  before = null;
  say("");
  pane.hidden = false;
  const state = about.get("state");
  try {
    const which = mode === "hosted" ? { hosted: location.pathname.split("/").pop() }
      : { token: about.get("token") };
    const answer = await ask("open", state ? { ...which, oauth_state_id: state } : which);
    known = { ...answer };
  } catch (refused) {
    known.client_name = "The application";
    emit("OPEN");
    return showError(refused.error);
  }
  about.delete("state"); // a second opening starts over
  emit("OPEN");
  if (state) return known.accounts ? signedIn(known) : finish([]);
  if (known.bank) return showSignIn();
  // The first view names who requests what, and lists the banks too.
  emit("TRANSITION_VIEW", { view_name: "CONSENT" });
  showBanks();
}

// Tab cycles inside the pane: in an iframe it would continue to the page behind.
function keepInside(event) {
  const reach = [...pane.querySelectorAll("button, input")].filter(
    (each) => each.offsetParent !== null && !each.disabled,
  );
  const [first, last] = [reach[0], reach.at(-1)];
  const at = document.activeElement;
  if (event.shiftKey && (at === first || !reach.includes(at))) {
    event.preventDefault();
    last?.focus();
  } else if (!event.shiftKey && at === last) {
    event.preventDefault();
    first?.focus();
  }
}

document.body.className = mode;
leaveButton.onclick = askToLeave;
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && mode === "over") {
    event.preventDefault();
    askToLeave();
  }
  if (event.key === "Tab" && mode === "over") keepInside(event);
});

if (mode === "hosted") {
  opened = open();
} else {
  if (mode === "over") {
    pane.setAttribute("aria-labelledby", "title");
  }
  addEventListener("message", ({ source, data }) => {
    const message = data?.plaidLink;
    if (source !== parent || !message) return;
    if (message.type === "open") opened = open();
    if (message.type === "exit") message.force ? leave() : askToLeave();
  });
  tell({ type: "ready" });
}
