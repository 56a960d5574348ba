-- The same payment in PostgreSQL: an idempotency key, two balance rows with a check, two postings, one transaction.
-- Amounts are minor units. No foreign keys: their share locks on the hot row would slow it down six times more.
create table accounts (
  id bigint primary key,
  balance bigint not null check (balance >= 0)
) with (fillfactor = 50); -- Room for new versions of a row on its own page: the kindest setting for hot rows.

create table payments (
  tx_id text primary key,
  payer bigint not null,
  payee bigint not null,
  amount bigint not null check (amount > 0),
  created_at timestamptz not null default now()
);

create table postings (
  id bigint generated always as identity primary key,
  tx_id text not null,
  account bigint not null,
  amount bigint not null
);
create index on postings (account, id);

insert into accounts select n, 10000000000000 from generate_series(0, 9999) n;

-- One round trip a payment, as somebody would do it who wants it fast. A key that is known changes nothing. Rows are
-- taken in the order of their ids, so that two payments never wait for each other in a circle, and last of all, so that
-- a hot row (the one with the highest id) is held for as short as can be.
create function pay(key text, payer bigint, payee bigint, minor bigint) returns boolean language plpgsql as $$
begin
  insert into payments (tx_id, payer, payee, amount) values (key, payer, payee, minor) on conflict do nothing;
  if not found then
    return false;
  end if;
  insert into postings (tx_id, account, amount) values (key, payer, -minor), (key, payee, minor);
  if payer < payee then
    update accounts set balance = balance - minor where id = payer;
    update accounts set balance = balance + minor where id = payee;
  else
    update accounts set balance = balance + minor where id = payee;
    update accounts set balance = balance - minor where id = payer;
  end if;
  return true;
end $$;
