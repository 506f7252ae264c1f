"""Questions and texts over the panels: what they are about goes in, an answer comes out."""
