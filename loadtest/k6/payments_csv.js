// Makes the payments of a CSV file with k6, each row once, over gRPC or REST. lib.js, grpc.js and rest.js say more settings.
//
//   FILE   the file, in one of the two layouts of `arus-load gen`    samples/payments-full.csv
//   VIA    "grpc" or "rest"                                          grpc
//   TX_ID  begins every key, before the row's id                     nothing: the same file again replays
//
// As in `arus-load replay`, an account id in a currency is a wallet of its own: ACC-1 in USD is the account ACC-1-USD, which
// the customer ACC-1 owns. They are opened, and those that pay are funded. Rates are the server's: across currencies a
// server without any declines.
import exec from 'k6/execution';
import csv from 'k6/experimental/csv';
import { open as openFile } from 'k6/experimental/fs';
import { overGrpc } from './grpc.js';
import { count, env, open, thresholds } from './lib.js';
import { overRest } from './rest.js';

const via = env('VIA', 'grpc');
const api = { grpc: overGrpc, rest: overRest }[via];
if (!api) throw new Error(`VIA is "${via}"; allowed: grpc, rest`);

// What a wallet that pays is given: more than a file spends.
const FUNDS = '100000000000';
// Decimal places that ISO 4217 gives a currency, where they are not 2.
const PLACES = {
  BIF: 0, CLP: 0, DJF: 0, GNF: 0, ISK: 0, JPY: 0, KMF: 0, KRW: 0, PYG: 0, RWF: 0, UGX: 0, VND: 0, VUV: 0, XAF: 0, XOF: 0,
  XPF: 0, BHD: 3, IQD: 3, JOD: 3, KWD: 3, LYD: 3, OMR: 3, TND: 3, CLF: 4,
};

const rows = await csv.parse(await openFile(env('FILE', import.meta.resolve('../samples/payments-full.csv').replace('file://', ''))), {
  asObjects: true,
});

export const options = {
  scenarios: {
    default: {
      executor: 'shared-iterations',
      vus: Math.min(Number(env('VUS', '10')), rows.length),
      iterations: rows.length,
      maxDuration: env('DURATION', '10m'),
    },
  },
  thresholds: thresholds(api.duration),
};

function decimal(minor, currency) {
  const places = PLACES[currency] ?? 2;
  const digits = minor.padStart(places + 1, '0');
  return places ? `${digits.slice(0, -places)}.${digits.slice(-places)}` : digits;
}

// Without the zeros that programs write beyond a currency's places: 4200.00 JPY.
function exact(amount, currency) {
  const [whole, fraction = ''] = amount.split('.');
  const places = PLACES[currency] ?? 2;
  const kept = fraction.slice(0, places) + fraction.slice(places).replace(/0+$/, '');
  return kept ? `${whole}.${kept}` : whole;
}

// A row of either layout.
function payment(row) {
  const from = (row.currency || row.currency_src).toUpperCase();
  const to = (row.currency || row.currency_dst).toUpperCase();
  return {
    key: `${env('TX_ID', '')}${row.id}`,
    source: { owner: row.source_account, currency: from, account: `${row.source_account}-${from}` },
    destination: { owner: row.destination_account, currency: to, account: `${row.destination_account}-${to}` },
    amount: { currency: from, amount: row.amount ? exact(row.amount, from) : decimal(row.amount_minor, from) },
    description: row.description || '',
  };
}

export function setup() {
  const wallets = {};
  for (const row of rows) {
    const { source, destination } = payment(row);
    wallets[source.account] = { ...source, funds: FUNDS };
    wallets[destination.account] ??= { ...destination, funds: '' };
  }
  for (const { account, owner, currency, funds } of Object.values(wallets)) {
    open(api, 'k6-csv', account, owner, currency, funds);
  }
}

export default function () {
  const { key, source, destination, amount, description } = payment(rows[exec.scenario.iterationInTest]);
  const body = {
    customer_id: source.owner,
    source_account: source.account,
    destination_account: destination.account,
    amount,
    description,
  };
  count(key, api.pay(key, body), amount.amount);
}
