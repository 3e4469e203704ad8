-- Why the customer was rejected, as partners read it: sanctions, identity or other. Of those that were rejected before there was
-- this column, who rejected them tells.
ALTER TABLE customers ADD COLUMN rejection TEXT;
