// What may still become of a payment: capture, void, refund, each with an amount and asked twice; and the refunds it has had.
import { money, moment, node, word } from '/console/format.js';
import { call, hex } from '/console/rest.js';

const $ = (id) => document.getElementById(id);

/** What is left to capture and to give back, in the payment's currency. */
function left(payment) {
  const minor = (of) => Number(of?.amount ?? 0);
  const refundable = minor(payment.amount_captured) - minor(payment.amount_refunded);
  return { capturable: minor(payment.amount_capturable) > 0, refundable: refundable > 0 };
}

/** The key of the step that was asked for: kept until it is answered, so that a second try is no second step. */
let asked;

/** Offers the steps of a payment; `changed` is told of the payment after one. */
export function showSteps(payment, changed) {
  const { capturable, refundable } = left(payment);
  const offered = { capture: capturable, void: capturable, refund: refundable };
  for (const [name, isOffered] of Object.entries(offered)) $(`step-${name}`).hidden = !isOffered;
  $('step').hidden = !capturable && !refundable;
  $('step').reset();
  $('step-currency').textContent = payment.amount.currency;
  $('stepped').textContent = '';
  asked = undefined;
  $('step').onsubmit = (event) => {
    event.preventDefault();
    take(payment, event.submitter.value, changed);
  };
}

async function take(payment, step, changed) {
  const given = $('step').elements.amount.value.trim();
  const amount = given && step !== 'void' ? { amount: { currency: payment.amount.currency, amount: given } } : {};
  const what = step === 'void' ? 'what is still set aside' : given ? `${given} ${payment.amount.currency}` : 'all that is left';
  if (!confirm(`${step[0].toUpperCase()}${step.slice(1)} ${what} of payment ${payment.tx_id}?`)) return;
  const same = JSON.stringify([payment.payment_id, step, amount]);
  asked = asked?.same === same ? asked : { same, key: `console-${hex(16)}` };
  try {
    const answer = await call(`/v1/payments/${payment.payment_id}:${step}`, amount, asked.key);
    asked = undefined;
    const failure = answer.operation.failure;
    await changed(answer.payment);
    $('stepped').className = failure ? 'bad' : 'good';
    $('stepped').textContent = failure ? failure.message : `${step} done, as entry ${answer.operation.lsn}`;
  } catch (error) {
    $('stepped').className = 'bad';
    const again = error instanceof TypeError ? '; press it again, it is not done twice' : '';
    $('stepped').textContent = `${error.message}${again}`;
  }
}

/** The refunds of a payment, newest first, as further steps of its path. */
export async function refundsOf(payment) {
  if (!(payment.version > 1)) return [];
  const { refunds = [] } = await call(`/v1/payments/${payment.payment_id}/refunds`);
  return refunds.map((refund) => {
    const done = refund.status === 'REFUND_STATUS_COMPLETED';
    const parts = [...refund.splits ?? [], ...refund.fee ? [refund.fee] : []];
    const from = (parts.length ? parts : [refund]).map((part) => `${part.source_account} −${money(part.debited)}`).join(', ');
    const moved = done ? `${from}, ${refund.destination_account} +${money(refund.credited)}` : refund.failure?.message;
    const text = `${money(refund.amount)} at the ${word(refund.rate, 'REFUND_RATE_')} rate: ${moved}${refund.reason ? ` (${refund.reason})` : ''}, `;
    return node('li', {}, node('strong', {}, done ? 'Refunded' : 'Refund declined'), text, moment(refund.created_at));
  });
}
