// The pane's requests to the local Plaid; a refusal is Link's error.

export class Refused extends Error {
  constructor(error) {
    super(error.display_message || error.error_message);
    this.error = error;
  }
}

export const INTERNAL = {
  error_type: "API_ERROR",
  error_code: "INTERNAL_SERVER_ERROR",
  error_message: "the local Plaid did not answer",
  display_message: null,
};

export async function post(action, body) {
  let answer, told;
  try {
    answer = await fetch(`/_sandbox/link/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      keepalive: true,
      body: JSON.stringify(body),
    });
    told = await answer.json();
  } catch {
    throw new Refused(INTERNAL);
  }
  if (!answer.ok) throw new Refused(told.error ?? INTERNAL);
  return told;
}
