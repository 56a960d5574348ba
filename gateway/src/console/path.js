// The path of one payment: what was asked and decided on its way, in order, in a dialog that has an address.
import { badge, grouped, money, node, word } from '/console/format.js';
import { refundsOf, showSteps } from '/console/steps.js';

const $ = (id) => document.getElementById(id);
/** The payment that is shown. */
let shown;

/** The block a payment was committed with: its answer tells, or the events if it was seen to commit. */
function blockOf({ timing, block }) {
  const told = timing?.match(/desc="(.*?)"/)?.[1];
  if (told) return ` in the ${told}`;
  return block ? ` in the block of entries ${block.first_lsn} to ${Number(block.first_lsn) + block.entries - 1}` : '';
}

/** How long each part of a payment's path took, waiting and at work, from its answer's Server-Timing. */
function timings(text) {
  const parts = { Risk: ['risk'], FX: ['fx'], Holds: ['wallet'], Journal: ['journal'], Posted: ['engine.hand_over'],
    Answered: ['engine.answer'] };
  const steps = (text ?? '').split(', ').map((step) => step.match(/^(.+?)(\.wait)?;dur=([\d.]+)/)).filter(Boolean);
  const sum = (of, wait) => steps.filter(([, name, waits]) => of.some((part) => name.startsWith(part)) && Boolean(waits) === wait)
    .reduce((ms, step) => ms + Number(step[3]), 0);
  return Object.fromEntries(Object.entries(parts).map(([name, of]) => [name, [sum(of, true), sum(of, false)]])
    .filter(([, [wait, work]]) => wait + work > 0));
}

/** What reaches whom, or was to: the payee all of it, or each its part, the house with its fee last. */
function parts(payment) {
  const { splits = [], fee } = payment;
  const of = splits.map((split) => `${split.destination_account} +${money(split.credited ?? split.amount)}`);
  return fee ? [...of, `${fee.account_id} +${money(fee.amount)} (fee)`] : of;
}

/** What the client noted about it, as it is now. */
function noted({ description, metadata = {} }) {
  const pairs = Object.entries(metadata).map(([name, value]) => `${name}: ${value}`);
  const text = [description, ...pairs].filter(Boolean).join(', ');
  return text ? [['Noted', text]] : [];
}

function steps(payment) {
  const shared = parts(payment);
  const payees = shared.length ? shared.join(', ') : payment.destination_account;
  const risk = payment.risk ?? {};
  const reasons = (risk.reasons ?? []).join(', ') || 'no rule fired';
  return [
    ['Asked', `${money(payment.amount)} by ${payment.customer_id} under key ${payment.tx_id}, ${new Date(payment.created_at).toISOString()}`],
    ...noted(payment),
    ['Risk', `${word(risk.decision ?? '', 'RISK_DECISION_')}, score ${risk.score ?? 0}: ${reasons}`],
    ...(payment.fx ?? []).map((leg) => ['FX', `${money(leg.from)} = ${money(leg.to)} at ${grouped(leg.rate)} (mid ${grouped(leg.mid)}, `
      + `${leg.spread_bps ?? 0} bps, ${leg.source}${leg.via ? `, through ${leg.via}` : ''})`]),
    ...(payment.tried ?? []).map((tried) => ['Tried', `${tried.account_id}: ${word(tried.code ?? '', 'FAILURE_CODE_')}`]),
    payment.debited || payment.expires_at
      ? ['Holds', payment.expires_at
        ? `${money(payment.amount_authorized)} set aside on ${payment.source_account} for ${payees}, until ${new Date(payment.expires_at).toISOString()}`
        : `${money(payment.debited)} held on ${payment.source_account}, expected by ${shared.length ? payees : `${payees}: ${money(payment.credited)}`}`]
      : ['Declined', payment.failure?.message ?? payment.status],
    ['Journal', `${payment.version > 1 ? 'made and changed since, last by ' : ''}entry ${payment.lsn}${blockOf(payment)}, durable `
      + new Date(payment.updated_at ?? payment.created_at).toISOString()],
    ...(payment.debited ? [['Posted', `${payment.source_account} −${money(payment.debited)}, ${shared.length ? payees : `${payees} +${money(payment.credited)}`}`]] : []),
    ...(payment.version > 1 || payment.expires_at ? [['Sums', `captured ${money(payment.amount_captured)} of ${money(payment.amount_authorized)}, `
      + `${money(payment.amount_capturable)} left to capture, ${money(payment.amount_refunded)} refunded; version ${payment.version}`]] : []),
    ['Answered', `payment ${payment.payment_id}${payment.replayed ? ', given again' : ''}`],
  ];
}

/** Opens the dialog on a payment. */
export function showPath(payment) {
  $('path-title').replaceChildren(`Payment under key ${payment.tx_id} `, ...badge(payment).slice(0, 1));
  const took = timings(payment.timing);
  $('steps').replaceChildren(...steps(payment).map(([name, text]) => {
    const [wait, work] = took[name] ?? [];
    const times = took[name] ? [node('span', { class: 'took' }, `waited ${wait.toFixed(3)} ms, worked ${work.toFixed(3)} ms`)] : [];
    return node('li', {}, node('strong', {}, name), text, ...times);
  }));
  shown = payment.payment_id;
  refundsOf(payment).then((refunds) => { if (shown === payment.payment_id) $('steps').append(...refunds); }, () => {});
  showSteps(payment, async (after) => showPath({ ...after, block: undefined }));
  open();
}

/** Opens the dialog on what went wrong. */
export function showProblem(title, text) {
  $('path-title').textContent = title;
  $('steps').replaceChildren(node('li', {}, text));
  $('step').hidden = true;
  open();
}

function open() {
  if (!$('path').open) $('path').showModal();
}
