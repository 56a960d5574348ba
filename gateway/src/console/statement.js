// An account's statement.
import { cell, key, moment, money, node, number, row, word, zone } from '/console/format.js';
import { call } from '/console/rest.js';

/** How many pages are looked at for the first lines. */
const PAGES_MAX = 20;

const $ = (id) => document.getElementById(id);

/** A cell that names an account and shows its statement when it is pressed. */
export function accountCell(account) {
  const open = node('button', { type: 'button' }, account);
  open.addEventListener('click', () => {
    $('ask-statement').elements.account_id.value = account;
    show(account);
    $('statement-title').scrollIntoView();
  });
  return cell(open);
}

/** The newest lines. A page may be empty and say where to go on: declined payments move nothing. */
async function newest(path) {
  let token = '';
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const { entries = [], next_page_token: next } = await call(`${path}/entries?page_size=100&page_token=${token}`);
    if (entries.length || !next) return entries;
    token = encodeURIComponent(next);
  }
  return [];
}

async function show(id) {
  try {
    const path = `/v1/accounts/${encodeURIComponent(id)}`;
    const [{ account }, entries] = await Promise.all([call(path), newest(path)]);
    $('statement-zone').textContent = `time (${zone()})`;
    $('statement-balance').textContent = `${id}: balance ${money(account.balance)}, available ${money(account.available)}`;
    $('statement').replaceChildren(...entries.map((line) => row(cell(moment(line.at)), word(line.kind, 'LINE_KIND_'),
      number(money(line.amount)), number(money(line.balance_after)), key([line.tx_id, line.reference].filter(Boolean).join(': '), line.tx_id))));
    $('statement-csv').href = `${path}/statement.csv?from=${new Date().getUTCFullYear()}-01-01`;
    $('statement-csv').hidden = false;
  } catch (error) {
    $('statement-balance').textContent = error.message;
    $('statement').replaceChildren();
    $('statement-csv').hidden = true;
  }
}

$('ask-statement').addEventListener('submit', (event) => {
  event.preventDefault();
  show(event.target.elements.account_id.value);
});
