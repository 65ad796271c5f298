-- Takes away what V5__approvals.sql made.
DROP TABLE approvals;
