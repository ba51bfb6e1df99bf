"""Event Stream Engine: messaging over Twilio with monitoring and analytics at its heart."""
