"""The head-end: MQTT, the messages, what is still to be delivered, commands."""
