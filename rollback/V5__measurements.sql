-- Takes away what V5__measurements.sql made.
DROP TABLE measurements;
