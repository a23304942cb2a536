"""What has changed in the data since the models learned, and what came true of what they said."""
