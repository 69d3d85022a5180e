// The whole workflow through plaid-node: node workflow.js <package> <url> [client_id secret]
'use strict';

const assert = require('node:assert');

const [name, url, clientId, secret] = process.argv.slice(2);
const { Configuration, PlaidApi } = require(name);

const headers = {
  'PLAID-CLIENT-ID': clientId || '5f3d7e6a9b1c2d4e6f708192',
  'PLAID-SECRET': secret || '0123456789abcdef0123456789abcd',
  'Plaid-Version': '2020-09-14',
};
const api = new PlaidApi(new Configuration({ basePath: url, baseOptions: { headers } }));
let calls = 0;
const leftOut = [];

async function call(method, request) {
  if (typeof api[method] !== 'function') {
    leftOut.push(method);
    return null;
  }
  calls += 1;
  return (await api[method](request)).data;
}

async function errorOf(method, request) {
  try {
    await call(method, request);
  } catch (error) {
    assert.equal(error.response.status, 400);
    return error.response.data.error_code;
  }
  return 'no error';
}

async function completeLink(link_token) {
  const body = JSON.stringify({ link_token, masks: ['0000', '3333'] });
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(`${url}/_sandbox/complete_link`, { method: 'POST', headers, body });
  return answer.json();
}

async function throughLink() {
  const { link_token } = await call('linkTokenCreate', {
    client_name: 'Acme',
    language: 'en',
    country_codes: ['US'],
    user: { client_user_id: 'user-42' },
    products: ['transactions'],
  });
  const done = await completeLink(link_token);
  const { public_token } = done;
  assert.equal((await call('linkTokenGet', { link_token })).link_token, link_token);
  const { access_token } = await call('itemPublicTokenExchange', { public_token });
  const { accounts } = await call('accountsGet', { access_token });
  assert.deepEqual(
    accounts.map((account) => account.account_id),
    done.metadata.accounts.map((account) => account.id),
  );
  assert.equal(await errorOf('itemPublicTokenExchange', { public_token }), 'INVALID_PUBLIC_TOKEN');
  return access_token;
}

async function aroundLink() {
  const { public_token } = await call('sandboxPublicTokenCreate', {
    institution_id: 'ins_109508',
    initial_products: ['auth', 'transactions'],
  });
  return (await call('itemPublicTokenExchange', { public_token })).access_token;
}

async function readEverything(access_token) {
  assert.equal((await call('accountsGet', { access_token })).accounts.length, 14);
  await call('accountsBalanceGet', { access_token });
  assert.equal((await call('authGet', { access_token })).numbers.ach.length, 3);
  await call('identityGet', { access_token });
  await call('itemGet', { access_token });
  const period = { start_date: '2020-01-01', end_date: '2099-01-01' };
  assert.ok((await call('transactionsGet', { access_token, ...period })).total_transactions > 0);
  const page = await call('transactionsSync', { access_token });
  assert.ok(page === null || page.added.length > 0);
  await call('institutionsGetById', { institution_id: 'ins_109508', country_codes: ['US'] });
}

async function handToPartners(access_token) {
  const { accounts } = await call('accountsGet', { access_token });
  const { account_id } = accounts[0];
  for (const processor of ['finix', 'layer']) {
    const { processor_token } = await call('processorTokenCreate', {
      access_token,
      account_id,
      processor,
    });
    assert.match(processor_token, /^processor-sandbox-/);
    await call('processorAccountGet', { processor_token });
    await call('processorAuthGet', { processor_token });
    await call('processorBalanceGet', { processor_token });
    await call('processorIdentityGet', { processor_token });
    await call('processorTransactionsSync', { processor_token });
    await call('processorTokenPermissionsSet', { processor_token, products: ['auth'] });
    await call('processorTokenPermissionsGet', { processor_token });
  }
  const wrong = { access_token, account_id: 'x', processor: 'finix' };
  assert.equal(await errorOf('processorTokenCreate', wrong), 'INVALID_FIELD');
  await call('processorStripeBankAccountTokenCreate', { access_token, account_id });
  await call('processorApexProcessorTokenCreate', { access_token, account_id });
  await call('sandboxProcessorTokenCreate', { institution_id: 'ins_109508' });
}

async function breakAndEnd(access_token) {
  await call('sandboxItemResetLogin', { access_token });
  assert.equal(await errorOf('accountsGet', { access_token }), 'ITEM_LOGIN_REQUIRED');
  const { item } = await call('itemGet', { access_token });
  assert.equal(item.error.error_code, 'ITEM_LOGIN_REQUIRED');
  await call('itemWebhookUpdate', { access_token, webhook: 'https://example.com/' });
  const { new_access_token } = await call('itemAccessTokenInvalidate', { access_token });
  assert.equal(await errorOf('itemGet', { access_token }), 'INVALID_ACCESS_TOKEN');
  await call('itemRemove', { access_token: new_access_token });
  assert.equal(await errorOf('itemGet', { access_token: new_access_token }), 'ITEM_NOT_FOUND');
}

async function main() {
  await breakAndEnd(await throughLink());
  const access_token = await aroundLink();
  await readEverything(access_token);
  await handToPartners(access_token);
  await breakAndEnd(access_token);
  console.log(`${name}: ${calls} calls; left out: ${[...new Set(leftOut)].join(', ') || 'nothing'}`);
}

main().catch((error) => {
  console.error(error.response ? error.response.data : error);
  process.exit(1);
});
