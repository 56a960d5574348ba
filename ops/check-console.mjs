// The console in a real browser, against a running demo: payments of all customers are there from the start; one is made,
// seen, opened, found again by its address, id, key and customer; a statement is opened; words of /docs are whole; at two
// sizes, light and dark. Screenshots go to the folder that is given.
//   PACKAGES=<folder with playwright-core> node ops/check-console.mjs target/console
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';

const { chromium } = createRequire(`${process.env.PACKAGES}/`)('playwright-core');
const gateway = process.env.GATEWAY ?? 'http://127.0.0.1:8080';
const out = process.argv[2];
mkdirSync(out, { recursive: true });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** Runs in the page: words in tables that are broken within. */
function brokenWords() {
  const broken = [];
  const texts = document.createTreeWalker(document.getElementById('out'), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (!text.parentElement.closest('td')) continue;
    for (const word of text.data.matchAll(/[\w.]+/g)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map((line) => Math.round(line.top)));
      if (lines.size > 1) broken.push(word[0]);
    }
  }
  return broken;
}

async function walk(name, viewport, colorScheme) {
  const page = await browser.newPage({ viewport, colorScheme, timezoneId: 'Asia/Jakarta' });
  const complaints = [];
  page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => {
    if (!request.url().startsWith(gateway) && !request.url().startsWith('data:')) complaints.push(`asks ${request.url()}`);
  });
  await page.goto(gateway);
  await page.getByText('serving', { exact: true }).waitFor();

  // Before anything is done here, the newest payments of all customers are there, dated, in the reader's zone.
  await page.locator('#recent a').first().waitFor();
  const customers = new Set(await page.locator('#recent td:nth-child(3)').allTextContents());
  assert.ok(customers.size > 1, `payments of ${[...customers]} alone`);
  assert.match(await page.locator('#recent time').first().textContent(), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
  assert.equal(await page.locator('#recent-zone').textContent(), 'time (UTC+07:00)');

  // A payment by keyboard alone.
  await page.getByLabel('Currency').fill('jpy');
  await page.getByLabel('Amount').fill('12345');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  const steps = await page.locator('#steps strong').allTextContents();
  for (const step of ['Asked', 'Risk', 'FX', 'Holds', 'Journal', 'Posted', 'Answered']) assert.ok(steps.includes(step), `${step} in ${steps}`);
  const path = (await page.locator('#steps li').allTextContents()).join('\n');
  for (const told of [/in the block of entries \d+ to \d+/, /Holds.*waited [\d.]+ ms, worked [\d.]+ ms/, /Journal.*worked [\d.]+ ms/]) assert.match(path, told);
  await page.screenshot({ path: `${out}/${name}-path.png` });
  const address = page.url();
  assert.match(address, /\/payments\/[0-9a-f-]{36}$/, 'it has an address');
  await page.keyboard.press('Escape');
  await page.waitForURL((url) => url.pathname === '/');
  assert.match(await page.locator('#paid').textContent(), /captured: [\d,]+\.\d\d IDR from acct-CUST-1-IDR/);

  // A payment that only sets money aside is captured in part, refunded and voided by its buttons, each asked twice.
  const authorised = await page.request.post(`${gateway}/v1/payments`, {
    headers: { 'Idempotency-Key': `check-${name}-${Date.now()}` },
    data: { customer_id: 'CUST-1', amount: { currency: 'USD', amount: '40.00' }, capture_method: 'CAPTURE_METHOD_MANUAL' },
  });
  const { payment } = await authorised.json();
  page.on('dialog', (dialog) => dialog.accept());
  await page.goto(`${gateway}/payments/${payment.payment_id}`);
  const dialog = page.getByRole('dialog');
  await dialog.getByText(/40\.00 USD set aside on acct-CUST-1-IDR/).waitFor();
  assert.equal(await dialog.getByRole('button', { name: 'Refund' }).isVisible(), false, 'nothing was captured yet');
  const step = async (button, amount, done) => {
    await dialog.getByLabel('How much').fill(amount);
    await dialog.getByRole('button', { name: button, exact: true }).click();
    await dialog.locator('#stepped').getByText(done).waitFor();
  };
  await step('Capture', '15.00', /capture done/);
  await dialog.getByText(/captured 15\.00 USD of 40\.00 USD, 25\.00 USD left to capture/).waitFor();
  await step('Refund', '5.00', /refund done/);
  await dialog.locator('#steps li', { hasText: '5.00 USD at the original rate' }).waitFor();
  await step('Refund', '11.00', /is too much/);
  await step('Void', '', /void done/);
  await dialog.getByText(/0\.00 USD left to capture, 5\.00 USD refunded; version 4/).waitFor();
  assert.equal(await dialog.getByRole('button', { name: 'Void' }).isVisible(), false);
  await page.screenshot({ path: `${out}/${name}-steps.png` });
  await page.keyboard.press('Escape');

  // It is among the recent ones, and opens from there; back closes it.
  const line = page.locator('#recent tr', { hasText: '12,345 JPY' }).first();
  await line.waitFor();
  assert.equal(await line.locator('.badge.good').textContent(), 'captured');
  const key = await line.getByRole('link').textContent();
  await line.getByRole('link').click();
  await page.getByRole('dialog').getByText('12,345 JPY by CUST-1').waitFor();
  await page.goBack();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });

  // Its address opens it for somebody who was sent it.
  await page.goto(address);
  await page.getByRole('dialog').getByText('12,345 JPY by CUST-1').waitFor();
  await page.keyboard.press('Escape');
  await page.goto(`${gateway}/payments/00000000-0000-7000-8000-000000000000`);
  await page.getByRole('dialog').getByText('does not exist').waitFor();
  assert.ok(await page.locator('#step').isHidden(), 'there is no step of what is not there');
  await page.keyboard.press('Escape');

  // It is found by id, by key and by customer; what is not there is said to be.
  const searchFor = async (text) => {
    await page.getByRole('searchbox').fill(text);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: `Payments found for ${text}` }).waitFor();
  };
  for (const text of [address.split('/').at(-1), key]) {
    await searchFor(text);
    await page.locator('#recent tr', { hasText: key }).waitFor();
    assert.equal(await page.locator('#recent tr').count(), 1, text);
  }
  await searchFor('CUST-1');
  await page.locator('#recent tr', { hasText: key }).waitFor();
  assert.deepEqual([...new Set(await page.locator('#recent td:nth-child(3)').allTextContents())], ['CUST-1']);
  await page.reload();
  await page.locator('#recent tr', { hasText: key }).waitFor();
  await page.screenshot({ path: `${out}/${name}-search.png` });
  await searchFor('nobody');
  await page.getByText('no payment has this id or key').waitFor();
  await page.getByRole('button', { name: 'Show recent ones' }).click();
  await page.getByRole('heading', { name: 'Recent payments' }).waitFor();
  // What is not there is answered with 404, and the browser says so.
  complaints.splice(0, complaints.length, ...complaints.filter((text) => !text.includes('404')));

  // Who cannot pay is told why.
  await page.getByLabel('Amount').fill('much');
  await page.getByRole('button', { name: 'Pay' }).click();
  await page.locator('#paid', { hasText: 'amount' }).waitFor();
  complaints.splice(0, complaints.length, ...complaints.filter((text) => !text.includes('400')));

  await page.locator('#ask-statement').getByRole('button').click();
  await page.locator('#statement tr').first().waitFor();
  assert.match(await page.locator('#statement-balance').textContent(), /acct-CUST-1-IDR: balance/);
  const csv = await page.request.get(gateway + await page.locator('#statement-csv').getAttribute('href'));
  assert.match(csv.headers()['content-type'], /^text\/csv/);
  assert.match(await csv.text(), /^time,lsn,kind,amount,currency,balance_after,.*\r\n.+,IDR,/);
  await page.locator('#rates tr').first().waitFor();
  await page.waitForTimeout(3000);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(overflow <= 0, `${name} is ${overflow} px wider than the window`);
  for (const table of ['#recent', '#statement']) {
    const cut = await page.locator(`.scroll:has(${table})`).evaluate((of) => of.scrollWidth - of.clientWidth);
    assert.ok(cut <= 0, `${name}: ${cut} px of ${table} are out of sight`);
  }
  await page.screenshot({ path: `${out}/${name}.png`, fullPage: true });

  await page.goto(`${gateway}/docs#CreatePayment`);
  await page.locator('details#CreatePayment[open]').waitFor();
  await page.screenshot({ path: `${out}/${name}-docs.png` });
  await page.evaluate(() => { for (const part of document.querySelectorAll('details')) part.open = true; });
  // On a phone the longest names do not fit into a line.
  const broken = viewport.width < 1000 ? [] : await page.evaluate(brokenWords);
  assert.deepEqual(broken, [], `${name}: words of /docs that go over two lines`);
  const docsOverflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(docsOverflow <= 0, `${name}: /docs is ${docsOverflow} px wider than the window`);
  assert.deepEqual(complaints, [], `${name}: the browser complains`);
  await page.close();
}

try {
  await walk('desktop-light', { width: 1280, height: 800 }, 'light');
  await walk('desktop-dark', { width: 1280, height: 800 }, 'dark');
  await walk('phone', { width: 390, height: 844 }, 'light');
  console.log('check-console: a payment was made, seen and opened; nothing complained');
} finally {
  await browser.close();
}
