// The REST API, as everybody calls it.

/** Random bytes. Not `randomUUID`: pages of plain http have that from localhost only. */
export const hex = (bytes) => [...crypto.getRandomValues(new Uint8Array(bytes))].map((n) => n.toString(16).padStart(2, '0')).join('');

/** Calls the API; a problem becomes an error that says what is wrong. */
export async function call(path, body, key) {
  const headers = body
    ? { 'content-type': 'application/json', ...(key && { 'idempotency-key': key, traceparent: traceparent() }) } : {};
  const answer = await fetch(path, { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body) });
  const value = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(value.detail), { status: answer.status });
  return Object.assign(value, { timing: answer.headers.get('server-timing') });
}

/** The same, but nothing if there is no such thing. */
export const find = (path) => call(path).catch((error) => {
  if (error.status === 404) return undefined;
  throw error;
});

/** A context of a trace of its own (W3C): who asks so is told how long each step took. */
function traceparent() {
  return `00-${hex(16)}-${hex(8)}-01`;
}
