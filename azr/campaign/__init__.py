"""The campaign: cycles of consolidate, train, merge, as a state machine on disk (docs/campaign.md)."""
