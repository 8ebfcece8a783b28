"""Does a run fit this machine? Predicted from the configuration and the model's config.json, before anything
loads. No torch here, and well under a second."""
