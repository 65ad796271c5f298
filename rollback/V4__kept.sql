-- Takes away what V4__kept.sql made. The tables of preimages themselves are not named here: drop them, or keep them, first.
DROP TABLE phase_prints;
DROP TABLE preimages;
