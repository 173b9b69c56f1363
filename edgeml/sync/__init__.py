"""Every result home: a durable outbox, an MQTT session, and one thread around each."""
