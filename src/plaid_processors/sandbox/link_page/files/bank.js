// The page of a bank that has the user sign in on its own site.
const state = location.pathname.split("/").pop();
const told = document.getElementById("told");

async function answer(allow) {
  const asked = await fetch("/_sandbox/link/allow_at_bank", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ state, allow }),
  });
  if (!asked.ok) {
    told.textContent = "This visit is over. Go back to the application and begin again.";
    return;
  }
  const { redirect_uri } = await asked.json();
  if (location.search === "?popup" && window.opener) {
    window.opener.postMessage({ plaidLinkBank: state }, location.origin);
    window.close();
    return;
  }
  const back = new URL(redirect_uri);
  back.searchParams.set("oauth_state_id", state);
  location.assign(back);
}

for (const [id, allow] of [["allow", true], ["refuse", false]]) {
  const button = document.getElementById(id);
  button.onclick = () => answer(allow);
  button.disabled = false; // a press before this script was there would do nothing
}
