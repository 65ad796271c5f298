\set id random(1, :rows)
SELECT quantity, note FROM trades WHERE id = :id;
