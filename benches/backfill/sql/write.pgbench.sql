\set id random(1, :rows)
UPDATE trades SET quantity = quantity + 1 WHERE id = :id;
