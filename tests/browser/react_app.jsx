// A page with react-plaid-link, as its README has one: the hook, a token fetched when it mounts.
import React, { StrictMode, useCallback, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { usePlaidLink } from "react-plaid-link";

const post = async (path, data) => {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(data) });
  return answer.json();
};

function Connect() {
  const [token, setToken] = useState(null);
  const [told, setTold] = useState("");
  const [mounted, setMounted] = useState(true);

  useEffect(() => {
    // Strict mode runs this twice: a second token would take the Link away that the first opened.
    let wanted = true;
    post("/create_link_token", {}).then(({ link_token }) => wanted && setToken(link_token));
    return () => {
      wanted = false;
    };
  }, []);
  const onSuccess = useCallback(async (public_token, metadata) => {
    const { labels } = await post("/link_accounts", { public_token, metadata });
    setTold(`Linked: ${labels.join(", ")}`);
  }, []);
  const onExit = useCallback((error, metadata) => {
    setTold(`Left: ${error ? error.error_code : "no error"}, ${metadata.status}`);
  }, []);

  return (
    <main>
      {mounted && <Link token={token} onSuccess={onSuccess} onExit={onExit} />}
      <button onClick={() => setMounted(false)}>Take it away</button>
      <output>{told}</output>
    </main>
  );
}

function Link(options) {
  const { open, exit, ready, error } = usePlaidLink(options);
  useEffect(() => {
    window.exitLink = exit;
  }, [exit]);
  return (
    <button disabled={!ready} onClick={() => open()}>
      {error ? "Link did not load" : "Connect your bank"}
    </button>
  );
}

const root = createRoot(document.getElementById("root"));
const strict = new URLSearchParams(location.search).has("strict");
root.render(strict ? <StrictMode><Connect /></StrictMode> : <Connect />);
