// The console in a real browser, against a running demo: a payment is made, seen, opened; a statement is opened; at two
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

async function walk(name, viewport, colorScheme) {
  const page = await browser.newPage({ viewport, colorScheme });
  const complaints = [];
  page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => {
    if (!request.url().startsWith(gateway) && !request.url().startsWith('data:')) complaints.push(`asks ${request.url()}`);
  });
  await page.goto(gateway);
  await page.getByText('serving', { exact: true }).waitFor();

  // A payment by keyboard alone.
  await page.getByLabel('Amount').fill('12.34');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  const steps = await page.locator('#steps strong').allTextContents();
  for (const step of ['Asked', 'Risk', 'FX', 'Holds', 'Journal', 'Posted', 'Answered']) assert.ok(steps.includes(step), `${step} in ${steps}`);
  const path = (await page.locator('#steps li').allTextContents()).join('\n');
  for (const told of [/in the block of entries \d+ to \d+/, /Holds.*waited [\d.]+ ms, worked [\d.]+ ms/, /Journal.*worked [\d.]+ ms/]) assert.match(path, told);
  await page.screenshot({ path: `${out}/${name}-path.png` });
  await page.keyboard.press('Escape');
  assert.match(await page.locator('#paid').textContent(), /captured: .* IDR from acct-CUST-1-IDR/);

  // It is among the recent ones, and opens from there.
  const line = page.locator('#recent tr', { hasText: '12.34 USD' }).first();
  await line.waitFor();
  await line.getByRole('button').first().click();
  await page.getByRole('dialog').getByText('12.34 USD by CUST-1').waitFor();
  await page.keyboard.press('Escape');

  // Who cannot pay is told why.
  await page.getByLabel('Amount').fill('much');
  await page.getByRole('button', { name: 'Pay' }).click();
  await page.locator('#paid', { hasText: 'amount' }).waitFor();
  complaints.splice(0, complaints.length, ...complaints.filter((text) => !text.includes('400')));

  await page.locator('#ask-statement').getByRole('button').click();
  await page.locator('#statement tr').first().waitFor();
  assert.match(await page.locator('#statement-balance').textContent(), /acct-CUST-1-IDR: balance/);
  await page.locator('#rates tr').first().waitFor();
  await page.waitForTimeout(3000);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(overflow <= 0, `${name} is ${overflow} px wider than the window`);
  await page.screenshot({ path: `${out}/${name}.png`, fullPage: true });

  await page.goto(`${gateway}/docs#CreatePayment`);
  await page.locator('details#CreatePayment[open]').waitFor();
  await page.screenshot({ path: `${out}/${name}-docs.png` });
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
