\set payer random(0, 9998)
\set minor random(100, 999)
\set a random(1, 1000000000)
\set b random(1, 1000000000)
select pay('load-' || :client_id || '-' || :a || '-' || :b, :payer, 9999, :minor);
