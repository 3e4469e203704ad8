-- What waits for another attempt, oldest first: how far webhooks lag is read from it, and what has not failed costs nothing.
CREATE INDEX deliveries_retried ON deliveries (webhook_id, due_since) WHERE status = 'pending' AND tries > 0;
