// What an application does, with sessions.mjs of the page. Prints a line for each answer: its status, and the token or
// the error.
import * as sessions from './sessions.mjs';

async function show(call) {
  const { status, body } = await call;
  console.log(status, body?.refresh_token ?? body?.error ?? '-');
  return body?.refresh_token;
}

const client = ['a browser', '192.0.2.1'];
const user = 7;
const first = await show(sessions.logIn(user, ...client));
const second = await show(sessions.refresh(first, ...client));
const third = await show(sessions.refresh(second, ...client));
await show(sessions.refresh(first, ...client));
await show(sessions.refresh(third, ...client));
const other = await show(sessions.logIn(user, ...client));
await show(sessions.logOut(other));
await show(sessions.refresh(other, ...client));
await show(sessions.refresh('nonsense', ...client));
process.exit();
