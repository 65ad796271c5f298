-- Takes away what V6__approvals.sql made.
DROP TABLE approvals;
